//! The server: a thread of its own with an event loop of its own.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use axum::Router;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::privileges;

use super::caller::is_loopback;
use super::connection::Shared;
use super::gate::Gate;
use super::live::Live;
use super::status::Notify;
use super::{Error, Listen, Notice, Status, Warning, accept};

/// Threads for what may not hold up the event loop: a password being checked, and what handlers put aside.
const BLOCKING_THREADS: usize = 4;

/// An address that is listened on, before anything is served: connections wait in the accept queue meanwhile.
pub struct Bound {
    listener: TcpListener,
    local: SocketAddr,
    live: Live,
    status: Arc<Status>,
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("local", &self.local).finish_non_exhaustive()
    }
}

impl Bound {
    /// Reads the web configuration, if there is one, with all that it names, and listens.
    ///
    /// # Errors
    /// A configuration that cannot be used, an address that cannot be had: each says what to do about it.
    pub fn open(listen: &Listen, web_config: Option<&Path>) -> Result<Self, Error> {
        let status = Arc::new(Status::default());
        let live = Live::open(web_config, Arc::clone(&status))?;
        let bind = |source| Error::Bind { listen: listen.clone(), source };
        let listener = listen.bind().map_err(bind)?;
        let local = listener.local_addr().map_err(bind)?;
        Ok(Self { listener, local, live, status })
    }

    /// Where it listens: with the port that was chosen where none was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Whether other hosts cannot reach it.
    pub fn is_loopback(&self) -> bool {
        is_loopback(self.local.ip())
    }

    /// Whether everyone who asks is asked who they are, by a password or a certificate. A reload may change it.
    pub fn is_authenticated(&self) -> bool {
        self.live.known().authenticates()
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        if self.live.known().tls.is_some() { "https" } else { "http" }
    }

    /// What is unsafe about it, to be said before serving.
    pub fn warnings(&self) -> Vec<Warning> {
        let settings = self.live.known();
        if self.is_loopback() {
            Vec::new()
        } else if !settings.authenticates() {
            vec![Warning::Unauthenticated(self.local)]
        } else if settings.tls.is_none() {
            vec![Warning::Unencrypted(self.local)]
        } else {
            Vec::new()
        }
    }

    /// What the server will have to say of itself.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Serves until [`Server::stop`], from a thread that has the capabilities of the one that calls this: drop what is
    /// not needed before, a port below 1024 has been had by then. What happens meanwhile and a person should know goes to `notify`, from
    /// the server's thread; it must not block.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn serve(
        self,
        router: Router,
        notify: impl Fn(Notice) + Send + Sync + 'static,
    ) -> Result<Server, Error> {
        let (local, status) = (self.local, self.status());
        let (stop, stopped) = oneshot::channel();
        let (start, started) = mpsc::channel();
        let work = move || {
            // It has its port by now. Where giving up is refused, the observation says so.
            let _ = privileges::keep_only(&[]);
            self.work(router, Arc::new(notify), stopped, &start);
        };
        let thread = thread::Builder::new().name("http".to_owned()).spawn(work).map_err(Error::Start)?;
        let server = Server { local, stop: Some(stop), thread: Some(thread), status };
        // A sender that is gone without a word has panicked, and said so where it did.
        let outcome = started.recv().unwrap_or_else(|_| Err(io::Error::other("its thread ended")));
        outcome.map(|()| server).map_err(Error::Start)
    }

    /// What the server's thread does, from its beginning, of which `start` is told, to its end.
    fn work(
        self,
        router: Router,
        notify: Notify,
        stopped: oneshot::Receiver<()>,
        start: &mpsc::Sender<io::Result<()>>,
    ) {
        let prepared = runtime().and_then(|runtime| {
            // Registering a socket takes the event loop that it is registered with.
            let listener = {
                let _entered = runtime.enter();
                tokio::net::TcpListener::from_std(self.listener)?
            };
            let gate = Gate::new(router, Arc::clone(&self.status))
                .map_err(|_| io::Error::other("the kernel gives no random numbers"))?;
            // Tells what there is to tell of a certificate, before anybody asks.
            self.live.current(&notify);
            let shared = Shared { gate, live: self.live, status: self.status, notify };
            Ok((runtime, listener, Arc::new(shared)))
        });
        let (outcome, prepared) = match prepared {
            Ok(prepared) => (Ok(()), Some(prepared)),
            Err(error) => (Err(error), None),
        };
        // Who started it waits for this.
        let _ = start.send(outcome);
        if let Some((runtime, listener, shared)) = prepared {
            runtime.block_on(accept::run(listener, shared, stopped));
            // A password still being checked is nobody's any more.
            runtime.shutdown_background();
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().max_blocking_threads(BLOCKING_THREADS).thread_name("http-aside").build()
}

/// A server at work. Stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    local: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    status: Arc<Status>,
}

impl Server {
    /// [`Bound::open`] and [`Bound::serve`] in one, for who has nothing to ask between the two and nowhere to put
    /// notices.
    ///
    /// # Errors
    /// Those of the two.
    pub fn start(listen: &Listen, web_config: Option<&Path>, router: Router) -> Result<Self, Error> {
        Bound::open(listen, web_config)?.serve(router, |_| ())
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// What it has to say of itself.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Accepts nobody any more, answers the requests under way for at most five seconds, and ends.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            // A thread that has ended needs no telling.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported where it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

//! The server: a thread of its own with an event loop of its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use axum::Router;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::sync::oneshot;

use super::caller::is_loopback;
use super::{Error, Listen, Notice, Status, Warning};

/// An address that is listened on, before anything is served: connections wait in the accept queue meanwhile.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    local: SocketAddr,
    status: Arc<Status>,
}

impl Bound {
    /// Reads the web configuration, if there is one, with all that it names, and listens.
    ///
    /// # Errors
    /// A configuration that cannot be used, an address that cannot be had: each says what to do about it.
    pub fn open(listen: &Listen, web_config: Option<&Path>) -> Result<Self, Error> {
        let _ = web_config;
        let bind = |source| Error::Bind { listen: listen.clone(), source };
        let listener = listen.bind().map_err(bind)?;
        let local = listener.local_addr().map_err(bind)?;
        Ok(Self { listener, local, status: Arc::default() })
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
        false
    }

    /// `https` or `http`.
    pub fn scheme(&self) -> &'static str {
        "http"
    }

    /// What is unsafe about it, to be said before serving.
    pub fn warnings(&self) -> Vec<Warning> {
        if self.is_loopback() { Vec::new() } else { vec![Warning::Unauthenticated(self.local)] }
    }

    /// What the server will have to say of itself.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Serves until [`Server::stop`]. What happens meanwhile and a person should know goes to `notify`, from
    /// the server's thread; it must not block.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn serve(
        self,
        router: Router,
        notify: impl Fn(Notice) + Send + Sync + 'static,
    ) -> Result<Server, Error> {
        let _ = Arc::new(notify);
        let (stop, stopped) = oneshot::channel();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
        let listener = self.listener;
        let thread = thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || {
                // The skeleton's only failure is that of a socket just bound.
                let _: io::Result<()> = runtime.block_on(serve(listener, router, stopped));
            })
            .map_err(Error::Start)?;
        Ok(Server { local: self.local, stop: Some(stop), thread: Some(thread), status: self.status })
    }
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

async fn serve(listener: TcpListener, router: Router, mut stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = &mut stopped => return Ok(()),
        };
        let service = TowerToHyperService::new(router.clone());
        let connection =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

//! Accepts connections until the server stops, and lets those under way come to an end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::connection::{self, Shared};
use super::places::{Peer, Places};
use super::status::{Count, Notice};

/// Requests under way when the server stops have this long.
const GRACE: Duration = Duration::from_secs(5);

/// How long nothing is accepted after it failed for want of descriptors or memory: trying at once would only spin.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves until `stop` is told or dropped; the status then tells the connections.
pub(super) async fn run(listener: TcpListener, shared: Arc<Shared>, mut stop: oneshot::Receiver<()>) {
    let mut acceptor = Acceptor {
        places: Places::new(Arc::clone(&shared.status)),
        connections: JoinSet::new(),
        shared,
        failing: false,
    };
    loop {
        tokio::select! {
            biased;
            _ = &mut stop => break,
            Some(_) = acceptor.connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    acceptor.admit(stream, peer);
                    // Who made room is gone only when its task has run: else a flood would be accepted faster than
                    // places are given back.
                    tokio::task::yield_now().await;
                }
                // The client was faster to leave; the next one is not concerned.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => acceptor.pause(&error).await,
            },
        }
    }
    drop(listener);
    acceptor.shared.status.stop();
    let all = async { while acceptor.connections.join_next().await.is_some() {} };
    if timeout(GRACE, all).await.is_err() {
        // Who has not finished by then is cut when the set is dropped.
        (0..acceptor.connections.len()).for_each(|_| acceptor.shared.status.add(Count::TooSlow));
    }
}

struct Acceptor {
    places: Arc<Places>,
    connections: JoinSet<()>,
    shared: Arc<Shared>,
    /// Whether the last attempt failed.
    failing: bool,
}

impl Acceptor {
    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        self.failing = false;
        self.shared.status.add(Count::Accepted);
        // Without a place the stream is dropped, which closes it.
        let Some(place) = self.places.take(Peer::of(peer.ip()), Instant::now()) else { return };
        let id = place.id();
        let task = self.connections.spawn(connection::serve(stream, peer, place, Arc::clone(&self.shared)));
        self.places.set_task(id, task);
    }

    async fn pause(&mut self, error: &io::Error) {
        self.shared.status.add(Count::AcceptFailed);
        if !self.failing {
            (self.shared.notify)(Notice::NotAccepting(error.to_string()));
        }
        self.failing = true;
        sleep(PAUSE).await;
    }
}

//! One connection, from its TLS handshake to its end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Caller;
use super::answering::{AnswerBody, Answering};
use super::gate::Gate;
use super::live::{Live, Settings};
use super::patience::{Deadline, HEAD};
use super::places::{Place, SharedPatience, lock};
use super::status::{Count, Notify, Status};
use super::watched::Watched;

/// The request line and all headers together.
const HEAD_SIZE: usize = 16 * 1024;
/// How many headers.
const HEADERS: usize = 64;
/// Requests at a time on one HTTP/2 connection.
const STREAMS: u32 = 16;
/// What of an answer waits in memory for a slow HTTP/2 client.
const SEND_BUFFER: usize = 64 * 1024;

/// What all connections share.
pub(super) struct Shared {
    pub gate: Gate,
    pub live: Live,
    pub status: Arc<Status>,
    pub notify: Notify,
}

impl Shared {
    fn settings(&self) -> Arc<Settings> {
        self.live.current(&self.notify)
    }
}

/// Serves a connection until either side has had enough. The place is free again when this ends.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, place: Place, shared: Arc<Shared>) {
    let Ok(local) = stream.local_addr() else { return };
    // Without it an answer may only be slower.
    let _ = stream.set_nodelay(true);
    let settings = shared.settings();
    let mut caller = Caller { peer, local, user: None, certificate: false, tls: settings.tls.is_some() };
    let patience = Arc::clone(place.patience());
    let stream = Watched::new(stream, Arc::clone(&patience));
    let Some(tls) = &settings.tls else {
        return http1(stream, caller, patience, shared).await;
    };
    let Some(stream) = handshake(TlsAcceptor::from(Arc::clone(&tls.server)), stream, &shared).await else {
        return;
    };
    let (_, session) = stream.get_ref();
    caller.certificate = settings.verifies_certificates() && session.peer_certificates().is_some();
    if session.alpn_protocol() == Some(b"h2") {
        http2(stream, caller, patience, shared).await;
    } else {
        http1(stream, caller, patience, shared).await;
    }
}

async fn handshake<S>(acceptor: TlsAcceptor, stream: S, shared: &Shared) -> Option<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = tokio::select! {
        stream = timeout(HEAD, acceptor.accept(stream)) => stream.ok().and_then(Result::ok),
        () = shared.status.stopped() => return None,
    };
    if stream.is_none() {
        shared.status.add(Count::HandshakeFailed);
    }
    stream
}

async fn http1<S>(stream: S, caller: Caller, patience: SharedPatience, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    lock(&patience).begin(Instant::now(), false);
    let mut builder = http1::Builder::new();
    // hyper's own limit would count the time between requests as well: `Patience` tells them apart.
    builder.header_read_timeout(None).max_headers(HEADERS).max_header_size(HEAD_SIZE);
    let service = {
        let (patience, shared) = (Arc::clone(&patience), Arc::clone(&shared));
        service_fn(move |request| answer(request, caller.clone(), &patience, &shared))
    };
    drive(builder.serve_connection(TokioIo::new(stream), service), &patience, &shared).await;
}

async fn http2<S>(stream: S, caller: Caller, patience: SharedPatience, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    lock(&patience).begin(Instant::now(), true);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_SIZE as u32)
        .max_send_buf_size(SEND_BUFFER);
    let service = {
        let (patience, shared) = (Arc::clone(&patience), Arc::clone(&shared));
        service_fn(move |request| answer(request, caller.clone(), &patience, &shared))
    };
    drive(builder.serve_connection(TokioIo::new(stream), service), &patience, &shared).await;
}

/// Answers one request. It counts as asked as soon as its headers are there, before this is first polled.
fn answer(
    request: Request<Incoming>,
    caller: Caller,
    patience: &SharedPatience,
    shared: &Arc<Shared>,
) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> + Send + use<> {
    let answering = Answering::begin(Arc::clone(patience));
    let shared = Arc::clone(shared);
    async move {
        let response = shared.gate.answer(&shared.settings(), request, caller).await;
        Ok(response.map(|body| answering.until_taken(body)))
    }
}

/// Runs a connection until it ends or takes too long; when the server stops, until it has answered what it was asked.
async fn drive<C: GracefulConnection>(connection: C, patience: &SharedPatience, shared: &Shared) {
    let mut connection = pin!(connection);
    let mut stopped = pin!(shared.status.stopped());
    let mut sleep = pin!(sleep_until(Instant::now().into()));
    let mut stopping = None;
    poll_fn(|context| {
        if stopping.is_none() && stopped.as_mut().poll(context).is_ready() {
            stopping = Some(Instant::now());
            connection.as_mut().graceful_shutdown();
        }
        if connection.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let deadline = {
            let patience = lock(patience);
            stopping.map_or_else(|| patience.deadline(), |since| patience.deadline_stopping(since))
        };
        // Set anew only when it moved: it need not when nothing but a part of an answer went out.
        if sleep.deadline() != deadline.at().into() {
            sleep.as_mut().reset(deadline.at().into());
        }
        if sleep.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        if matches!(deadline, Deadline::Late(_)) {
            shared.status.add(Count::TooSlow);
        }
        Poll::Ready(())
    })
    .await;
}

//! `/api/v1/events`: what happens, as server-sent events.
//!
//! The format is that of <https://html.spec.whatwg.org/multipage/server-sent-events.html>. Who comes back names the
//! last event it got in `Last-Event-ID`, as browsers do by themselves.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use futures_util::stream;

use super::{Context, answer};

/// So often something is sent even when nothing happens: whoever is gone is noticed, and no proxy loses patience.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

pub(super) async fn events(State(context): State<Context>, headers: HeaderMap) -> Response {
    let last_id = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let follower = context.board.events.follow(last_id);
    let status = Arc::clone(&context.status);
    let news = stream::unfold((follower, status), |(mut follower, status)| async {
        let text = tokio::select! {
            biased;
            news = follower.next() => news?,
            // The stream ends in order, when all has been told.
            () = status.stopped() => return None,
            () = tokio::time::sleep(KEEP_ALIVE) => ": nothing has happened\n\n".to_owned(),
        };
        Some((Ok::<_, Infallible>(text), (follower, status)))
    });
    answer(StatusCode::OK, "text/event-stream", Body::from_stream(news))
}

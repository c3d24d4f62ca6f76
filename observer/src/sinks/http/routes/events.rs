//! `/api/v1/events`: what happens, as server-sent events.
//!
//! The format is that of <https://html.spec.whatwg.org/multipage/server-sent-events.html>. Who comes back names the
//! last event it got in `Last-Event-ID`, as browsers do by themselves.

use std::{convert::Infallible, time::Duration};

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
    let news = stream::unfold(follower, |mut follower| async {
        let text = match tokio::time::timeout(KEEP_ALIVE, follower.next()).await {
            Ok(news) => news?,
            Err(_) => ": nothing has happened\n\n".to_owned(),
        };
        Some((Ok::<_, Infallible>(text), follower))
    });
    answer(StatusCode::OK, "text/event-stream", Body::from_stream(news))
}

//! The routes, one file each, and what they share.

mod events;
mod frame;
mod health;
mod landing;
mod metrics;
mod phase;
mod verdict;

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderValue, StatusCode, header},
    response::Response,
    routing::{get, post},
};

use super::{Status, board::Board};

/// What a route needs to answer.
#[derive(Clone)]
pub(super) struct Context {
    board: Arc<Board>,
    status: Arc<Status>,
}

/// All routes.
pub fn router(board: Arc<Board>, status: Arc<Status>) -> Router {
    Router::new()
        .route("/", get(landing::landing))
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/api/v1/verdict", get(verdict::verdict))
        .route("/api/v1/frame", get(frame::frame))
        .route("/api/v1/events", get(events::events))
        .route("/api/v1/phase", post(phase::phase))
        .with_state(Context { board, status })
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // It is of this instant.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn json(body: impl Into<Bytes>) -> Response {
    answer(StatusCode::OK, "application/json", Body::from(body.into()))
}

/// A sentence: what is wrong and what to do.
fn words(status: StatusCode, words: impl Into<String>) -> Response {
    answer(status, "text/plain; charset=utf-8", words.into() + "\n")
}

//! `/api/v1/frame`: all signals and usages as they read now.

use axum::{extract::State, http::StatusCode, response::Response};

use super::{Context, json, words};

pub(super) async fn frame(State(context): State<Context>) -> Response {
    match context.board.frame().await {
        Some(frame) => json(frame),
        None => words(StatusCode::SERVICE_UNAVAILABLE, "the observation is ending"),
    }
}

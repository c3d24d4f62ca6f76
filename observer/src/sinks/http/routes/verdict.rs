//! `/api/v1/verdict`: the contract's JSON.

use axum::{extract::State, http::StatusCode, response::Response};

use super::{Context, json, words};

pub(super) async fn verdict(State(context): State<Context>) -> Response {
    let Some(now) = context.board.metrics.now() else {
        return words(
            StatusCode::SERVICE_UNAVAILABLE,
            "the observation has only just begun: ask again in a second",
        );
    };
    match serde_json::to_vec(&*now.verdict) {
        Ok(text) => json(text),
        Err(error) => {
            words(StatusCode::INTERNAL_SERVER_ERROR, format!("the verdict cannot be written: {error}"))
        }
    }
}

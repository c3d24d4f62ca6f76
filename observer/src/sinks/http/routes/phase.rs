//! `POST /api/v1/phase`: a phase of the test begins now.

use axum::{body::Bytes, extract::State, http::StatusCode, response::Response};
use serde::Deserialize;

use super::{Context, words};

/// What is sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begins {
    name: String,
}

pub(super) async fn phase(State(context): State<Context>, body: Bytes) -> Response {
    let begins: Begins = match serde_json::from_slice(&body) {
        Ok(begins) => begins,
        Err(error) => {
            let why = format!("send {{\"name\": \"ramp_up\"}} to name the phase that begins: {error}");
            return words(StatusCode::BAD_REQUEST, why);
        }
    };
    match context.board.mark(&begins.name) {
        Ok(()) => words(StatusCode::ACCEPTED, format!("{} begins", begins.name)),
        Err(why) => words(StatusCode::BAD_REQUEST, why),
    }
}

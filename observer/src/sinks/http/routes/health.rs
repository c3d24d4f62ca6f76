//! `/healthz`: observer lives. `/readyz`: it sees.

use axum::{extract::State, http::StatusCode, response::Response};

use super::{super::status::ConfigState, Context, words};

/// Whether the observation goes on. A web configuration that can no longer be used is told, and no reason to
/// restart anything: the former one is in force.
pub(super) async fn healthz(State(context): State<Context>) -> Response {
    if let Some(ago_s) = context.board.stalled_s() {
        let why = format!("the observation stands still: it last looked {ago_s:.1} s ago");
        return words(StatusCode::SERVICE_UNAVAILABLE, why);
    }
    match context.status.config() {
        ConfigState::Stale(why) => {
            words(StatusCode::OK, format!("ok; the former web configuration is in force: {why}"))
        }
        ConfigState::Absent | ConfigState::Current => words(StatusCode::OK, "ok"),
    }
}

/// Whether what happens from now on is judged: everything is attached and the pre-roll is over.
pub(super) async fn readyz(State(context): State<Context>) -> Response {
    let now = context.board.metrics.now();
    match now.is_some_and(|now| now.snapshot.start_ns.is_some()) {
        true => words(StatusCode::OK, "ok"),
        false => words(
            StatusCode::SERVICE_UNAVAILABLE,
            "the first episode has not begun: what is usual is still being learnt",
        ),
    }
}

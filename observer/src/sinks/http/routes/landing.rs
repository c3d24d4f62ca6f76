//! `/`: where to go from here, for a person who looks with a browser.

use axum::{extract::State, http::StatusCode, response::Response};

use super::{Context, answer};

/// The page; `{verdict}` is what stands now.
const PAGE: &str = include_str!("landing.html");

pub(super) async fn landing(State(context): State<Context>) -> Response {
    let now = context.board.metrics.now();
    let verdict = match now.as_ref().map(|now| (&now.verdict.first, now.in_episode)) {
        Some((Some(first), _)) => {
            format!("<strong>{}</strong>: {}", escaped(&first.fault_line), escaped(&first.because))
        }
        Some((None, true)) => "Nothing has broken in this episode.".to_owned(),
        Some((None, false)) => "No test is under way, and nothing has broken.".to_owned(),
        None => "The observation has only just begun.".to_owned(),
    };
    answer(StatusCode::OK, "text/html; charset=utf-8", PAGE.replace("{verdict}", &verdict))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

//! `/metrics`: the text format of Prometheus.

use axum::{extract::State, http::StatusCode, response::Response};
use prometheus::{Error, IntCounterVec, IntGauge, Opts, Registry};

use super::{
    super::status::{ConfigState, Count, Status},
    Context, answer, words,
};
use crate::sinks::prometheus::CONTENT_TYPE;

pub(super) async fn metrics(State(context): State<Context>) -> Response {
    let text = of_server(&context.status).and_then(|server| context.board.metrics.expose(&server));
    match text {
        Ok(text) => answer(StatusCode::OK, CONTENT_TYPE, text),
        Err(error) => {
            words(StatusCode::INTERNAL_SERVER_ERROR, format!("the metrics cannot be written: {error}"))
        }
    }
}

/// What the server has to say of itself.
fn of_server(status: &Status) -> Result<Registry, Error> {
    let registry = Registry::new();
    let help = "What came to the HTTP server and what became of it, since it started.";
    let counts = IntCounterVec::new(Opts::new("observer_http_events_total", help), &["event"])?;
    for count in Count::ALL {
        counts.with_label_values(&[count.name()]).inc_by(status.count(count));
    }
    registry.register(Box::new(counts))?;
    let open =
        IntGauge::new("observer_http_open_connections", "Connections to the HTTP server that are open.")?;
    open.set(i64::try_from(status.open_connections()).unwrap_or(i64::MAX));
    registry.register(Box::new(open))?;
    let help = "Whether the web configuration could be read the last time; 1 without one.";
    let current = IntGauge::new("observer_web_config_last_reload_success", help)?;
    current.set(i64::from(!matches!(status.config(), ConfigState::Stale(_))));
    registry.register(Box::new(current))?;
    Ok(registry)
}

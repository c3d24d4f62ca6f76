//! Serves a [`Router`] over HTTP so that nobody who reaches the port can harm the observation.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use observer::sinks::http::Bound;
//!
//! # fn main() -> Result<(), observer::sinks::http::Error> {
//! let bound = Bound::open(&"127.0.0.1:9435".parse()?, None)?;
//! for warning in bound.warnings() {
//!     eprintln!("observer: {warning}");
//! }
//! let status = bound.status(); // for /healthz and the server's own metrics
//! let router = Router::new().route("/healthz", get(move || async move { status.config().describe() }));
//! let server = bound.serve(router, |notice| eprintln!("observer: {notice}"))?;
//! server.stop();
//! # Ok(())
//! # }
//! ```
//!
//! A handler finds who asks in the request's extensions: `axum::Extension<Caller>`. Requests that change something
//! (any method but GET, HEAD and OPTIONS) reach a handler only if no foreign page or host sent them (`origin.rs`);
//! every request has been authenticated if the web configuration asks for it, and its body (64 KiB at most) is there
//! in full. docs/http.md tells users of it.

mod accept;
mod answering;
mod auth;
mod board;
mod body;
mod caller;
mod config;
mod connection;
mod error;
mod events;
mod expiry;
mod gate;
mod listen;
mod live;
mod origin;
mod patience;
mod places;
mod rate;
mod routes;
mod server;
mod status;
mod tls;
mod warning;
mod watched;

pub use axum::Router;

pub use self::{
    board::{Board, FrameWanted, Marker, Ways},
    caller::Caller,
    config::ConfigError,
    error::Error,
    events::EventLog,
    listen::{DEFAULT_PORT, Listen, ListenError},
    routes::router,
    server::{Bound, Server},
    status::{ConfigState, Count, Notice, Status},
    warning::Warning,
};

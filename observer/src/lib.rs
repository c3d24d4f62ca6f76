//! observer: says which fault line of the host broke first while a load test runs.
//!
//! Data flows one way: sources -> [`core::frame::Frame`] -> recording -> engine -> sinks.

pub mod app;
pub mod cli;
pub mod core;
mod heap;
pub mod kernel;
pub mod privileges;
pub mod recording;
pub mod sinks;
pub mod sources;
pub mod tui;

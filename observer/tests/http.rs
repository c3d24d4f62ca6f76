//! The HTTP server as curl, openssl and misbehaving clients find it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "http/bench.rs"]
mod bench;
#[path = "http/bounds.rs"]
mod bounds;
#[path = "http/descriptors.rs"]
mod descriptors;
#[path = "http/passwords.rs"]
mod passwords;
#[path = "http/plain.rs"]
mod plain;
#[path = "http/tls.rs"]
mod tls;

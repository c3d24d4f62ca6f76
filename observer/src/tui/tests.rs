//! The dashboard without a terminal: keys and feeds in, requests and pictures out.

mod feeds;
mod keys;
mod pictures;
mod readme;
pub(super) mod scenes;
mod svg;

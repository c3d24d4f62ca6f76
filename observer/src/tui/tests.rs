//! The dashboard without a terminal: keys and feeds in, requests and pictures out.

mod feeds;
mod keys;
mod pictures;
mod readme;
mod scenes;
mod svg;

//! The dashboard in the terminal. The model is pure: what comes in is a [`feed::Feed`] or a key, what goes out
//! is a [`feed::Request`]; panels draw the model, one file each, and none of them reads a source.

pub mod feed;

//! The dashboard in the terminal. The model is pure: what comes in is a [`feed::Feed`] or a key, what goes out
//! is a [`feed::Request`]; panels draw the model, one file each, and none of them reads a source.
//!
//! [`run`] is all that a caller needs: it takes the terminal, draws whenever something new came, and gives the
//! terminal back however it ends.

pub mod feed;
pub mod keys;
mod layout;
pub mod model;
mod panels;
mod terminal;
mod text;
mod theme;

pub use self::{
    model::{Mode, Options},
    terminal::{let_go, run},
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

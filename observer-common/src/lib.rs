//! The ABI between kernel and user space, and nothing else.
//!
//! Everything here is `#[repr(C)]`, without implicit padding, and asserted in size: the kernel side
//! is compiled for another target than the user side, and both must agree on every byte.
#![no_std]

pub mod cell;
pub mod event;
pub mod hot;
pub mod offsets;
pub mod signal;

pub use cell::{Cell, Key, News, key_flags};
pub use event::Event;
pub use offsets::Offsets;
pub use signal::{Signal, SubjectKind};

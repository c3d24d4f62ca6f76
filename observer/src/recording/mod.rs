//! Recordings: every frame of a run in one SQLite file, raw, before anyone interprets it.
//!
//! A frame is one transaction, so a writer that is killed loses at most the frame it was writing.
//! A reader gives back exactly what was written: a checksum runs over all frames, and what does
//! not fit is an error that names the file, never a wrong frame. `docs/recording.md` documents the
//! tables for people who want to ask a recording something else.

mod checksum;
mod claim;
mod error;
mod insert;
mod reader;
mod ring;
mod schema;
mod select;
mod series;
mod thread;
mod writer;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
pub(crate) mod tests;

pub use error::RecordingError;
pub use reader::Reader;
pub use ring::{MOST_BYTES, Ring, RingOptions, RingStatus, Saved, Saving};
pub use thread::{QUEUE, Recorded, RecorderThread};
pub use writer::Writer;

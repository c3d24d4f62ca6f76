//! Recordings: every frame of a run in one SQLite file, raw, before anyone interprets it.
//!
//! A frame is one transaction, so a writer that is killed loses at most the frame it was writing.
//! A reader gives back exactly what was written: a checksum runs over all frames, and what does
//! not fit is an error that names the file, never a wrong frame. `docs/recording.md` documents the
//! tables for people who want to ask a recording something else.

mod checksum;
mod error;
mod insert;
mod reader;
mod schema;
mod select;
mod thread;
mod writer;

#[cfg(test)]
mod tests;

pub use error::RecordingError;
pub use reader::Reader;
pub use thread::{QUEUE, RecorderThread, Recorded};
pub use writer::Writer;

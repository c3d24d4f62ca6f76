//! Saving what a ring holds as one ordinary recording.

use std::{
    collections::VecDeque,
    fs::{self, File},
    path::{Path, PathBuf},
};

use super::keeper::{Segment, remove_recording};
use crate::{
    core::{frame::RunHeader, verdict::Verdict},
    recording::{Reader, RecordingError, Writer},
};

/// A recording that was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The recording.
    pub path: PathBuf,
    /// Frames in it.
    pub frames: u64,
    /// Frames that are missing in between: they could not be kept.
    pub frames_lost: u64,
    /// CLOCK_MONOTONIC of its first frame.
    pub from_ns: u64,
    /// CLOCK_MONOTONIC of its last frame.
    pub to_ns: u64,
}

/// What is to be saved, and where.
pub(super) struct Job {
    path: PathBuf,
    header: RunHeader,
    parts: Vec<Part>,
    verdict: Option<Box<Verdict>>,
}

/// A segment as it was when saving was asked for.
struct Part {
    reader: Reader,
    opened_at: Option<u64>,
    last_seq: u64,
}

impl Job {
    /// Opens the segments as they are now.
    pub(super) fn open(
        path: PathBuf,
        header: &RunHeader,
        segments: &VecDeque<Segment>,
        verdict: Option<Box<Verdict>>,
    ) -> Result<Self, RecordingError> {
        let open = |segment: &Segment| -> Option<Result<Part, RecordingError>> {
            let (opened_at, last_seq) = (segment.opened_at, segment.last_seq?);
            Some(Reader::open(&segment.path).map(|reader| Part { reader, opened_at, last_seq }))
        };
        let parts: Vec<Part> = segments.iter().filter_map(open).collect::<Result<_, _>>()?;
        if parts.is_empty() {
            return Err(RecordingError::NothingKept { path });
        }
        Ok(Self { path, header: header.clone(), parts, verdict })
    }

    /// Where it is to be saved.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Saves it, or leaves the place as it was.
    pub(super) fn run(self) -> Result<Saved, RecordingError> {
        let existed = fs::symlink_metadata(&self.path).is_ok();
        let writer = Writer::create(&self.path, &self.header)?;
        let saved = self.write(writer);
        if saved.is_err() {
            remove_half(&self.path, existed);
        }
        saved
    }

    fn write(&self, mut writer: Writer) -> Result<Saved, RecordingError> {
        let mut saved =
            Saved { path: self.path.clone(), frames: 0, frames_lost: 0, from_ns: u64::MAX, to_ns: 0 };
        let mut expected_seq = None;
        for (index, part) in self.parts.iter().enumerate() {
            for frame in part.reader.frames() {
                let frame = frame?;
                if index > 0 && part.opened_at.is_some_and(|opened_at| frame.seq <= opened_at) {
                    // Its opening tells what the segment before has told.
                    continue;
                }
                writer.frame(&frame)?;
                saved.frames += 1;
                saved.frames_lost += frame.seq.saturating_sub(expected_seq.unwrap_or(frame.seq));
                expected_seq = Some(frame.seq.saturating_add(1));
                saved.from_ns = saved.from_ns.min(frame.mono_ns);
                saved.to_ns = saved.to_ns.max(frame.mono_ns);
                if frame.seq >= part.last_seq {
                    // What follows came after saving was asked for.
                    break;
                }
            }
        }
        writer.frames_lost(saved.frames_lost);
        self.verdict.as_ref().map_or(Ok(()), |verdict| writer.verdict(verdict))?;
        writer.finish()?;
        Ok(saved)
    }
}

/// Half a recording would be taken for a whole one, and its room is needed.
fn remove_half(path: &Path, existed: bool) {
    if !existed {
        return remove_recording(path);
    }
    // An empty file was there before, perhaps with an owner of its own.
    if File::create(path).is_ok() {
        for suffix in ["-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(crate::recording::writer::with_suffix(path, suffix));
        }
    }
}

//! The ring's thread: writes frames into the current segment, and begins another when it is time.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender},
    },
    thread::{self, JoinHandle},
};

use super::{
    RingOptions, RingStatus,
    folder::Folder,
    save::{Job, Saved},
    status::read,
};
use crate::{
    core::{
        frame::{Frame, RunHeader},
        keyframe::Known,
        verdict::Verdict,
    },
    recording::{
        error::RecordingError,
        writer::{Writer, with_suffix},
    },
};

/// A disk that has failed is tried again when so much time has passed on the frames' clock.
const RETRY_NS: u64 = 10_000_000_000;
/// Segments that there are at most when no frame is being written.
const MOST_SEGMENTS: usize = 2;

/// What a ring is told.
pub(super) enum Message {
    Frames(Vec<Frame>),
    Save { path: PathBuf, verdict: Option<Box<Verdict>>, answer: SyncSender<Result<Saved, RecordingError>> },
}

/// One recording of the ring.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    /// Number of the last frame of its opening, which tells what is in the segment before; `None` in one that needs
    /// its opening: the very first, which begins as the observation does, and the first after the disk failed.
    pub(super) opened_at: Option<u64>,
    /// Number of its latest frame, opening included.
    pub(super) last_seq: Option<u64>,
    /// CLOCK_MONOTONIC of its first and latest frame.
    span_ns: Option<(u64, u64)>,
    /// Size on disk when it had been opened.
    opening_bytes: u64,
}

/// Everything that the thread has.
pub(super) struct Keeper {
    header: RunHeader,
    keep_ns: u64,
    /// How large a segment may become: two of them are there at the same time.
    segment_bytes: u64,
    known: Known,
    /// The older one, if there is one, and the current one.
    segments: VecDeque<Segment>,
    /// Writes the current one; `None` while the disk fails.
    writer: Option<Writer>,
    outage: Outage,
    /// Segments made so far.
    made: u64,
    savers: Vec<JoinHandle<()>>,
    status: Arc<Mutex<RingStatus>>,
    /// Dropped last: the files in it are closed by then.
    folder: Folder,
}

/// Since the disk failed.
#[derive(Debug, Default)]
struct Outage {
    /// When it was tried last, on CLOCK_MONOTONIC.
    tried_ns: u64,
    /// Frames that were missed.
    missed: u64,
}

impl Outage {
    /// Whether to try again. The opening takes the numbers of two frames that were missed.
    fn is_to_be_ended(&self, now_ns: u64) -> bool {
        self.missed >= 2 && now_ns.saturating_sub(self.tried_ns) >= RETRY_NS
    }
}

impl Segment {
    /// Enters a frame that was written.
    fn enter(&mut self, frame: &Frame) {
        self.last_seq = Some(frame.seq);
        let first_ns = self.span_ns.map_or(frame.mono_ns, |(first_ns, _)| first_ns);
        self.span_ns = Some((first_ns, frame.mono_ns));
    }

    /// Whether it holds anything but its opening.
    fn is_used(&self) -> bool {
        self.last_seq > self.opened_at
    }

    fn length_ns(&self) -> u64 {
        self.span_ns.map_or(0, |(first_ns, last_ns)| last_ns.saturating_sub(first_ns))
    }

    fn bytes(&self) -> u64 {
        let size = |suffix| fs::metadata(with_suffix(&self.path, suffix)).map_or(0, |file| file.len());
        size("") + size("-wal")
    }

    fn remove(&self) {
        remove_recording(&self.path);
    }
}

impl Keeper {
    pub(super) fn create(
        header: RunHeader,
        options: &RingOptions,
        status: Arc<Mutex<RingStatus>>,
    ) -> Result<Self, RecordingError> {
        let mut keeper = Self {
            header,
            keep_ns: u64::try_from(options.keep.as_nanos()).unwrap_or(u64::MAX),
            segment_bytes: options.max_bytes / 2,
            known: Known::default(),
            segments: VecDeque::new(),
            writer: None,
            outage: Outage::default(),
            made: 0,
            savers: Vec::new(),
            status,
            folder: Folder::create(&options.folder)?,
        };
        keeper.begin_segment()?;
        Ok(keeper)
    }

    /// Works until the other side is gone. What was to be saved is saved then.
    pub(super) fn work(mut self, messages: &Receiver<Message>) {
        for message in messages {
            match message {
                Message::Frames(frames) => self.frames(&frames),
                Message::Save { path, verdict, answer } => self.save(path, verdict, answer),
            }
        }
        for saver in self.savers.drain(..) {
            // One that has panicked has not answered, which says so.
            let _ = saver.join();
        }
    }

    /// Writes frames together where there is nothing else to do about any of them, else one by one.
    fn frames(&mut self, frames: &[Frame]) {
        if !self.write_together(frames) {
            frames.iter().for_each(|frame| self.frame(frame));
        }
        self.tell();
    }

    /// Returns whether they were written; else none of them was.
    fn write_together(&mut self, frames: &[Frame]) -> bool {
        let needs_another = frames.last().is_none_or(|last| self.is_over(last.mono_ns));
        let (Some(writer), Some(segment)) = (&mut self.writer, self.segments.back_mut()) else {
            return false;
        };
        if needs_another || writer.frames_together(frames).is_err() {
            return false;
        }
        for frame in frames {
            segment.enter(frame);
            self.known.enter(frame);
        }
        true
    }

    fn frame(&mut self, frame: &Frame) {
        let written = match self.writer {
            Some(_) => self.write(frame),
            None if self.outage.is_to_be_ended(frame.mono_ns) => {
                self.begin_after_outage().and_then(|()| self.write(frame))
            }
            None => return self.miss(frame),
        };
        match written {
            Ok(()) => {
                self.known.enter(frame);
                let mut status = read(&self.status);
                if !std::mem::replace(&mut status.goes_on, true) {
                    status.trouble = None;
                }
            }
            // It is not known either: a keyframe must not tell what cannot be recorded.
            Err(error) if error.is_of_one_frame() && self.writer.is_some() => {
                let mut status = read(&self.status);
                status.frames_lost += 1;
                status.trouble.get_or_insert_with(|| error.to_string());
            }
            Err(error) => {
                self.writer = None;
                self.outage.tried_ns = frame.mono_ns;
                self.miss(frame);
                let mut status = read(&self.status);
                // Only the first one is told: the next ones are of the same disk.
                if std::mem::replace(&mut status.goes_on, false) {
                    status.trouble = Some(error.to_string());
                }
            }
        }
    }

    /// Follows a frame that cannot be kept: the opening of the next segment tells what came of it.
    fn miss(&mut self, frame: &Frame) {
        self.known.enter(frame);
        self.outage.missed += 1;
        read(&self.status).frames_lost += 1;
    }

    fn tell(&self) {
        let spans = || self.segments.iter().filter_map(|segment| segment.span_ns);
        let held_ns = spans().next().zip(spans().next_back()).map(|(older, current)| (older.0, current.1));
        let bytes = self.segments.iter().map(Segment::bytes).sum();
        let mut status = read(&self.status);
        (status.held_ns, status.bytes) = (held_ns, bytes);
    }

    fn write(&mut self, frame: &Frame) -> Result<(), RecordingError> {
        if self.is_over(frame.mono_ns) {
            self.rotate()?;
        }
        if let (Some(writer), Some(segment)) = (&mut self.writer, self.segments.back_mut()) {
            writer.frame(frame)?;
            segment.enter(frame);
        }
        Ok(())
    }

    /// Whether the current segment is as long, or as large, as it may be.
    fn is_over(&self, now_ns: u64) -> bool {
        let Some(segment) = self.segments.back().filter(|segment| segment.is_used()) else { return false };
        let Some((begun_ns, _)) = segment.span_ns else { return false };
        let is_long = now_ns.saturating_sub(begun_ns) >= self.keep_ns;
        // With room for a keyframe and little else, every frame would begin another segment.
        let is_large = segment.bytes() >= self.segment_bytes.max(segment.opening_bytes.saturating_mul(2));
        if is_long || is_large {
            read(&self.status).is_shortened = !is_long;
        }
        is_long || is_large
    }

    /// Deletes the older segment, ends the current one, and begins another.
    fn rotate(&mut self) -> Result<(), RecordingError> {
        while self.segments.len() > 1 {
            // First, so that there are never three.
            self.segments.pop_front().iter().for_each(Segment::remove);
        }
        if let Some(writer) = self.writer.take() {
            writer.finish()?;
        }
        self.begin_segment()
    }

    /// Begins another segment, with everything that was missed. What was kept before stays as far as there is a place
    /// for it: the longest, for a disk may fail again and again.
    fn begin_after_outage(&mut self) -> Result<(), RecordingError> {
        self.begin_segment()?;
        self.outage = Outage::default();
        if let Some(segment) = self.segments.back_mut() {
            segment.opened_at = None;
        }
        while self.segments.len() > MOST_SEGMENTS {
            let before = self.segments.iter().enumerate().take(self.segments.len() - 1);
            let shortest = before.min_by_key(|(_, segment)| segment.length_ns()).map_or(0, |(at, _)| at);
            self.segments.remove(shortest).iter().for_each(Segment::remove);
        }
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<(), RecordingError> {
        let path = self.folder.file(self.made);
        self.made += 1;
        let mut writer = Writer::create(&path, &self.header)?;
        let mut segment = Segment { path, opened_at: None, last_seq: None, span_ns: None, opening_bytes: 0 };
        for frame in self.known.opening() {
            if let Err(error) = writer.frame(&frame) {
                drop(writer);
                segment.remove();
                return Err(error);
            }
            segment.enter(&frame);
        }
        segment.opened_at = segment.last_seq;
        segment.opening_bytes = segment.bytes();
        self.segments.push_back(segment);
        self.writer = Some(writer);
        Ok(())
    }

    fn save(
        &mut self,
        path: PathBuf,
        verdict: Option<Box<Verdict>>,
        answer: SyncSender<Result<Saved, RecordingError>>,
    ) {
        self.savers.retain(|saver| !saver.is_finished());
        // Opened here: whatever is deleted from now on, the saver can read it to its end.
        let begun = Job::open(path, &self.header, &self.segments, verdict).and_then(|job| {
            let (path, answer) = (job.path().to_owned(), answer.clone());
            thread::Builder::new()
                .name("ring-save".into())
                .spawn(move || {
                    // Whoever does not wait for it does not want to know.
                    let _ = answer.send(job.run());
                })
                .map_err(|error| RecordingError::Stopped { path, why: format!("no thread for it: {error}") })
        });
        match begun {
            Ok(saver) => self.savers.push(saver),
            Err(error) => _ = answer.send(Err(error)),
        }
    }
}

/// Removes a recording and what SQLite keeps beside it, as far as it is there.
pub(super) fn remove_recording(path: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let _ = fs::remove_file(with_suffix(path, suffix));
    }
}

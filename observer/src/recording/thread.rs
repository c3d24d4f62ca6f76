//! The recorder's own thread: a slow disk never holds up a tick, and a broken one never ends a run.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use super::{error::RecordingError, writer::Writer};
use crate::{
    core::{event::Judged, frame::Frame, verdict::Verdict},
    privileges::{self, Until},
};

/// How many frames wait for the disk at most: a minute of them.
pub const QUEUE: usize = 600;

enum Message {
    Frame(Box<Frame>),
    Judged(Box<Judged>),
    Finish { verdict: Option<Box<Verdict>>, lost: u64 },
}

/// How a recording ended.
#[derive(Debug)]
pub struct Recorded {
    /// The recording.
    pub path: PathBuf,
    /// Frames in it.
    pub frames: u64,
    /// Frames that are not in it.
    pub frames_lost: u64,
    /// The first thing that went wrong; `None` with lost frames means that the disk was too slow.
    pub error: Option<RecordingError>,
}

impl Recorded {
    /// What to tell the user, when anything is missing from the recording.
    pub fn complaint(&self) -> Option<String> {
        let missing = match self.frames_lost {
            0 => String::new(),
            lost => {
                format!("{}: {lost} of {} frames are not recorded", self.path.display(), self.frames + lost)
            }
        };
        match (&self.error, self.frames_lost) {
            (None, 0) => None,
            (None, _) => Some(format!("{missing}: the disk was too slow; record to a faster one")),
            (Some(error), 0) => Some(error.to_string()),
            (Some(error), _) => Some(format!("{missing}: {error}")),
        }
    }
}

/// Takes frames without ever waiting.
#[derive(Debug)]
pub struct RecorderThread {
    path: PathBuf,
    queue: SyncSender<Message>,
    thread: JoinHandle<Recorded>,
    /// The first thing that went wrong, in words.
    failure: Arc<OnceLock<String>>,
    given: u64,
    lost: u64,
}

impl RecorderThread {
    /// Starts the thread that writes.
    pub fn spawn(writer: Writer) -> Result<Self, RecordingError> {
        Self::with_queue(writer, QUEUE)
    }

    pub(super) fn with_queue(writer: Writer, bound: usize) -> Result<Self, RecordingError> {
        let path = writer.path().to_owned();
        let (queue, messages) = sync_channel(bound);
        let failure = Arc::new(OnceLock::new());
        let told = Arc::clone(&failure);
        let thread = thread::Builder::new()
            .name("recorder".into())
            .spawn(move || {
                // Where giving up is refused, the observation says so.
                let _ = privileges::keep_only(&[Until::Recorded]);
                work(writer, &messages, &told)
            })
            .map_err(|error| RecordingError::Stopped {
                path: path.clone(),
                why: format!("no thread for it: {error}"),
            })?;
        Ok(Self { path, queue, thread, failure, given: 0, lost: 0 })
    }

    /// Hands over a frame. It is lost, and counted, when too many wait already.
    pub fn frame(&mut self, frame: Frame) {
        self.given += 1;
        match self.queue.try_send(Message::Frame(Box::new(frame))) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.lost += 1,
        }
    }

    /// Hands over what was made of the latest frame. Where too many frames wait, it is left out: a replay makes
    /// it anew.
    pub fn judged(&mut self, judged: Judged) {
        let _ = self.queue.try_send(Message::Judged(Box::new(judged)));
    }

    /// Frames lost so far because too many waited.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// What is wrong with the recording so far, in words that stay the same while it does; `None` while
    /// everything is well. [`Recorded::complaint`] says at the end how much is missing.
    pub fn trouble(&self) -> Option<&str> {
        let too_slow = (self.lost > 0).then_some("frames are lost: the disk is too slow");
        self.failure.get().map(String::as_str).or(too_slow)
    }

    /// Waits until everything is written, with the verdict if there is one, and ends the recording.
    pub fn finish(self, verdict: Option<Verdict>) -> Recorded {
        let Self { path, queue, thread, given, lost, failure: _ } = self;
        // A thread that has died cannot take the message; joining it tells.
        let _ = queue.send(Message::Finish { verdict: verdict.map(Box::new), lost });
        drop(queue);
        thread.join().unwrap_or_else(|_| Recorded {
            error: Some(RecordingError::Stopped { path: path.clone(), why: "its thread panicked".into() }),
            path,
            frames: 0,
            frames_lost: given,
        })
    }
}

/// The thread: writes until it is told to finish, or the other side is gone.
fn work(writer: Writer, messages: &Receiver<Message>, failure: &OnceLock<String>) -> Recorded {
    let path = writer.path().to_owned();
    // None once the file has failed: what is in it stays as it is.
    let mut writer = Some(writer);
    let mut recorded = Recorded { path, frames: 0, frames_lost: 0, error: None };
    let mut ending = None;
    for message in messages {
        let (frames, written) = match message {
            Message::Frame(frame) => (1, writer.as_mut().map(|writer| writer.frame(&frame))),
            Message::Judged(judged) => (0, writer.as_mut().map(|writer| writer.judged(&judged))),
            Message::Finish { verdict, lost } => {
                recorded.frames_lost += lost;
                ending = verdict;
                break;
            }
        };
        match written {
            Some(Ok(())) => recorded.frames += frames,
            None => recorded.frames_lost += frames,
            Some(Err(error)) => {
                recorded.frames_lost += frames;
                if !error.is_of_one_frame() {
                    writer = None;
                }
                // Only the first one is told, while it lasts and at the end.
                let _ = failure.set(error.to_string());
                recorded.error.get_or_insert(error);
            }
        }
    }
    if let Some(mut writer) = writer {
        writer.frames_lost(recorded.frames_lost);
        let verdict = ending.map_or(Ok(()), |verdict| writer.verdict(&verdict));
        if let Err(error) = verdict.and(writer.finish()) {
            recorded.error.get_or_insert(error);
        }
    }
    recorded
}

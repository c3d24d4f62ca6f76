//! The latest minutes of an observation that nobody records, for the surprise that nobody expected.
//!
//! Two segments in a private temporary folder, each a recording of its own: when the current one is as long as is
//! to be kept, the one before it is deleted and another is begun. A segment begins with a keyframe, so the older of
//! the two needs nothing of what was deleted. Both together are saved as one ordinary recording.
//!
//! All of it happens on the ring's own thread, and saving on yet another: a tick only hands over its frame.

mod folder;
mod keeper;
mod save;
mod status;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use self::{
    keeper::{Keeper, Message},
    status::read,
};
pub use self::{save::Saved, status::RingStatus};
use super::{error::RecordingError, thread::QUEUE};
use crate::{
    core::{
        frame::{Frame, RunHeader},
        verdict::Verdict,
    },
    privileges::{self, Until},
};

/// Bytes that a ring takes on disk unless told otherwise.
pub const MOST_BYTES: u64 = 256 << 20;

/// What a ring keeps, and where.
#[derive(Clone, Debug)]
pub struct RingOptions {
    /// It holds at least this much, once so much has passed, and less than twice of it.
    pub keep: Duration,
    /// It holds less when it would be larger than this; a segment is checked when a frame has been written.
    pub max_bytes: u64,
    /// The folder in which it makes its own.
    pub folder: PathBuf,
    /// So many frames are handed over and written together: to do that for each of them is much dearer.
    pub together: usize,
}

impl RingOptions {
    /// Keeps so much, in 256 MB where large temporary files belong, and writes every two seconds.
    ///
    /// That is not the user's runtime folder: it is in memory, and small.
    pub fn keeping(keep: Duration) -> Self {
        let large = Path::new("/var/tmp");
        let folder = if large.is_dir() { large.to_owned() } else { std::env::temp_dir() };
        Self { keep, max_bytes: MOST_BYTES, folder, together: 50 }
    }
}

/// Keeps the latest frames on disk. Dropping it waits for what is being saved, and removes its files.
#[derive(Debug)]
pub struct Ring {
    /// `None` only while it is dropped.
    queue: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
    status: Arc<Mutex<RingStatus>>,
    /// Frames that are still to be handed over.
    waiting: Vec<Frame>,
    /// So many of them are handed over together.
    together: usize,
    /// Frames that were not handed over because too many waited.
    frames_lost: u64,
}

impl Ring {
    /// Begins to keep the frames of the run with this header.
    pub fn create(header: &RunHeader, options: RingOptions) -> Result<Self, RecordingError> {
        let status = Arc::new(Mutex::new(RingStatus::new(&options)));
        let keeper = Keeper::create(header.clone(), &options, Arc::clone(&status))?;
        let RingOptions { folder: path, together, .. } = options;
        let (queue, messages) = sync_channel(QUEUE / together.clamp(1, QUEUE));
        let thread = thread::Builder::new()
            .name("ring".into())
            .spawn(move || {
                // Where giving up is refused, the observation says so.
                let _ = privileges::keep_only(&[Until::Recorded]);
                keeper.work(&messages);
            })
            .map_err(|error| RecordingError::Stopped { path, why: format!("no thread for it: {error}") })?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            status,
            waiting: Vec::new(),
            together,
            frames_lost: 0,
        })
    }

    /// Keeps a frame, without ever waiting. It is lost, and counted, when too many wait already; a keyframe then
    /// lacks what only that one told.
    pub fn frame(&mut self, frame: Frame) {
        self.waiting.push(frame);
        if self.waiting.len() >= self.together {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let frames = std::mem::take(&mut self.waiting);
        let count = frames.len() as u64;
        if count > 0 && self.send(Message::Frames(frames)).is_err() {
            self.frames_lost += count;
        }
    }

    /// Begins to save all that is kept, up to the latest frame, as a recording at `path`, with the
    /// verdict of now if there is one. The ring goes on meanwhile.
    ///
    /// A file that exists is treated as [`super::Writer::create`] does; [`Saving`] tells how it went. Where
    /// saving fails, nothing of it is left at `path`.
    pub fn save(&mut self, path: &Path, verdict: Option<Verdict>) -> Saving {
        self.hand_over();
        let (answer, result) = sync_channel(1);
        let message = Message::Save { path: path.to_owned(), verdict: verdict.map(Box::new), answer };
        let refused = match self.send(message) {
            Ok(()) => None,
            Err(TrySendError::Full(message)) => {
                Some((message, "too many frames wait for its disk; try again"))
            }
            Err(TrySendError::Disconnected(message)) => Some((message, "its thread is gone")),
        };
        if let Some((Message::Save { path, answer, .. }, why)) = refused {
            // There is room for the one answer.
            let _ = answer.send(Err(RecordingError::Stopped { path, why: why.into() }));
        }
        Saving { path: path.to_owned(), result }
    }

    /// What is kept at the moment.
    pub fn status(&self) -> RingStatus {
        let mut status = read(&self.status).clone();
        let is_gone = self.thread.as_ref().is_some_and(JoinHandle::is_finished);
        let gone = || is_gone.then(|| "its thread is gone".into());
        let too_slow = || (self.frames_lost > 0).then(|| "frames are lost: the disk is too slow".into());
        status.trouble = status.trouble.or_else(gone).or_else(too_slow);
        status.goes_on &= !is_gone;
        status.frames_lost += self.frames_lost;
        status
    }

    /// What is wrong with it, in words that stay the same while it is; `None` while all is well.
    pub fn trouble(&self) -> Option<String> {
        self.status().trouble
    }

    fn send(&self, message: Message) -> Result<(), TrySendError<Message>> {
        match &self.queue {
            Some(queue) => queue.try_send(message),
            None => Err(TrySendError::Disconnected(message)),
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.queue = None;
        // A thread that has panicked has said so already.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What is being saved.
#[derive(Debug)]
pub struct Saving {
    path: PathBuf,
    result: Receiver<Result<Saved, RecordingError>>,
}

impl Saving {
    /// The recording that is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it went; `None` while it goes on. It is told once: do not ask again after that.
    pub fn poll(&self) -> Option<Result<Saved, RecordingError>> {
        match self.result.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(self.unanswered())),
        }
    }

    /// Waits until it is saved.
    pub fn wait(self) -> Result<Saved, RecordingError> {
        self.result.recv().unwrap_or_else(|_| Err(self.unanswered()))
    }

    fn unanswered(&self) -> RecordingError {
        RecordingError::Stopped { path: self.path.clone(), why: "the thread that saved it is gone".into() }
    }
}

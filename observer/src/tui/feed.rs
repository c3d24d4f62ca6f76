//! What the dashboard is told, by an observation that is going on or by a recording that is played, and what it
//! asks for.

use std::{sync::Arc, time::Duration};

use crate::core::{event::Event, history::History, snapshot::Snapshot, verdict::Verdict};

/// What the dashboard is told.
#[derive(Debug)]
pub enum Feed {
    /// How things stand now: several times a second, and at once when a fault line is hit.
    Scene(Box<Scene>),
    /// What was shown so far no longer holds: an episode began, or the player jumped.
    Anew(Box<Anew>),
    /// Words for the user (`saved to run.observer`), shown for a while.
    Notice(String),
    /// The observation is over, or cannot go on.
    Over(Option<String>),
}

/// How things stand.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Now.
    pub snapshot: Snapshot,
    /// What the engine says so far.
    pub verdict: Arc<Verdict>,
    /// The course so far, this snapshot included: whoever misses a scene misses nothing of it.
    pub history: Arc<History>,
    /// What happened since the scene before.
    pub events: Vec<Event>,
    /// As many events before these are not told any more: too much happened.
    pub events_forgotten: u64,
    /// What is kept, where something is to be.
    pub kept: Option<Kept>,
    /// The recording, where one is played.
    pub player: Option<Player>,
}

/// The latest minutes, kept for who is surprised by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// From when on.
    pub held: Duration,
    /// Whether what happens now is kept.
    pub goes_on: bool,
    /// What is wrong; `None` while all is well.
    pub trouble: Option<String>,
}

/// The same, with everything that led to it.
#[derive(Clone, Debug)]
pub struct Anew {
    /// Everything that happened so far is in its events.
    pub scene: Scene,
    /// Episodes that are over, oldest first: their final verdicts.
    pub episodes: Vec<Arc<Verdict>>,
    /// Whether an episode is under way.
    pub in_episode: bool,
}

/// Where a player is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Player {
    /// CLOCK_MONOTONIC of its first frame.
    pub from_ns: u64,
    /// CLOCK_MONOTONIC of its last frame.
    pub to_ns: u64,
    /// Recorded seconds per second.
    pub speed: f64,
    /// Whether it goes on by itself.
    pub playing: bool,
    /// Whether today's verdict on the whole recording is the one that was recorded; `None` where none was.
    pub same_verdict: Option<bool>,
}

/// What the dashboard asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// A phase of this name begins.
    Mark(String),
    /// An episode begins: what comes from now on is judged by itself.
    BeginEpisode,
    /// The episode ends.
    EndEpisode,
    /// Keep what was observed in this file.
    Save(String),
    /// Play or pause.
    Play(bool),
    /// Recorded seconds per second.
    Speed(f64),
    /// One tick on (true) or back.
    Step(bool),
    /// To this instant of the recording.
    Seek {
        /// CLOCK_MONOTONIC.
        at_ns: u64,
    },
    /// Over by this much, forwards or back.
    Skip {
        /// Whether it is forwards.
        forwards: bool,
        /// How far.
        by: Duration,
    },
    /// The user has seen enough.
    Quit,
}

//! What happened, one line each: for the log of a dashboard, a stream of events, an export.

use super::{
    assemble,
    engine::{Engine, Update},
    frame::{Fact, Frame, Mark},
    ledger::Bracket,
    verdict::{HitSubject, Verdict},
};

/// Something that happened at an instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// CLOCK_MONOTONIC of it.
    pub at_ns: u64,
    /// What it was.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A run or episode began.
    Started,
    /// Its load ended.
    Ended {
        /// The command's exit status, where there was a command.
        exit_status: Option<i32>,
    },
    /// A phase began that the user named.
    Phase {
        /// Its name.
        name: String,
    },
    /// A fault line was hit.
    Onset {
        /// Id of the line.
        fault_line: &'static str,
        /// Where.
        subject: HitSubject,
        /// When, as exactly as is known.
        at: Bracket,
    },
    /// The kernel wrote to its log.
    KernelLog {
        /// The line.
        text: String,
    },
    /// Something could not be read, for the first time or after it could be.
    Unreadable {
        /// Name of the source.
        source: String,
        /// Why.
        why: String,
    },
    /// More counts are known to be missing.
    Loss {
        /// Why.
        reason: String,
        /// How many, so far.
        count: u64,
    },
}

impl What {
    /// The stable name used in recordings.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ended { .. } => "ended",
            Self::Phase { .. } => "phase",
            Self::Onset { .. } => "onset",
            Self::KernelLog { .. } => "kernel_log",
            Self::Unreadable { .. } => "unreadable",
            Self::Loss { .. } => "loss",
        }
    }
}

/// What was made of a frame: for a recording that people ask by themselves.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The frame.
    pub seq: u64,
    /// CLOCK_MONOTONIC of it.
    pub mono_ns: u64,
    /// What happened.
    pub events: Vec<Event>,
    /// The verdict so far, where something was hit.
    pub verdict: Option<Box<Verdict>>,
}

impl Judged {
    /// What a frame told and the engine made of it; `None` where nothing happened. `engine` has taken in the
    /// frame.
    pub fn of(frame: &Frame, events: &[Event], engine: &Engine) -> Option<Self> {
        let verdict = events.iter().any(Event::is_onset).then(|| Box::new(engine.verdict(None)));
        let Frame { seq, mono_ns, .. } = *frame;
        (!events.is_empty()).then(|| Self { seq, mono_ns, events: events.to_vec(), verdict })
    }
}

impl Event {
    /// Whether a fault line was hit.
    pub fn is_onset(&self) -> bool {
        matches!(self.what, What::Onset { .. })
    }

    /// What a frame told and the engine made of it. `engine` has taken in the frame.
    pub fn of(frame: &Frame, update: &Update, engine: &Engine) -> Vec<Self> {
        let marks = frame.marks.iter().map(of_mark);
        let facts = frame.facts.iter().filter_map(of_fact);
        let unreadable = update.newly_failing.iter().map(|source| Self {
            at_ns: frame.mono_ns,
            what: What::Unreadable {
                source: source.clone(),
                why: engine.ledger.failing.get(source).cloned().unwrap_or_default(),
            },
        });
        let losses = frame.losses.iter().filter(|loss| loss.count > 0).map(|loss| Self {
            at_ns: frame.mono_ns,
            what: What::Loss { reason: loss.reason.clone(), count: loss.count },
        });
        let onsets = update.onsets.iter().map(|(fault_line, subject, at)| Self {
            at_ns: at.hi_ns,
            what: What::Onset { fault_line, subject: assemble::case::describe(engine, subject), at: *at },
        });
        let mut events: Vec<Self> =
            marks.chain(facts).chain(unreadable).chain(losses).chain(onsets).collect();
        events.sort_by_key(|event| event.at_ns);
        events
    }
}

fn of_mark(mark: &Mark) -> Event {
    let (at_ns, what) = match mark {
        Mark::CommandStarted { at_ns, .. } => (*at_ns, What::Started),
        Mark::CommandEnded { at_ns, exit_status } => (*at_ns, What::Ended { exit_status: *exit_status }),
        Mark::Phase { at_ns, name, .. } => (*at_ns, What::Phase { name: name.clone() }),
    };
    Event { at_ns, what }
}

fn of_fact(fact: &Fact) -> Option<Event> {
    match fact {
        Fact::KernelLog { at_ns, text, .. } => {
            Some(Event { at_ns: *at_ns, what: What::KernelLog { text: text.clone() } })
        }
        _ => None,
    }
}

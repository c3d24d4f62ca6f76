//! Edges between fault lines: what may cause what, and whether it did here.

use super::{
    detect::QUIET_NS,
    ledger::{Bracket, Ledger},
    subject::Subject,
};

/// One line may lead to another.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    /// Id of the causing line.
    pub cause: &'static str,
    /// What has to have moved for the cause to be the cause.
    pub mechanism: Mechanism,
    /// The effect begins at most this long after the cause.
    pub max_lag_ns: u64,
}

/// How the one makes the other, and so what is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// The process that owns the listener no longer takes connections from its queue.
    AcceptStalled,
    /// Both happen at the same listener.
    SameListener,
}

/// An onset as the chain sees it.
#[derive(Clone, Debug)]
pub struct Onset<'a> {
    /// Id of the line.
    pub line: &'static str,
    /// Where.
    pub subject: &'a Subject,
    /// When.
    pub at: Bracket,
    /// When it last occurred.
    pub last_ns: u64,
}

/// Whether `cause` led to `effect` along `edge`; the sentence that says how, if it did.
///
/// The scope has to be the same, the order right, and the mechanism must have moved: an unrelated
/// fault at the same time explains nothing.
pub fn links(
    edge: &Edge,
    cause: &Onset,
    effect: &Onset,
    ledger: &Ledger,
    rates: &dyn Rates,
) -> Option<String> {
    let in_order = cause.at.lo_ns <= effect.at.hi_ns;
    let in_time = effect.at.hi_ns.saturating_sub(cause.at.hi_ns) <= edge.max_lag_ns
        && effect.at.lo_ns.saturating_sub(cause.last_ns) <= QUIET_NS;
    if cause.line != edge.cause || !in_order || !in_time {
        return None;
    }
    match edge.mechanism {
        Mechanism::AcceptStalled => accept_stalled(cause, effect, ledger, rates),
        Mechanism::SameListener => same_listener(cause, effect),
    }
}

/// Rates of a listener that a mechanism is judged by.
pub trait Rates {
    /// Connections that the service took from the queue per second: at its best before the cause, and at
    /// its worst around the beginning of the effect; `None` where it is not known.
    fn accepted_around(&self, listener: &Subject, cause: Bracket, effect: Bracket) -> Option<(f64, f64)>;
}

/// Share of the former accept rate below which accepting has stalled.
const STALLED_RATIO: f64 = 0.5;

fn accept_stalled(cause: &Onset, effect: &Onset, ledger: &Ledger, rates: &dyn Rates) -> Option<String> {
    let (netns, listener) = (effect.subject.netns?, effect.subject.listener?);
    let pid = cause.subject.pid?;
    if !ledger.owners.get(&(netns, listener))?.contains(&pid) {
        return None;
    }
    let (before, after) = rates.accepted_around(effect.subject, cause.at, effect.at)?;
    if before <= 0.0 || after > before * STALLED_RATIO {
        return None;
    }
    let comm = ledger.processes.get(&pid).map_or("the service", |process| process.comm.as_str());
    Some(format!(
        "without a descriptor {comm} (pid {pid}) could not accept: it took up to {before:.0} connections/s from the \
         queue of {listener} before, down to {after:.0}/s after"
    ))
}

fn same_listener(cause: &Onset, effect: &Onset) -> Option<String> {
    let listener = effect.subject.listener?;
    (cause.subject == effect.subject).then(|| {
        format!(
            "with the accept queue of {listener} full, final ACKs are dropped and handshakes stay half-open"
        )
    })
}

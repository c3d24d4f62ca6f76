//! Edges between fault lines: what may cause what, and whether it did here.

mod mechanism;

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
    /// The cgroup of the process that owns the listener stood still, and connections piled up.
    ServiceThrottled,
    /// The listener drops what would complete its handshakes, so SYNs and SYN-ACKs are sent again.
    HandshakesDropped,
    /// The namespace drops the first packet of new connections, so SYNs are sent again.
    DroppedUntracked,
    /// SYNs to the same destination are lost, so its connects are not answered.
    SynsLost,
    /// The listener answers what it has no room for with a reset.
    AbortOnOverflow,
    /// The process that was killed owned the listener.
    VictimServed,
    /// Both happen in the same cgroup, or the cause in one above the effect's.
    SameMemory,
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
        Mechanism::AcceptStalled => mechanism::accept_stalled(cause, effect, ledger, rates),
        Mechanism::SameListener => mechanism::same_listener(cause, effect),
        Mechanism::ServiceThrottled => mechanism::service_throttled(cause, effect, ledger, rates),
        Mechanism::HandshakesDropped => mechanism::handshakes_dropped(cause, effect, ledger),
        Mechanism::DroppedUntracked => mechanism::dropped_untracked(cause, effect, ledger),
        Mechanism::SynsLost => mechanism::syns_lost(cause, effect, ledger),
        Mechanism::AbortOnOverflow => mechanism::abort_on_overflow(cause, effect, ledger),
        Mechanism::VictimServed => mechanism::victim_served(cause, effect, ledger),
        Mechanism::SameMemory => mechanism::same_memory(cause, effect, ledger),
    }
}

/// Rates that a mechanism is judged by.
pub trait Rates {
    /// Connections that the service took from the queue per second: at its best before the cause, and at
    /// its worst around the beginning of the effect; `None` where it is not known.
    fn accepted_around(&self, listener: &Subject, cause: Bracket, effect: Bracket) -> Option<(f64, f64)>;
    /// How a cgroup was throttled between two instants; `None` where it is not known.
    fn throttling(&self, cgroup: &Subject, from_ns: u64, to_ns: u64) -> Option<Throttling>;
    /// Connections that arrived at a listener per second between two instants.
    fn arrived_per_s(&self, listener: &Subject, from_ns: u64, to_ns: u64) -> Option<f64>;
}

/// How hard a cgroup was throttled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throttling {
    /// Share of the quota's periods in which it was stopped.
    pub periods_ratio: f64,
    /// Seconds for which run queues stood still, per second; more than 1 where several do. `None` where it
    /// is not counted.
    pub stopped_ratio: Option<f64>,
}

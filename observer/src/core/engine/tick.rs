//! One tick, summed up: what failed, per line and subject.

use crate::core::{
    detect::Policy,
    frame::Tier,
    ledger::{Bracket, Increment},
    lines::Failure,
};

/// The failures of one line at one subject in one tick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Occurrence {
    pub(super) policy: Policy,
    pub(super) tier: Tier,
    pub(super) inferred: bool,
    pub(super) events: u64,
    /// Of them, those that count in full however many come at once.
    pub(super) uncapped: u64,
    pub(super) first: Bracket,
    pub(super) last_ns: u64,
}

impl Occurrence {
    pub(super) fn new(failure: &Failure, increment: &Increment, inferred: bool) -> Self {
        Self {
            policy: failure.policy,
            tier: increment.tier,
            inferred,
            events: increment.events,
            uncapped: if failure.in_full { increment.events } else { 0 },
            first: increment.first,
            last_ns: increment.last_ns,
        }
    }

    /// Adds what another signal or cell counted. What is inferred may be the same failures that a probe
    /// has seen in part: the larger count holds then.
    pub(super) fn join(&mut self, other: &Self) {
        if self.inferred == other.inferred {
            (self.events, self.uncapped) = (self.events + other.events, self.uncapped + other.uncapped);
        } else {
            self.events = self.events.max(other.events);
            self.uncapped = self.uncapped.max(other.uncapped);
        }
        if other.first.hi_ns < self.first.hi_ns {
            (self.first, self.tier) = (other.first, other.tier);
        }
        self.inferred &= other.inferred;
        self.last_ns = self.last_ns.max(other.last_ns);
    }
}

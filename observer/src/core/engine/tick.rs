//! One tick, summed up: what arrived and what failed, per subject.

use std::collections::BTreeMap;

use observer_common::Signal;

use crate::core::{
    detect::Policy,
    frame::Tier,
    ledger::{Bracket, Increment},
    lines::Failure,
    subject::Subject,
};

/// Connections that arrived in a tick, per listener and per namespace.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    pub(super) syns: BTreeMap<Subject, u64>,
    accepted: BTreeMap<Subject, u64>,
}

impl Arrivals {
    pub(super) fn of(increments: &[Increment]) -> Self {
        let mut arrivals = Self::default();
        for increment in increments {
            let map = match increment.signal {
                Signal::SynArrival => &mut arrivals.syns,
                Signal::ConnectionAccepted => &mut arrivals.accepted,
                _ => continue,
            };
            *map.entry(increment.subject.clone()).or_default() += increment.events;
        }
        arrivals
    }

    pub(super) fn at(&self, subject: &Subject) -> u64 {
        let or_accepted = || self.accepted.get(subject).copied();
        self.syns.get(subject).copied().or_else(or_accepted).unwrap_or(0)
    }

    pub(super) fn add_to(&self, sums: &mut BTreeMap<Subject, u64>) {
        for subject in self.syns.keys().chain(self.accepted.keys().filter(|at| !self.syns.contains_key(at))) {
            *sums.entry(subject.clone()).or_default() += self.at(subject);
        }
    }
}

/// The failures of one line at one subject in one tick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Occurrence {
    pub(super) policy: Policy,
    pub(super) tier: Tier,
    pub(super) inferred: bool,
    pub(super) events: u64,
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
            first: increment.first,
            last_ns: increment.last_ns,
        }
    }

    /// Adds what another signal or cell counted. What is inferred may be the same failures that a probe
    /// has seen in part: the larger count holds then.
    pub(super) fn join(&mut self, other: &Self) {
        self.events = if self.inferred == other.inferred {
            self.events + other.events
        } else {
            self.events.max(other.events)
        };
        if other.first.hi_ns < self.first.hi_ns {
            (self.first, self.tier) = (other.first, other.tier);
        }
        self.inferred &= other.inferred;
        self.last_ns = self.last_ns.max(other.last_ns);
    }
}

//! What could have failed: connections, segments, periods. Failures are judged against it.

use std::collections::BTreeMap;

use observer_common::Signal;

use crate::core::{ledger::Increment, lines::Exposure, subject::Subject};

/// What passed in a tick, or in many, per subject.
#[derive(Debug, Default)]
pub(super) struct Exposures {
    /// SYNs that reached a listener.
    syns: BTreeMap<Subject, u64>,
    /// Connections that a listener or namespace accepted.
    accepted: BTreeMap<Subject, u64>,
    /// Connects begun towards a destination.
    attempts: BTreeMap<Subject, u64>,
    /// TCP segments sent, per namespace.
    segments: BTreeMap<Subject, u64>,
    /// Periods of a cgroup's CPU quota.
    periods: BTreeMap<Subject, u64>,
}

impl Exposures {
    pub(super) fn add(&mut self, increment: &Increment) {
        let map = match increment.signal {
            Signal::SynArrival => &mut self.syns,
            Signal::ConnectionAccepted => &mut self.accepted,
            Signal::ConnectAttempt => &mut self.attempts,
            Signal::SegmentsSent => &mut self.segments,
            Signal::CpuPeriods => &mut self.periods,
            _ => return,
        };
        *map.entry(increment.subject.clone()).or_default() += increment.events;
    }

    /// What could have failed at a subject while `failed` of it did; `None` where that is not counted, and
    /// only time passes.
    pub(super) fn at(&self, exposure: Exposure, subject: &Subject, failed: u64) -> Option<u64> {
        let of = |map: &BTreeMap<Subject, u64>, at: &Subject| map.get(at).copied().unwrap_or(0);
        match exposure {
            Exposure::Connections if subject.listener.is_some() => Some(self.arrived(subject, failed)),
            Exposure::Connections if subject.destination.is_some() => Some(of(&self.attempts, subject)),
            Exposure::Segments => Some(of(&self.segments, &Subject::namespace(subject.netns?))),
            Exposure::Periods => Some(of(&self.periods, subject)),
            Exposure::Connections => Some(self.accepted.get(subject)? + failed),
            Exposure::Time => None,
        }
    }

    /// The SYNs of a listener, or without a probe for them what was accepted and what failed. Without any probe the
    /// kernel counts what was accepted for a namespace as a whole.
    fn arrived(&self, listener: &Subject, failed: u64) -> u64 {
        if let Some(syns) = self.syns.get(listener) {
            return *syns;
        }
        let of_namespace = || self.accepted.get(&Subject::namespace(listener.netns?));
        self.accepted.get(listener).or_else(of_namespace).copied().unwrap_or(0) + failed
    }
}

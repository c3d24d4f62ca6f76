//! Holds the probes against the kernel's own counters: what the kernel counted and no probe saw is a loss, and
//! has a name.
//!
//! A kernel may skip a program without a word. Seen so far: a sandboxed one that runs no tracing program in an
//! interrupt over the machine's first process.
//!
//! Kernel: `__tcp_retransmit_skb` and `tcp_rtx_synack` (net/ipv4/tcp_output.c) count a segment in RetransSegs and
//! then tell the tracepoints of it, unless it did not leave the host (TCPRetransFail).

use std::collections::{BTreeMap, BTreeSet};

use observer_common::Signal;

use super::{
    frame::{Frame, SignalCoverage},
    ledger::Increment,
};

/// What the probes tell retransmissions apart into: together, RetransSegs.
const KINDS: [Signal; 5] = [
    Signal::RetransmitSyn,
    Signal::RetransmitSynAck,
    Signal::RetransmitFast,
    Signal::RetransmitTimeout,
    Signal::RetransmitProbe,
];

/// What is held against each other.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    probed: bool,
    /// The losses under which runs of these probes are named that the kernel skipped.
    skipped: BTreeSet<String>,
    by_namespace: BTreeMap<u32, Account>,
    unseen: u64,
    /// Of them, those of earlier episodes.
    unseen_before: u64,
}

/// The two sides of one network namespace.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// Whether the counter has been read, and counts from then on.
    open: bool,
    /// Sent again, by the kernel's counters.
    counted: u64,
    /// Of them, those that did not leave the host.
    failed: u64,
    /// Seen by the probes.
    seen: u64,
}

impl Account {
    fn unseen(&self) -> u64 {
        self.counted.saturating_sub(self.failed).saturating_sub(self.seen)
    }
}

impl Audit {
    /// An audit of a run. There is none where not every kind is probed.
    pub fn new(coverage: &[SignalCoverage]) -> Self {
        let probed = |kind: &Signal| coverage.iter().any(|had| had.signal == *kind && had.tier.is_probe());
        let hooks = coverage.iter().filter(|had| KINDS.contains(&had.signal));
        let hooks = hooks.flat_map(|had| had.source.split(", "));
        Self {
            probed: KINDS.iter().all(probed),
            skipped: hooks.map(|hook| format!("recursion:{hook}")).collect(),
            ..Self::default()
        }
    }

    /// Enters a frame. Probes are read before counters: what the counters said in the frame before, the
    /// probes must have seen by this one.
    pub fn enter(&mut self, frame: &Frame, increments: &[Increment]) {
        if !self.probed {
            return;
        }
        self.add(increments, |account, increment| match increment.signal {
            Signal::RetransmitFailed => account.failed += increment.events,
            kind if KINDS.contains(&kind) && increment.tier.is_probe() => account.seen += increment.events,
            _ => {}
        });
        self.unseen = self.by_namespace.values().map(Account::unseen).sum();
        self.add(increments, |account, increment| {
            if increment.signal == Signal::SegmentsRetransmitted {
                account.counted += increment.events;
            }
        });
        self.open_accounts(frame);
    }

    /// Another run begins.
    pub fn start_anew(&mut self) {
        self.unseen_before = self.unseen;
    }

    /// Segments sent again that no probe saw and no other loss names, as far as is certain by now: what both
    /// sides count while they are read hides some, until it is quiet.
    pub fn unseen_retransmits(&self, losses: &BTreeMap<String, u64>) -> u64 {
        let skipped: u64 = self.skipped.iter().filter_map(|loss| losses.get(loss)).sum();
        self.unseen.saturating_sub(self.unseen_before).saturating_sub(skipped)
    }

    fn add(&mut self, increments: &[Increment], enter: impl Fn(&mut Account, &Increment)) {
        for increment in increments {
            if let Some(netns) = increment.subject.netns {
                enter(self.by_namespace.entry(netns).or_default(), increment);
            }
        }
    }

    /// The first read of a counter is its origin: what the probes had seen by then does not count either.
    fn open_accounts(&mut self, frame: &Frame) {
        let read = frame.signals.iter().filter(|sample| sample.signal == Signal::SegmentsRetransmitted);
        for netns in read.filter_map(|sample| sample.subject.netns) {
            let account = self.by_namespace.entry(netns).or_default();
            if !account.open {
                *account = Account { open: true, ..Account::default() };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        frame::{SignalSample, Tier},
        ledger::Bracket,
        subject::Subject,
    };

    const NETNS: u32 = 7;

    fn audit(tier: Tier) -> Audit {
        let had = |signal| SignalCoverage { signal, tier, source: "test".into(), why_degraded: None };
        Audit::new(&KINDS.map(had))
    }

    fn increment(signal: Signal, events: u64) -> Increment {
        let tier = if KINDS.contains(&signal) { Tier::Tracepoint } else { Tier::Counter };
        Increment {
            signal,
            tier,
            subject: Subject::namespace(NETNS),
            generator: false,
            events,
            first: Bracket { lo_ns: 0, hi_ns: 0 },
            last_ns: 0,
        }
    }

    /// A frame in which the counter was read.
    fn read() -> Frame {
        let sample = SignalSample {
            signal: Signal::SegmentsRetransmitted,
            tier: Tier::Counter,
            subject: Subject::namespace(NETNS),
            reason: None,
            generator: false,
            count: 0,
            first_ns: None,
            last_ns: None,
            peak: None,
            limit: None,
            read_ns: 0,
            since_ns: 0,
        };
        Frame { signals: vec![sample], ..Frame::default() }
    }

    /// The loss after each of these frames: seen, counted, failed.
    fn unseen(mut audit: Audit, frames: &[(u64, u64, u64)]) -> Vec<u64> {
        let step = |(seen, counted, failed): &(u64, u64, u64)| {
            audit.enter(
                &read(),
                &[
                    increment(Signal::RetransmitSyn, *seen),
                    increment(Signal::SegmentsRetransmitted, *counted),
                    increment(Signal::RetransmitFailed, *failed),
                ],
            );
            audit.unseen_retransmits(&BTreeMap::new())
        };
        frames.iter().map(step).collect()
    }

    #[test]
    fn what_the_probes_see_a_tick_later_is_not_lost() {
        let frames = [(9, 0, 0), (3, 5, 0), (2, 0, 0), (0, 0, 0)];
        assert_eq!(unseen(audit(Tier::Tracepoint), &frames), [0, 0, 0, 0]);
    }

    #[test]
    fn what_no_probe_ever_sees_is_lost() {
        let frames = [(0, 0, 0), (3, 5, 0), (0, 0, 0), (4, 4, 0), (0, 1, 0), (0, 0, 0)];
        assert_eq!(unseen(audit(Tier::Tracepoint), &frames), [0, 0, 2, 0, 2, 3]);
    }

    #[test]
    fn what_another_loss_names_is_not_named_twice() {
        let mut audit = audit(Tier::Tracepoint);
        for (seen, counted) in [(0, 0), (3, 5), (0, 0)] {
            let kinds = [(Signal::RetransmitSyn, seen), (Signal::SegmentsRetransmitted, counted)];
            audit.enter(&read(), &kinds.map(|(signal, events)| increment(signal, events)));
        }
        let named = |loss: &str| audit.unseen_retransmits(&BTreeMap::from([(loss.to_owned(), 1)]));
        assert_eq!((named("recursion:test"), named("recursion:other")), (1, 2));
    }

    #[test]
    fn what_did_not_leave_the_host_is_not_lost() {
        let frames = [(0, 0, 0), (3, 5, 2), (0, 0, 0)];
        assert_eq!(unseen(audit(Tier::Tracepoint), &frames), [0, 0, 0]);
    }

    #[test]
    fn nothing_is_audited_where_nothing_is_probed() {
        let frames = [(0, 0, 0), (0, 5, 0), (0, 0, 0)];
        assert_eq!(unseen(audit(Tier::Absent), &frames), [0, 0, 0]);
    }
}

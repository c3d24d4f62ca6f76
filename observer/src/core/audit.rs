//! Holds the probes against the kernel's own counters: what the kernel counted and no probe saw is a loss, and
//! has a name.
//!
//! A kernel may skip a program without a word. Seen so far: a sandboxed one that runs no tracing program in an
//! interrupt over the machine's first process; and 5.10, where one of 214 runs of a kprobe and its kretprobe was missing. A
//! kernel skips a kprobe's program while another one, or a read of a map, is under way on the CPU (`trace_call_bpf`,
//! kernel/trace/bpf_trace.c), and the kprobe itself while another one is.
//!
//! Kernel: `__tcp_retransmit_skb` and `tcp_rtx_synack` (net/ipv4/tcp_output.c) count a segment in RetransSegs and
//! then tell the tracepoints of it, unless it did not leave the host (TCPRetransFail). `nf_conntrack_in`
//! (net/netfilter/nf_conntrack_core.c) counts a packet for which `early_drop` found no room in `drop`, and so does
//! `nf_ct_resolve_clash` of packets that no full table is to blame for.

use std::collections::{BTreeMap, BTreeSet};

use observer_common::Signal;

use super::{
    frame::{Frame, SignalCoverage, SignalSample},
    ledger::Increment,
};

/// What is counted twice, by probes and by the kernel.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// The loss under which the difference is named.
    loss: &'static str,
    /// What the probes tell it apart into.
    seen: &'static [Signal],
    /// The kernel's counter of all of them,
    counted: Signal,
    /// and of those that it does not tell the probes of.
    untold: Option<Signal>,
    /// Whether the kernel counts others there as well: then it is held against the probes only while they see some.
    and_others: bool,
}

const HELD: [Held; 2] = [
    Held {
        loss: "unseen:retransmits",
        seen: Signal::SENT_AGAIN,
        counted: Signal::SegmentsRetransmitted,
        untold: Some(Signal::RetransmitFailed),
        and_others: false,
    },
    Held {
        loss: "unseen:conntrack_drop",
        seen: &[Signal::ConntrackDrop],
        counted: Signal::ConntrackDrop,
        untold: None,
        and_others: true,
    },
];

/// What is held against each other.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    books: Vec<Books>,
}

/// The accounts of what is counted twice.
#[derive(Clone, Debug)]
struct Books {
    held: &'static Held,
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
    /// By the kernel's counter.
    counted: u64,
    /// Of them, those that the probes are not told of.
    untold: u64,
    /// Seen by the probes.
    seen: u64,
    /// The frame in which they saw some last.
    seen_ns: Option<u64>,
}

/// The kernel's counter is read so long after the probes saw something, at most.
const TOGETHER_NS: u64 = 1_000_000_000;

impl Account {
    fn is_seen(&self, at_ns: u64) -> bool {
        self.seen_ns.is_some_and(|seen_ns| at_ns.saturating_sub(seen_ns) <= TOGETHER_NS)
    }

    fn unseen(&self) -> u64 {
        self.counted.saturating_sub(self.untold).saturating_sub(self.seen)
    }
}

impl Audit {
    /// An audit of a run, of what the probes see all of.
    pub fn new(coverage: &[SignalCoverage]) -> Self {
        Self { books: HELD.iter().filter_map(|held| Books::of(held, coverage)).collect() }
    }

    /// Enters a frame. Probes are read before counters: what the counters said in the frame before, the
    /// probes must have seen by this one.
    pub fn enter(&mut self, frame: &Frame, increments: &[Increment]) {
        self.books.iter_mut().for_each(|books| books.enter(frame, increments));
    }

    /// Another run begins.
    pub fn start_anew(&mut self) {
        self.books.iter_mut().for_each(|books| books.unseen_before = books.unseen);
    }

    /// What no probe saw and no other of the `losses` names, as far as is certain by now: what both sides count while they
    /// are read hides some, until it is quiet.
    pub fn losses(&self, losses: &BTreeMap<String, u64>) -> impl Iterator<Item = (&'static str, u64)> {
        let unseen = |books: &Books| (books.held.loss, books.unseen_beside(losses));
        self.books.iter().map(unseen).filter(|(_, unseen)| *unseen > 0)
    }
}

impl Books {
    fn of(held: &'static Held, coverage: &[SignalCoverage]) -> Option<Self> {
        let probed = |kind: &Signal| coverage.iter().any(|had| had.signal == *kind && had.tier.is_probe());
        let hooks = coverage.iter().filter(|had| held.seen.contains(&had.signal));
        let hooks = hooks.flat_map(|had| had.source.split(", "));
        held.seen.iter().all(probed).then(|| Self {
            held,
            skipped: hooks.map(|hook| format!("recursion:{hook}")).collect(),
            by_namespace: BTreeMap::new(),
            unseen: 0,
            unseen_before: 0,
        })
    }

    fn enter(&mut self, frame: &Frame, increments: &[Increment]) {
        let held = self.held;
        self.add(increments, |account, increment| {
            if increment.tier.is_probe() && held.seen.contains(&increment.signal) {
                account.seen += increment.events;
                account.seen_ns = Some(frame.mono_ns);
            } else if held.untold == Some(increment.signal) {
                account.untold += increment.events;
            }
        });
        self.unseen = self.by_namespace.values().map(Account::unseen).sum();
        self.add(increments, |account, increment| {
            let is_of_these = account.is_seen(frame.mono_ns) || !held.and_others;
            if is_of_these && increment.signal == held.counted && !increment.tier.is_probe() {
                account.counted += increment.events;
            }
        });
        self.open_accounts(frame);
    }

    fn unseen_beside(&self, losses: &BTreeMap<String, u64>) -> u64 {
        let skipped: u64 = self.skipped.iter().filter_map(|loss| losses.get(loss)).sum();
        self.unseen.saturating_sub(self.unseen_before).saturating_sub(skipped)
    }

    fn add(&mut self, increments: &[Increment], enter: impl Fn(&mut Account, &Increment)) {
        let held = self.held;
        let of_these =
            |signal| held.seen.contains(&signal) || held.counted == signal || held.untold == Some(signal);
        for increment in increments.iter().filter(|increment| of_these(increment.signal)) {
            if let Some(netns) = increment.subject.netns {
                enter(self.by_namespace.entry(netns).or_default(), increment);
            }
        }
    }

    /// The first read of a counter is its origin: what the probes had seen by then does not count either.
    fn open_accounts(&mut self, frame: &Frame) {
        let counted = |sample: &&SignalSample| sample.signal == self.held.counted && !sample.tier.is_probe();
        for netns in frame.signals.iter().filter(counted).filter_map(|sample| sample.subject.netns) {
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
    use crate::core::{frame::Tier, ledger::Bracket, subject::Subject};

    const NETNS: u32 = 7;

    fn audit(tier: Tier) -> Audit {
        let had = |signal: &Signal| SignalCoverage {
            signal: *signal,
            tier,
            source: "test".into(),
            why_degraded: None,
        };
        let coverage: Vec<_> = HELD.iter().flat_map(|held| held.seen).map(had).collect();
        Audit::new(&coverage)
    }

    /// What is named of the retransmissions.
    fn unseen_retransmits(audit: &Audit, losses: &BTreeMap<String, u64>) -> u64 {
        audit.losses(losses).find(|(loss, _)| *loss == "unseen:retransmits").map_or(0, |(_, unseen)| unseen)
    }

    fn increment(signal: Signal, events: u64) -> Increment {
        let tier = if HELD[0].seen.contains(&signal) { Tier::Tracepoint } else { Tier::Counter };
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
        read_of(Signal::SegmentsRetransmitted)
    }

    fn read_of(signal: Signal) -> Frame {
        let sample = SignalSample {
            signal,
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
            unseen_retransmits(&audit, &BTreeMap::new())
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
        let named = |loss: &str| unseen_retransmits(&audit, &BTreeMap::from([(loss.to_owned(), 1)]));
        assert_eq!((named("recursion:test"), named("recursion:other")), (1, 2));
    }

    #[test]
    fn what_did_not_leave_the_host_is_not_lost() {
        let frames = [(0, 0, 0), (3, 5, 2), (0, 0, 0)];
        assert_eq!(unseen(audit(Tier::Tracepoint), &frames), [0, 0, 0]);
    }

    #[test]
    fn what_a_table_dropped_is_missed_only_where_it_is_seen_to_be_full() {
        let of = |tier, events| Increment { tier, ..increment(Signal::ConntrackDrop, events) };
        let unseen = |frames: &[(u64, u64)]| {
            let mut audit = audit(Tier::Kprobe);
            audit.enter(&read_of(Signal::ConntrackDrop), &[]);
            for (seen, counted) in frames {
                let both = [of(Tier::Kprobe, *seen), of(Tier::Counter, *counted)];
                let told = both.into_iter().filter(|increment| increment.events > 0);
                audit.enter(&read_of(Signal::ConntrackDrop), &told.collect::<Vec<_>>());
            }
            audit.losses(&BTreeMap::new()).collect::<Vec<_>>()
        };
        assert_eq!(unseen(&[(213, 214), (0, 0)]), [("unseen:conntrack_drop", 1)]);
        assert_eq!(unseen(&[(214, 214), (0, 0)]), []);
        assert_eq!(unseen(&[(0, 3), (0, 0)]), [], "two packets of a new connection met");
        assert_eq!(unseen(&[(0, 3), (5, 5), (0, 0)]), [], "and did so long before");
    }

    #[test]
    fn nothing_is_audited_where_nothing_is_probed() {
        let frames = [(0, 0, 0), (0, 5, 0), (0, 0, 0)];
        assert_eq!(unseen(audit(Tier::Absent), &frames), [0, 0, 0]);
    }
}

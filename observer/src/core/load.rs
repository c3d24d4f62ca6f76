//! The load as the kernel sees it: connections opened, accepted and closed, in bins of 100 ms.

use std::collections::BTreeMap;

use observer_common::Signal;

use super::{
    chain::{Rates, Throttling},
    frame::{Frame, Resource, SignalSample, Tier},
    ledger::{Bracket, Increment, Ledger, identity},
    scope::Scope,
    subject::Subject,
    verdict::Load,
};

/// Length of a bin.
pub const BIN_NS: u64 = 100_000_000;

const SECOND_NS: u64 = 1_000_000_000;

/// Who did it: a process of the observed command's tree or not, seen by a probe or a counter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stream {
    signal: Signal,
    subject: Subject,
    generator: bool,
    probed: bool,
}

/// What a stream counted, per bin, and in all of them.
#[derive(Debug, Default)]
struct Counted {
    bins: BTreeMap<u64, u64>,
    total: u64,
}

/// The history of the load.
#[derive(Debug, Default)]
pub struct LoadHistory {
    streams: BTreeMap<Stream, Counted>,
    /// Depth of each accept queue as (read, connections), on change.
    depths: BTreeMap<Subject, Vec<(u64, u64)>>,
    /// Established connections per namespace, on change.
    established: BTreeMap<Subject, BTreeMap<u64, u64>>,
    /// The latest frame.
    last_ns: u64,
}

impl LoadHistory {
    /// Takes over from the first frame what was counted before it: connections that are open when a recording
    /// begins stay open in it.
    pub fn take_over(&mut self, frame: &Frame, ledger: &Ledger) {
        let counted_before = |sample: &&SignalSample| sample.tier.is_probe() && sample.is_origin();
        for sample in frame.signals.iter().filter(counted_before).filter(|sample| is_load(sample.signal)) {
            let stream = Stream {
                signal: sample.signal,
                subject: ledger.place_of(sample),
                generator: sample.generator,
                probed: true,
            };
            let total = &mut self.streams.entry(stream).or_default().total;
            *total = total.saturating_add(sample.count);
        }
    }

    /// Enters what happened in a tick.
    pub fn enter(&mut self, frame: &Frame, increments: &[Increment]) {
        self.last_ns = frame.mono_ns;
        for increment in increments.iter().filter(|increment| is_load(increment.signal)) {
            let stream = Stream {
                signal: increment.signal,
                subject: increment.subject.clone(),
                generator: increment.generator,
                probed: increment.tier != Tier::Counter,
            };
            self.streams.entry(stream).or_default().enter(increment);
        }
        for usage in &frame.usages {
            match usage.resource {
                Resource::AcceptQueue => {
                    self.depths
                        .entry(identity(&usage.subject))
                        .or_default()
                        .push((usage.read_ns, usage.used));
                }
                Resource::Connections => {
                    let history = self.established.entry(usage.subject.clone()).or_default();
                    history.insert(usage.read_ns / BIN_NS, usage.used);
                }
                _ => {}
            }
        }
    }

    /// Forgets the course before an instant; what is open stays known.
    pub fn forget_before(&mut self, at_ns: u64) {
        let bin = at_ns / BIN_NS;
        for counted in self.streams.values_mut() {
            counted.bins = counted.bins.split_off(&bin);
        }
        for history in self.depths.values_mut() {
            // The latest read before it still holds.
            let kept = history.partition_point(|(read_ns, _)| *read_ns <= at_ns).saturating_sub(1);
            history.drain(..kept);
        }
        for history in self.established.values_mut() {
            let latest = history.range(..=bin).next_back().map(|(bin, _)| *bin);
            *history = history.split_off(&latest.unwrap_or(bin));
        }
    }

    /// The load in scope between two instants, cut into equal steps: whole bins, so that nothing counts
    /// in two of them. The first step contains `from_ns`, the last contains `to_ns` or ends there.
    pub fn in_scope(&self, scope: &Scope, from_ns: u64, to_ns: u64, step_ns: u64) -> Vec<Level> {
        let from_ns = from_ns / BIN_NS * BIN_NS;
        let steps = to_ns.saturating_sub(from_ns).div_ceil(step_ns).max(1);
        let within = (from_ns, from_ns + steps * step_ns);
        let cut = |counted: &Counted| by_step(&counted.bins, from_ns, step_ns, steps as usize);
        let arrivals = self.arrivals(scope, within).as_ref().map(cut);
        let (opened, closed) = self.open_and_close(scope, within);
        let mut open = opened.as_ref().map(|opened| opened.total);
        let mut gone = closed.total;
        let (opened, closed) = (opened.as_ref().map(cut), cut(&closed));
        (0..steps as usize)
            .map(|step| {
                let start_ns = from_ns + step as u64 * step_ns;
                let connections = arrivals.as_ref().map(|counts| counts[step]);
                gone = gone.saturating_add(closed[step]);
                let concurrency = match (&opened, &mut open) {
                    (Some(opened), Some(open)) => {
                        *open = open.saturating_add(opened[step]);
                        Some(open.saturating_sub(gone) as f64)
                    }
                    _ => self.established_at(start_ns + step_ns).map(|count| count as f64),
                };
                Level { start_ns, connections, concurrency }
            })
            .collect()
    }

    /// The mean load in scope over an interval.
    pub fn mean(&self, scope: &Scope, from_ns: u64, to_ns: u64) -> Load {
        let to_ns = to_ns.max(from_ns + BIN_NS);
        let seconds = (to_ns - from_ns) as f64 / SECOND_NS as f64;
        let arrived = self.arrivals(scope, (from_ns, to_ns)).map(|counted| share(&counted, from_ns, to_ns));
        let levels = self.in_scope(scope, to_ns - 1, to_ns, BIN_NS);
        Load {
            connections_per_s: arrived.map(|count| round(count / seconds)),
            concurrency: levels.first().and_then(|level| level.concurrency),
            ..Load::default()
        }
    }

    /// Arrivals per bin: what the observed command tried to open, else what the targets accepted,
    /// else the namespaces' own counters.
    fn arrivals(&self, scope: &Scope, within: (u64, u64)) -> Option<Counted> {
        let sum = |wanted: &dyn Fn(&Stream) -> bool| self.sum(within, wanted);
        let by_generator = sum(&|s| s.signal == Signal::ConnectAttempt && s.generator);
        let by_target =
            || sum(&|s| s.signal == Signal::ConnectionAccepted && s.probed && in_scope(scope, &s.subject));
        let by_counter = || sum(&|s| s.signal == Signal::ConnectionAccepted && !s.probed);
        by_generator.or_else(by_target).or_else(by_counter)
    }

    /// Connections opened and closed: at the targets, else by anyone.
    fn open_and_close(&self, scope: &Scope, within: (u64, u64)) -> (Option<Counted>, Counted) {
        let at = |signal: Signal| {
            self.sum(within, |s| s.signal == signal && s.probed && in_scope(scope, &s.subject))
        };
        let accepted = at(Signal::ConnectionAccepted);
        if accepted.is_some() {
            return (accepted, at(Signal::AcceptedClosed).unwrap_or_default());
        }
        let any = |signal: Signal| self.sum(within, |s| s.signal == signal && s.probed);
        (any(Signal::ConnectionOpened), any(Signal::OpenedClosed).unwrap_or_default())
    }

    /// The bins of all these streams between two instants; the total is of what came before them.
    fn sum(&self, (from_ns, to_ns): (u64, u64), wanted: impl Fn(&Stream) -> bool) -> Option<Counted> {
        let (from, to) = (from_ns / BIN_NS, to_ns.div_ceil(BIN_NS));
        let mut sum: Option<Counted> = None;
        for (_, counted) in self.streams.iter().filter(|(stream, _)| wanted(stream)) {
            let sum = sum.get_or_insert_default();
            let since: u64 = counted.bins.range(from..).map(|(_, count)| count).sum();
            sum.total = sum.total.saturating_add(counted.total - since);
            for (bin, count) in counted.bins.range(from..to) {
                *sum.bins.entry(*bin).or_default() += count;
            }
        }
        sum
    }

    fn established_at(&self, at_ns: u64) -> Option<u64> {
        let latest = |history: &BTreeMap<u64, u64>| {
            history.range(..=at_ns / BIN_NS).next_back().map(|(_, count)| *count)
        };
        self.established.values().filter_map(latest).reduce(|a, b| a + b)
    }

    /// Connections appended to a listener's queue in an interval: its own, else its namespace's.
    fn enqueued(&self, listener: &Subject, from_ns: u64, to_ns: u64) -> Option<f64> {
        let of = |subject: Subject| {
            self.sum((from_ns, to_ns), |s| s.signal == Signal::ConnectionAccepted && s.subject == subject)
                .map(|counted| share(&counted, from_ns, to_ns))
        };
        of(listener.clone()).or_else(|| of(Subject::namespace(listener.netns?)))
    }

    fn depth_at(&self, listener: &Subject, at_ns: u64) -> u64 {
        let Some(history) = self.depths.get(listener) else { return 0 };
        let next = history.partition_point(|(read, _)| *read <= at_ns);
        next.checked_sub(1).and_then(|index| history.get(index)).map_or(0, |(_, depth)| *depth)
    }

    /// Connections taken from a listener's queue per second: what was appended, less what it grew by.
    pub fn accepted_per_s(&self, listener: &Subject, from_ns: u64, to_ns: u64) -> Option<f64> {
        let to_ns = to_ns.max(from_ns + BIN_NS);
        let enqueued = self.enqueued(listener, from_ns, to_ns)?;
        let grown = self.depth_at(listener, to_ns) as f64 - self.depth_at(listener, from_ns) as f64;
        Some(((enqueued - grown) / ((to_ns - from_ns) as f64 / SECOND_NS as f64)).max(0.0))
    }

    /// SYNs that arrived at a listener per second; without a probe, what was accepted and dropped.
    pub fn arrived_per_s(&self, listener: &Subject, from_ns: u64, to_ns: u64) -> Option<f64> {
        let to_ns = to_ns.max(from_ns + BIN_NS);
        let of = |signal: Signal| {
            self.sum((from_ns, to_ns), |s| s.signal == signal && s.subject == *listener)
                .map(|counted| share(&counted, from_ns, to_ns))
        };
        let count = match of(Signal::SynArrival) {
            Some(count) => count,
            None => self.enqueued(listener, from_ns, to_ns)? + of(Signal::ListenDrop).unwrap_or(0.0),
        };
        Some(count / ((to_ns - from_ns) as f64 / SECOND_NS as f64))
    }
}

/// How long a service must not have accepted to be called stalled: several reads of its queue.
const STALL_NS: u64 = 300_000_000;

impl Rates for LoadHistory {
    fn accepted_around(&self, listener: &Subject, cause: Bracket, effect: Bracket) -> Option<(f64, f64)> {
        let half_a_second = SECOND_NS / 2;
        let before_from = cause.lo_ns.saturating_sub(2 * SECOND_NS);
        let before = self.rates(listener, before_from, cause.lo_ns, half_a_second).reduce(f64::max)?;
        // What counts is whether it had stalled when the effect began, not at any time in between.
        let after_from = effect.lo_ns.saturating_sub(STALL_NS).max(cause.lo_ns);
        let after_to = effect.hi_ns.min(self.last_ns.saturating_sub(STALL_NS)).max(after_from);
        let after = self.rates(listener, after_from, after_to, STALL_NS).reduce(f64::min)?;
        Some((before, after))
    }

    fn throttling(&self, cgroup: &Subject, from_ns: u64, to_ns: u64) -> Option<Throttling> {
        let of = |signal: Signal, probed: bool| {
            self.sum((from_ns, to_ns), |s| s.signal == signal && s.subject == *cgroup && s.probed == probed)
                .map(|counted| counted.bins.values().sum::<u64>() as f64)
        };
        let best = |signal| of(signal, true).or_else(|| of(signal, false));
        let periods = best(Signal::CpuPeriods).filter(|periods| *periods > 0.0)?;
        let seconds = (to_ns.min(self.last_ns).saturating_sub(from_ns)) as f64 / SECOND_NS as f64;
        Some(Throttling {
            periods_ratio: best(Signal::CpuThrottledPeriods).unwrap_or(0.0) / periods,
            stopped_ratio: best(Signal::CpuThrottledTime)
                .filter(|_| seconds > 0.0)
                .map(|stopped_us| stopped_us / 1e6 / seconds),
        })
    }

    fn arrived_per_s(&self, listener: &Subject, from_ns: u64, to_ns: u64) -> Option<f64> {
        LoadHistory::arrived_per_s(self, listener, from_ns, to_ns)
    }
}

impl LoadHistory {
    /// The accept rate in windows of this length that begin in an interval.
    fn rates(
        &self,
        listener: &Subject,
        from_ns: u64,
        to_ns: u64,
        window_ns: u64,
    ) -> impl Iterator<Item = f64> {
        let starts = (from_ns..=to_ns).step_by(BIN_NS as usize);
        starts.filter_map(move |start| self.accepted_per_s(listener, start, start + window_ns))
    }
}

/// The load in one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// CLOCK_MONOTONIC at its beginning.
    pub start_ns: u64,
    /// Connections that arrived in it.
    pub connections: Option<u64>,
    /// Connections open at its end.
    pub concurrency: Option<f64>,
}

fn is_load(signal: Signal) -> bool {
    matches!(
        signal,
        Signal::SynArrival
            | Signal::ConnectAttempt
            | Signal::ConnectionOpened
            | Signal::OpenedClosed
            | Signal::ConnectionAccepted
            | Signal::AcceptedClosed
            | Signal::ListenDrop
            | Signal::CpuPeriods
            | Signal::CpuThrottledPeriods
            | Signal::CpuThrottledTime
    )
}

fn in_scope(scope: &Scope, subject: &Subject) -> bool {
    matches!((subject.netns, subject.listener), (Some(netns), Some(at)) if scope.is_target(netns, at))
}

/// Counts in steps of whole bins that begin at `from_ns`.
fn by_step(bins: &BTreeMap<u64, u64>, from_ns: u64, step_ns: u64, steps: usize) -> Vec<u64> {
    let (first, width) = (from_ns / BIN_NS, step_ns / BIN_NS);
    let mut counts = vec![0; steps];
    for (bin, count) in bins.range(first..first + width * steps as u64) {
        counts[((bin - first) / width) as usize] += count;
    }
    counts
}

/// Counts between two instants, of the bins at either end as much as lies within.
fn share(counted: &Counted, from_ns: u64, to_ns: u64) -> f64 {
    let within =
        |bin: u64| (to_ns.min((bin + 1) * BIN_NS) - from_ns.max(bin * BIN_NS)) as f64 / BIN_NS as f64;
    let counts = counted.bins.range(from_ns / BIN_NS..to_ns.div_ceil(BIN_NS));
    counts.map(|(bin, count)| *count as f64 * within(*bin)).sum()
}

/// Time between two reads from which on what happened in between is spread over it.
const SELDOM_NS: u64 = 2 * BIN_NS;
/// Bins that it is spread over, at most.
const SPREAD_BINS: u64 = 100;

impl Counted {
    /// Enters what happened between two reads: in the bin of its last occurrence, or evenly where the reads
    /// are seldom. A counter that is read once a second did not move at the instant of the read.
    fn enter(&mut self, increment: &Increment) {
        let last = increment.last_ns / BIN_NS;
        let seldom = increment.last_ns.saturating_sub(increment.first.lo_ns) > SELDOM_NS;
        let first = (increment.first.lo_ns / BIN_NS + 1).max(last.saturating_sub(SPREAD_BINS));
        let first = if seldom { first } else { last };
        let width = u128::from(last - first + 1);
        let until = |bin: u64| (u128::from(increment.events) * u128::from(bin - first) / width) as u64;
        for bin in first..=last {
            let events = until(bin + 1) - until(bin);
            if events > 0 {
                *self.bins.entry(bin).or_default() += events;
            }
        }
        self.total = self.total.saturating_add(increment.events);
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

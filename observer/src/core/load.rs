//! The load as the kernel sees it: connections opened, accepted and closed, in bins of 100 ms.

mod bins;
mod readings;

use std::collections::BTreeMap;

use observer_common::Signal;

use self::{bins::Bins, readings::Readings};
use super::{
    chain::{Rates, Throttling},
    frame::{Frame, Resource, SignalSample, Tier},
    ledger::{Bracket, Increment, Ledger},
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

impl Stream {
    /// The stream of all subjects that this one is part of.
    fn everywhere(&self) -> Self {
        Self { subject: Subject::HOST, ..self.clone() }
    }

    /// Of a stream of connections that ended, the one of those that began.
    fn beginnings(&self) -> Option<Self> {
        let signal = match self.signal {
            Signal::AcceptedClosed => Signal::ConnectionAccepted,
            Signal::OpenedClosed => Signal::ConnectionOpened,
            _ => return None,
        };
        Some(Self { signal, ..self.clone() })
    }
}

/// A stream of connections that ended, and how many have ended in it and in the one of all subjects.
#[derive(Debug)]
struct Ended {
    stream: Stream,
    total: u64,
    everywhere: u64,
}

/// As many more may have ended than begun, and a 64th of those that began, because the two are not read in one instant.
const OUT_OF_STEP: u64 = 8;

/// So many bins are kept of all streams together: with twenty, the latest four minutes of a long episode are known to
/// 100 ms, and what is longer ago ever more coarsely. Each has its share of them. With the readings they are the part
/// of the memory that grows during a test, by some 6 MB.
const KEPT_BINS: usize = 100_000;
/// So many readings are kept of all gauges together.
const KEPT_READINGS: usize = 50_000;
/// Each stream and gauge may keep this at least.
const KEPT_OF_EACH: usize = 32;
/// So much around an onset stays exact: what is looked at to find out what led to it.
const AROUND_NS: u64 = 5 * SECOND_NS;

/// The history of the load.
#[derive(Debug, Default)]
pub struct LoadHistory {
    streams: BTreeMap<Stream, Bins>,
    /// The same at all subjects together: what is asked for each hit must not depend on how many there are.
    everywhere: BTreeMap<Stream, Bins>,
    /// Connections in each accept queue, by CLOCK_MONOTONIC.
    depths: BTreeMap<Subject, Readings>,
    /// Established connections per namespace, by bin.
    established: BTreeMap<Subject, Readings>,
    /// Streams of connections that ended in the latest frame.
    ended: Vec<Ended>,
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
            self.everywhere.entry(stream.everywhere()).or_default().take_over(sample.count);
            self.streams.entry(stream).or_default().take_over(sample.count);
        }
    }

    /// Enters what happened in a tick.
    pub fn enter(&mut self, frame: &Frame, increments: &[Increment]) {
        self.last_ns = frame.mono_ns;
        let ended = std::mem::take(&mut self.ended);
        for increment in increments.iter().filter(|increment| is_load(increment.signal)) {
            let stream = Stream {
                signal: increment.signal,
                subject: increment.subject.clone(),
                generator: increment.generator,
                probed: increment.tier != Tier::Counter,
            };
            let all = self.everywhere.entry(stream.everywhere()).or_default();
            all.enter(increment);
            let bins = self.streams.entry(stream.clone()).or_default();
            bins.enter(increment);
            if stream.beginnings().is_some() {
                self.ended.push(Ended { stream, total: bins.total(), everywhere: all.total() });
            }
        }
        ended.iter().for_each(|ended| self.take_over_unseen(ended));
        for usage in &frame.usages {
            match usage.resource {
                Resource::AcceptQueue => {
                    let depths = self.depths.entry(usage.subject.without_cgroup()).or_default();
                    depths.enter(usage.read_ns, usage.used);
                }
                Resource::Connections => {
                    let established = self.established.entry(usage.subject.clone()).or_default();
                    established.enter(usage.read_ns / BIN_NS, usage.used);
                }
                _ => {}
            }
        }
    }

    /// Where more connections have ended than begun, the others were open before anybody counted. What began is read
    /// after what had ended by the frame before.
    fn take_over_unseen(&mut self, ended: &Ended) {
        let Some(begun) = ended.stream.beginnings() else { return };
        let all = self.everywhere.entry(begun.everywhere()).or_default();
        let unseen_of_all = ended.everywhere.saturating_sub(all.total());
        let bins = self.streams.entry(begun).or_default();
        let unseen = ended.total.saturating_sub(bins.total());
        if unseen > OUT_OF_STEP + bins.total() / 64 {
            bins.take_over(unseen);
            // Some may have begun at another place, before their listener was known.
            all.take_over(unseen.min(unseen_of_all));
        }
    }

    /// Forgets the course before an instant; what is open stays known.
    pub fn forget_before(&mut self, at_ns: u64) {
        let bin = at_ns / BIN_NS;
        let streams = self.streams.values_mut().chain(self.everywhere.values_mut());
        streams.for_each(|bins| bins.forget_before(bin));
        self.depths.values_mut().for_each(|depths| depths.forget_before(at_ns));
        self.established.values_mut().for_each(|counts| counts.forget_before(bin));
    }

    /// Makes what is long ago coarser where it grows too long, except around the onsets.
    pub fn thin(&mut self, onsets: &[Bracket]) {
        let share = |kept: usize, of: usize| (kept / of.max(1)).max(KEPT_OF_EACH);
        let around = |from_ns: u64, to_ns: u64| {
            let mut near = onsets.iter();
            near.any(|at| at.lo_ns <= to_ns + AROUND_NS && from_ns <= at.hi_ns.saturating_add(AROUND_NS))
        };
        let around_bin = |bin: u64| around(bin * BIN_NS, (bin + 1) * BIN_NS);
        let (bins, readings) = (
            share(KEPT_BINS, self.streams.len() + self.everywhere.len()),
            share(KEPT_READINGS, self.depths.len() + self.established.len()),
        );
        let streams = self.streams.values_mut().chain(self.everywhere.values_mut());
        streams.for_each(|stream| stream.thin(bins, around_bin));
        self.depths.values_mut().for_each(|depths| depths.thin(readings, |at_ns| around(at_ns, at_ns)));
        self.established.values_mut().for_each(|counts| counts.thin(readings, around_bin));
    }

    /// The load in scope between two instants, cut into equal steps: whole bins, so that nothing counts
    /// in two of them. The first step contains `from_ns`, the last contains `to_ns` or ends there.
    pub fn in_scope(&self, scope: &Scope, from_ns: u64, to_ns: u64, step_ns: u64) -> Vec<Level> {
        let from = from_ns / BIN_NS;
        let from_ns = from * BIN_NS;
        let steps = to_ns.saturating_sub(from_ns).div_ceil(step_ns).max(1) as usize;
        let cut = |flow: &Flow| flow.by_step(from, step_ns / BIN_NS, steps);
        let arrivals = self.arrivals(scope).as_ref().map(cut);
        let (opened, closed) = self.open_and_close(scope);
        let mut open = opened.as_ref().map(|opened| opened.before(from));
        let mut gone = closed.before(from);
        let (opened, closed) = (opened.as_ref().map(cut), cut(&closed));
        (0..steps)
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
        let arrived = self.arrivals(scope).map(|flow| flow.share(from_ns, to_ns));
        let levels = self.in_scope(scope, to_ns - 1, to_ns, BIN_NS);
        Load {
            connections_per_s: arrived.map(|count| round(count / seconds)),
            concurrency: levels.first().and_then(|level| level.concurrency),
            ..Load::default()
        }
    }

    /// Arrivals: what the observed command tried to open, else what the targets accepted, else the
    /// namespaces' own counters.
    fn arrivals(&self, scope: &Scope) -> Option<Flow<'_>> {
        let accepted = Signal::ConnectionAccepted;
        let by_generator = self.flow_everywhere(Signal::ConnectAttempt, |s| s.generator);
        let by_target = || self.flow_at_targets(accepted, scope);
        let by_counter = || self.flow_everywhere(accepted, |s| !s.probed);
        by_generator.or_else(by_target).or_else(by_counter)
    }

    /// Connections opened and closed: at the targets, else by anyone.
    fn open_and_close(&self, scope: &Scope) -> (Option<Flow<'_>>, Flow<'_>) {
        let at = |signal| self.flow_at_targets(signal, scope);
        let accepted = at(Signal::ConnectionAccepted);
        if accepted.is_some() {
            return (accepted, at(Signal::AcceptedClosed).unwrap_or_default());
        }
        let any = |signal| self.flow_everywhere(signal, |s| s.probed);
        (any(Signal::ConnectionOpened), any(Signal::OpenedClosed).unwrap_or_default())
    }

    /// A signal at all subjects together; `None` where it was never counted.
    fn flow_everywhere(&self, signal: Signal, wanted: impl Fn(&Stream) -> bool) -> Option<Flow<'_>> {
        Flow::of(&self.everywhere, signal, &Subject::HOST, wanted)
    }

    /// A signal as the probes count it at the listeners under test.
    fn flow_at_targets(&self, signal: Signal, scope: &Scope) -> Option<Flow<'_>> {
        let Some(targets) = scope.targets() else { return self.flow_everywhere(signal, |s| s.probed) };
        let listeners = targets.iter().map(|(netns, at)| Subject::listener(*netns, *at));
        let flows = listeners.filter_map(|at| Flow::of(&self.streams, signal, &at, |s| s.probed));
        flows.reduce(|all, flow| Flow([all.0, flow.0].concat()))
    }

    /// A signal at one subject.
    fn flow_at(
        &self,
        signal: Signal,
        subject: &Subject,
        wanted: impl Fn(&Stream) -> bool,
    ) -> Option<Flow<'_>> {
        Flow::of(&self.streams, signal, subject, wanted)
    }

    fn established_at(&self, at_ns: u64) -> Option<u64> {
        let latest = self.established.values().filter_map(|counts| counts.at(at_ns / BIN_NS));
        latest.reduce(|a, b| a + b)
    }

    /// Connections appended to a listener's queue in an interval: its own, else its namespace's.
    fn enqueued(&self, listener: &Subject, from_ns: u64, to_ns: u64) -> Option<f64> {
        let of = |subject: Subject| {
            let flow = self.flow_at(Signal::ConnectionAccepted, &subject, |_| true);
            flow.map(|flow| flow.share(from_ns, to_ns))
        };
        of(listener.clone()).or_else(|| of(Subject::namespace(listener.netns?)))
    }

    fn depth_at(&self, listener: &Subject, at_ns: u64) -> u64 {
        self.depths.get(listener).and_then(|depths| depths.at(at_ns)).unwrap_or(0)
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
        let of =
            |signal: Signal| self.flow_at(signal, listener, |_| true).map(|flow| flow.share(from_ns, to_ns));
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
            self.flow_at(signal, cgroup, |s| s.probed == probed)
                .map(|flow| flow.between(from_ns / BIN_NS, to_ns.div_ceil(BIN_NS)) as f64)
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

/// Several streams together.
#[derive(Debug, Default)]
struct Flow<'a>(Vec<&'a Bins>);

impl<'a> Flow<'a> {
    /// Those streams of a signal at a subject that are wanted; `None` when there is none.
    fn of(
        streams: &'a BTreeMap<Stream, Bins>,
        signal: Signal,
        subject: &Subject,
        wanted: impl Fn(&Stream) -> bool,
    ) -> Option<Self> {
        let first = Stream { signal, subject: subject.clone(), generator: false, probed: false };
        let is_at = |stream: &Stream| stream.signal == signal && stream.subject == *subject;
        let there = streams.range(first..).take_while(|(stream, _)| is_at(stream));
        let flow = Self(there.filter(|(stream, _)| wanted(stream)).map(|(_, bins)| bins).collect());
        (!flow.0.is_empty()).then_some(flow)
    }

    /// What was counted before a bin.
    fn before(&self, bin: u64) -> u64 {
        self.0.iter().map(|bins| bins.before(bin)).fold(0, u64::saturating_add)
    }

    /// What was counted from one bin to another, which is not part of it.
    fn between(&self, from: u64, to: u64) -> u64 {
        self.0.iter().map(|bins| bins.between(from, to)).fold(0, u64::saturating_add)
    }

    /// Counts in steps of so many bins.
    fn by_step(&self, from: u64, width: u64, steps: usize) -> Vec<u64> {
        let mut counts = vec![0; steps];
        self.0.iter().for_each(|bins| bins.add_to_steps(from, width, &mut counts));
        counts
    }

    /// Counts between two instants, of the bins at either end as much as lies within.
    fn share(&self, from_ns: u64, to_ns: u64) -> f64 {
        let (first, last) = (from_ns / BIN_NS, to_ns.div_ceil(BIN_NS).saturating_sub(1));
        let within = |bin: u64| {
            let (begins, ends) = (from_ns.max(bin * BIN_NS), to_ns.min((bin + 1) * BIN_NS));
            self.between(bin, bin + 1) as f64 * ends.saturating_sub(begins) as f64 / BIN_NS as f64
        };
        if first >= last {
            return within(first);
        }
        within(first) + self.between(first + 1, last) as f64 + within(last)
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests;

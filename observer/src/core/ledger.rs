//! The running account of everything the frames said: cumulative counts, usages and facts.

mod entry;
mod facts;
mod place;
mod queue;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque, btree_map::Entry},
    net::SocketAddr,
};

use observer_common::Signal;

pub use self::entry::{Bracket, Cell, Increment, LogLine, Process, Series, Usage, Victim};
use self::place::is_at_listener_itself;
use super::{
    frame::{Frame, Resource, RunHeader, SignalSample, Target, UsageSample},
    lines,
    subject::{Controller, Subject},
    verdict::Limit,
};

/// How much history a usage keeps.
const RECENT: usize = 64;
/// An episode is seen to have begun at most this late.
const LATELY_NS: u64 = 2_000_000_000;
/// As much of what happened lately is kept: where there is more, the oldest of it stays the former episode's.
const LATELY: usize = 10_000;

/// The account. All maps are ordered, so that the same frames give the same bytes.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Counts per signal and subject, on the best tier that counts the signal.
    pub series: BTreeMap<(Signal, Subject), Series>,
    /// Usages per resource and subject.
    pub usages: BTreeMap<(Resource, Subject), Usage>,
    /// Processes by id.
    pub processes: BTreeMap<u32, Process>,
    /// Who holds each listener, by network namespace and address.
    pub owners: BTreeMap<(u32, SocketAddr), BTreeSet<u32>>,
    /// Cgroup of each listener and process, where a probe or sock_diag told it.
    pub cgroups: BTreeMap<Subject, u64>,
    /// Paths of cgroups.
    pub cgroup_paths: BTreeMap<(Option<Controller>, u64), String>,
    /// Cgroups of processes under a controller.
    pub process_cgroups: BTreeMap<(u32, Controller), u64>,
    /// What the kernel's log said, oldest first.
    pub log: Vec<LogLine>,
    /// What the kernel's log said of OOM kills, by victim.
    pub victims: BTreeMap<u32, Victim>,
    /// Every listener that was seen, by its own address.
    pub listeners: BTreeSet<(u32, SocketAddr)>,
    /// The listener behind each local address at which connections were accepted.
    pub accepted_at: BTreeMap<(u32, SocketAddr), SocketAddr>,
    /// Limits in force when the run began, by name and place.
    pub limits: BTreeMap<(String, String), Limit>,
    /// Those that were told later, for the next run.
    changed_limits: BTreeMap<(String, String), Limit>,
    /// Sources that could not be read the last time, and why.
    pub failing: BTreeMap<String, String>,
    /// Loss counts by reason, since the probes were loaded.
    losses: BTreeMap<String, u64>,
    /// Of them, those of earlier episodes, and those before the first frame.
    losses_before: BTreeMap<String, u64>,
    /// Whether a frame was entered already.
    begun: bool,
    /// The network namespace that observer runs in.
    pub own_netns: Option<u32>,
    /// The ports that the user says are under test.
    pub named_ports: BTreeSet<u16>,
    /// Signals that probes count: the kernel's counters of them are not entered a second time.
    probed: BTreeSet<Signal>,
    /// What each cell and counter read last.
    cells: BTreeMap<Cell, Reading>,
    /// Whether the run has begun.
    started: bool,
    /// Whether another one may follow, which is seen to have begun after it has.
    in_episodes: bool,
    /// When the load ended.
    ended_ns: Option<u64>,
    /// Until when what outlasts it still counts.
    aftermath_ns: u64,
    /// What happened lately: it may turn out to be the next episode's.
    lately: VecDeque<Late>,
    /// The same of what was used.
    used_lately: VecDeque<UsageSample>,
    /// Of listeners that no look has found yet, what told of the longest accept queue.
    unread_queues: BTreeMap<Cell, SignalSample>,
}

/// One read of a cell or counter.
#[derive(Clone, Copy, Debug)]
struct Reading {
    count: u64,
    last_ns: Option<u64>,
    peak: Option<u64>,
    limit: Option<u64>,
}

/// What happened lately.
#[derive(Clone, Debug)]
struct Late {
    sample: SignalSample,
    increment: Increment,
    /// See [`queue::is_longest`].
    is_longest: bool,
}

impl Ledger {
    /// An empty account of a run.
    pub fn new(header: &RunHeader) -> Self {
        let probed =
            header.coverage.iter().filter(|covered| covered.tier.is_probe()).map(|covered| covered.signal);
        let in_episodes = header.command.is_empty();
        let named_ports = header.targets.iter().filter_map(|target| match target {
            Target::Port(port) => Some(*port),
            _ => None,
        });
        Self {
            own_netns: header.netns,
            named_ports: named_ports.collect(),
            probed: probed.collect(),
            in_episodes,
            ..Self::default()
        }
    }

    /// The run begins: what was counted so far is the pre-roll.
    pub fn start(&mut self) {
        self.started = true;
        for usage in self.usages.values_mut() {
            usage.peak = usage.last.clone();
        }
        self.unread_queues.clear();
    }

    /// Another run began at an instant: what was counted before is none of its own, what was learnt stays.
    /// Returns what has happened since, as far as it was no part of the run before.
    pub fn start_anew(&mut self, at_ns: u64) -> Vec<Increment> {
        self.series.values_mut().for_each(Series::forget_counts);
        self.losses_before = self.losses.clone();
        self.limits.append(&mut self.changed_limits);
        self.log.clear();
        self.ended_ns = None;
        self.start();
        for sample in std::mem::take(&mut self.used_lately) {
            let place = (sample.resource, sample.subject.without_cgroup());
            if let Some(usage) = self.usages.get_mut(&place).filter(|_| sample.read_ns >= at_ns) {
                usage.raise(sample);
            }
        }
        let lately = std::mem::take(&mut self.lately);
        let since = lately.into_iter().filter(|late| late.increment.first.lo_ns >= at_ns);
        let enter = |late: Late| {
            if late.is_longest {
                self.deepen_queue(&late.sample);
            }
            self.count(&late.sample, late.increment)
        };
        since.map(enter).collect()
    }

    /// What is known to be missing from the run's counts, by reason.
    pub fn losses(&self) -> BTreeMap<String, u64> {
        let before = |reason: &str| self.losses_before.get(reason).copied().unwrap_or(0);
        let of_run = self.losses.iter().map(|(reason, count)| (reason, count.saturating_sub(before(reason))));
        of_run.filter(|(_, count)| *count > 0).map(|(reason, count)| (reason.clone(), count)).collect()
    }

    /// The load is over; what outlasts it counts until `aftermath_ns`.
    pub fn end(&mut self, at_ns: u64, aftermath_ns: u64) {
        self.ended_ns = Some(at_ns);
        self.aftermath_ns = aftermath_ns;
    }

    /// Enters a frame and returns what happened since the one before.
    pub fn enter(&mut self, frame: &Frame) -> Vec<Increment> {
        for fact in &frame.facts {
            self.learn(fact);
        }
        for status in &frame.sources {
            match &status.error {
                Some(error) => self.failing.insert(status.source.clone(), error.clone()),
                None => self.failing.remove(&status.source),
            };
        }
        for loss in &frame.losses {
            self.losses.insert(loss.reason.clone(), loss.count);
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.losses_before = self.losses.clone();
        }
        for usage in &frame.usages {
            self.enter_usage(usage);
        }
        for sample in frame.signals.iter().filter(|sample| is_at_listener_itself(sample.signal)) {
            self.listeners.extend(sample.subject.netns.zip(sample.subject.listener));
        }
        let oldest_ns = frame.mono_ns.saturating_sub(LATELY_NS);
        while self.lately.pop_front_if(|late| late.sample.read_ns < oldest_ns).is_some() {}
        while self.used_lately.pop_front_if(|sample| sample.read_ns < oldest_ns).is_some() {}
        frame.signals.iter().filter_map(|sample| self.enter_signal(sample)).collect()
    }

    /// Enters what was inferred, so that evidence shows it.
    pub fn enter_inferred(&mut self, increment: &Increment) {
        let key = (increment.signal, increment.subject.clone());
        let series = self.series.entry(key).or_insert_with(|| Series::new(increment.tier));
        series.generator |= increment.generator;
        if self.started {
            series.in_run += increment.events;
        } else {
            series.in_pre_roll += increment.events;
        }
    }

    /// The count of a signal at a subject since the run began; `None` where it was never seen.
    pub fn in_run(&self, signal: Signal, subject: &Subject) -> Option<u64> {
        self.series.get(&(signal, subject.clone())).map(|series| series.in_run)
    }

    /// What was counted of a signal, by subject.
    pub fn of_signal(&self, signal: Signal) -> impl Iterator<Item = (&Subject, &Series)> {
        let series = self.series.range((signal, Subject::HOST)..);
        series.take_while(move |((of, _), _)| *of == signal).map(|((_, at), series)| (at, series))
    }

    /// Everything counted of a signal in a network namespace, at whichever listener or destination.
    pub fn total_in(&self, signal: Signal, netns: u32) -> Option<Series> {
        let in_namespace = self.of_signal(signal).filter(|(at, _)| at.netns == Some(netns));
        in_namespace.map(|(_, series)| series.clone()).reduce(|mut total, series| {
            total.add(&series);
            total
        })
    }

    /// What each cell and counter reads: how many, and when it happened last, where a probe tells.
    pub fn readings(&self) -> impl ExactSizeIterator<Item = (&Cell, u64, Option<u64>)> {
        self.cells.iter().map(|(cell, reading)| (cell, reading.count, reading.last_ns))
    }

    /// Whether no other run can follow and claim what happens now.
    fn is_last(&self) -> bool {
        !self.in_episodes && self.ended_ns.is_none()
    }

    fn enter_usage(&mut self, sample: &UsageSample) {
        let subject = sample.subject.without_cgroup();
        if let Some(cgroup) = sample.subject.cgroup {
            self.cgroups.insert(subject.clone(), cgroup);
        }
        if sample.resource == Resource::AcceptQueue {
            self.listeners.extend(subject.netns.zip(subject.listener));
        }
        let counts = self.may_be_of_load(sample.since_ns, lines::use_outlasts_load(sample.resource));
        if !self.is_last() {
            self.used_lately.push_back(sample.clone());
            self.used_lately.drain(..self.used_lately.len().saturating_sub(LATELY));
        }
        let place = self.usages.entry((sample.resource, subject));
        let is_first = matches!(place, Entry::Vacant(_));
        let usage = place.or_insert_with(|| Usage {
            last: sample.clone(),
            peak: UsageSample { used: 0, ..sample.clone() },
            recent: VecDeque::new(),
        });
        usage.recent.push_back((sample.read_ns, sample.used));
        if usage.recent.len() > RECENT {
            usage.recent.pop_front();
        }
        if !self.started {
            usage.peak = sample.clone();
        } else if counts {
            usage.raise(sample.clone());
        }
        usage.last = sample.clone();
        if is_first && sample.resource == Resource::AcceptQueue {
            self.deepen_unread_queues();
        }
    }

    fn enter_signal(&mut self, sample: &SignalSample) -> Option<Increment> {
        let subject = self.identity_of(sample);
        // A namespace as a whole is no cgroup's.
        let of_namespace = subject == Subject::namespace(subject.netns.unwrap_or(0));
        if let Some(cgroup) = sample.subject.cgroup.filter(|_| !of_namespace) {
            self.cgroups.insert(subject.clone(), cgroup);
        }
        let before = self.advance_cell(sample);
        let is_longest = queue::is_longest(sample, &before);
        let increment = Increment {
            signal: sample.signal,
            tier: sample.tier,
            generator: sample.generator,
            events: sample.count.saturating_sub(before.count),
            first: first_event(sample, &before),
            last_ns: sample.last_ns.unwrap_or(sample.read_ns),
            subject,
        };
        if is_longest && self.may_be_of_load(increment.first.lo_ns, false) {
            self.deepen_queue(sample);
        }
        if !self.is_last() && increment.events > 0 {
            let late = Late { sample: sample.clone(), increment: increment.clone(), is_longest };
            self.lately.push_back(late);
            self.lately.drain(..self.lately.len().saturating_sub(LATELY));
        }
        let increment = self.count(sample, increment);
        (increment.events > 0).then_some(increment)
    }

    fn count(&mut self, sample: &SignalSample, increment: Increment) -> Increment {
        if !self.is_counted_twice(&increment) {
            self.enter_series(sample, &increment);
        }
        increment
    }

    /// Whether a counter counted what a probe counts at the same place.
    pub fn is_counted_twice(&self, increment: &Increment) -> bool {
        if increment.tier.is_probe() {
            return false;
        }
        let Subject { netns, listener, destination, pid, .. } = &increment.subject;
        let whole = listener.is_none() && destination.is_none() && (netns.is_some() || pid.is_none());
        whole && self.probed.contains(&increment.signal)
    }

    fn enter_series(&mut self, sample: &SignalSample, increment: &Increment) {
        let Increment { events, first, .. } = *increment;
        let ended = !self.may_be_of_load(first.lo_ns, lines::outlasts_load(sample.signal));
        let started = self.started;
        let series = self
            .series
            .entry((sample.signal, increment.subject.clone()))
            .or_insert_with(|| Series::new(sample.tier));
        series.generator |= sample.generator;
        series.pid = series.pid.or(sample.subject.pid);
        if events == 0 {
            return;
        }
        if started && !ended {
            series.in_run += events;
            if let Some(reason) = &sample.reason {
                *series.reasons.entry(reason.clone()).or_default() += events;
            }
            series.meet(sample.peak, sample.limit);
            series.last_ns = series.last_ns.max(sample.last_ns);
            let first_ns = sample.first_ns.map(|_| first.hi_ns);
            series.first_ns = [series.first_ns, first_ns].into_iter().flatten().min();
        } else if !started {
            series.in_pre_roll += events;
        }
    }

    /// Whether what happened at this instant or later may have happened before the load ended. What follows is its teardown,
    /// or the next load, and no evidence of what happened in it; except for a while what outlasts it.
    fn may_be_of_load(&self, since_ns: u64, outlasts: bool) -> bool {
        self.ended_ns.is_none_or(|ended_ns| since_ns <= if outlasts { self.aftermath_ns } else { ended_ns })
    }

    /// Follows one cell or counter, and returns what it read before. Several of them may share an
    /// identity (the addresses of one listener, the processes of one destination).
    fn advance_cell(&mut self, sample: &SignalSample) -> Reading {
        let SignalSample { count, last_ns, peak, limit, .. } = *sample;
        let now = Reading { count, last_ns, peak, limit };
        match self.cells.insert(Cell::of(sample), now) {
            Some(before) => before,
            // Probes count from zero when they are loaded, but a recording may begin later. A counter has counted
            // since the boot.
            None if sample.tier.is_probe() && !sample.is_origin() => {
                Reading { count: 0, last_ns: None, peak: None, limit: None }
            }
            None => now,
        }
    }
}

/// When the first of the occurrences between two reads happened.
fn first_event(sample: &SignalSample, before: &Reading) -> Bracket {
    match (sample.first_ns, sample.last_ns) {
        (Some(first_ns), _) if before.count == 0 => Bracket { lo_ns: first_ns, hi_ns: first_ns },
        (_, Some(last_ns)) => {
            let lo_ns = before.last_ns.unwrap_or(0).max(sample.since_ns).min(last_ns);
            Bracket { lo_ns, hi_ns: last_ns }
        }
        _ => Bracket { lo_ns: sample.since_ns, hi_ns: sample.read_ns },
    }
}

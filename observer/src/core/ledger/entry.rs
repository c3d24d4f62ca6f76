//! What the account is made of.

use std::collections::{BTreeMap, VecDeque};

use observer_common::Signal;

use crate::core::{
    frame::{LogTopic, Resource, SignalSample, Tier, UsageSample},
    subject::Subject,
};

/// An interval of CLOCK_MONOTONIC in which an instant lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bracket {
    /// Not earlier than this.
    pub lo_ns: u64,
    /// Not later than this.
    pub hi_ns: u64,
}

/// What counts by itself: a probe's cell, or a counter of the kernel's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// What it counts.
    pub signal: Signal,
    /// Where.
    pub subject: Subject,
    /// Whether it is a probe's.
    pub probe: bool,
    /// Whether it counts what the observed command's tree did.
    pub generator: bool,
    /// The kernel's reason, where it has one.
    pub reason: Option<String>,
}

impl Cell {
    /// The one that a sample was read from.
    pub fn of(sample: &SignalSample) -> Self {
        Self {
            signal: sample.signal,
            subject: sample.subject.clone(),
            probe: sample.tier.is_probe(),
            generator: sample.generator,
            reason: sample.reason.clone(),
        }
    }
}

/// What happened between two reads at one subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Increment {
    /// The signal.
    pub signal: Signal,
    /// How it was counted.
    pub tier: Tier,
    /// Where, in the ledger's own form (see [`identity`]).
    pub subject: Subject,
    /// Whether a process of the observed command's tree did it.
    pub generator: bool,
    /// Occurrences.
    pub events: u64,
    /// When the first of them happened.
    pub first: Bracket,
    /// When the last of them happened, at the latest.
    pub last_ns: u64,
}

/// Everything known about one signal at one subject.
#[derive(Clone, Debug)]
pub struct Series {
    /// How it is counted.
    pub tier: Tier,
    /// Whether a process of the observed command's tree did it.
    pub generator: bool,
    /// A process that did it, where the hook knows.
    pub pid: Option<u32>,
    /// Occurrences before the run began.
    pub in_pre_roll: u64,
    /// Occurrences since the run began.
    pub in_run: u64,
    /// First occurrence since the run began; probes only.
    pub first_ns: Option<u64>,
    /// Last occurrence since the run began; probes only.
    pub last_ns: Option<u64>,
    /// Highest use of the resource at an occurrence, since the limit is in force.
    pub peak: Option<u64>,
    /// The limit in force at the latest occurrence.
    pub limit: Option<u64>,
    /// Occurrences since the run began by the kernel's reason, where it has one.
    pub reasons: BTreeMap<String, u64>,
}

impl Series {
    pub(super) fn new(tier: Tier) -> Self {
        Self {
            tier,
            generator: false,
            pid: None,
            in_pre_roll: 0,
            in_run: 0,
            first_ns: None,
            last_ns: None,
            peak: None,
            limit: None,
            reasons: BTreeMap::new(),
        }
    }
}

impl Series {
    /// Counts from zero again.
    pub(super) fn forget_counts(&mut self) {
        let Self { tier, generator, pid, limit, .. } = *self;
        *self = Self { generator, pid, limit, ..Self::new(tier) };
    }

    /// Notes the highest use at an occurrence, and its limit.
    pub(super) fn meet(&mut self, peak: Option<u64>, limit: Option<u64>) {
        if limit.is_some() && limit != self.limit {
            (self.peak, self.limit) = (peak, limit);
        }
        self.peak = self.peak.max(peak);
    }

    /// Adds what was counted at another subject.
    pub(super) fn add(&mut self, other: &Self) {
        self.generator |= other.generator;
        self.in_pre_roll += other.in_pre_roll;
        self.in_run += other.in_run;
        self.first_ns = [self.first_ns, other.first_ns].into_iter().flatten().min();
        self.last_ns = self.last_ns.max(other.last_ns);
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
    }
}

/// Everything known about one usage.
#[derive(Clone, Debug)]
pub struct Usage {
    /// The latest sample.
    pub last: UsageSample,
    /// The highest since the run began, and the limit at that moment; of an accept queue, the one closest to its limit.
    pub peak: UsageSample,
    /// Recent samples as (read_ns, used), oldest first, for rates and forecasts.
    pub recent: VecDeque<(u64, u64)>,
}

impl Usage {
    /// Who set a limit: a probe tells a limit, and not whose it is. A look that found this limit knows, else the latest one:
    /// it tells of all listeners of an address together, the probe of one of them.
    pub fn set_by(&self, limit: Option<u64>) -> Option<String> {
        let of_limit = [&self.peak, &self.last].into_iter().filter(|look| look.limit == limit);
        of_limit.chain([&self.last]).find_map(|look| look.limit_set_by.clone())
    }

    /// Keeps a sample of the run as its peak, if it is that. Only of accept queues are use and limit always of one moment.
    pub(super) fn raise(&mut self, sample: UsageSample) {
        let is_peak = match sample.resource {
            Resource::AcceptQueue => {
                fullness(sample.used, sample.limit) >= fullness(self.peak.used, self.peak.limit)
            }
            _ => sample.used >= self.peak.used,
        };
        if is_peak {
            self.peak = sample;
        }
    }
}

/// How full a queue is. One with a limit of 0 admits one; without a limit nobody knows.
pub(super) fn fullness(used: u64, limit: Option<u64>) -> f64 {
    limit.map_or(0.0, |limit| used as f64 / (limit as f64 + 1.0))
}

/// A process that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its parent.
    pub parent: u32,
    /// Its command name.
    pub comm: String,
    /// Its cgroup.
    pub cgroup: Option<u64>,
    /// Its network namespace.
    pub netns: Option<u32>,
    /// Whether it belongs to the observed command's tree.
    pub generator: bool,
}

/// A line of the kernel's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// CLOCK_MONOTONIC of it.
    pub at_ns: u64,
    /// What it is about.
    pub about: LogTopic,
    /// The line.
    pub text: String,
}

/// What the kernel's log says of a process that it killed for want of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    /// Its command name.
    pub comm: String,
    /// `CONSTRAINT_MEMCG`, `CONSTRAINT_NONE`, ...
    pub constraint: String,
    /// Path of the cgroup whose limit it was; `None` where the whole host was out of memory.
    pub limit_owner: Option<String>,
    /// Path of the victim's cgroup.
    pub cgroup: Option<String>,
}

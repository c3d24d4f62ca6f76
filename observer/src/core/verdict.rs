//! The verdict: what broke first, when, where, why; the JSON contract of `observer.verdict/1`.
//!
//! Unknown is `null`, never 0. The order of fields here is the order of the JSON.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use observer_common::Signal;
use serde::{Deserialize, Serialize};

use super::{
    frame::{PhaseSource, SignalCoverage, signal_name},
    subject::Role,
};

/// Name and version of the contract.
pub const SCHEMA: &str = "observer.verdict/1";

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// At least one fault line in scope was hit.
    Hit,
    /// None was, and everything that had to be seen could be seen.
    Clear,
    /// None was seen, but too much was not measurable to say clear.
    Inconclusive,
}

impl Outcome {
    /// The stable name used in recordings and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Clear => "clear",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// The whole verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Version of observer that judged.
    pub observer_version: String,
    /// How the run ended.
    pub outcome: Outcome,
    /// The run itself.
    pub run: Run,
    /// What could be seen, and what was lost.
    pub coverage: Coverage,
    /// The load's phases.
    pub phases: Vec<Phase>,
    /// The first fault line hit in scope.
    pub first: Option<Hit>,
    /// Hits whose onset cannot be told apart from the first one's.
    pub co_first: Vec<Hit>,
    /// All hits in scope, in onset order, the first included.
    pub hits: Vec<Hit>,
    /// Hits of bystanders.
    pub elsewhere: Vec<Hit>,
    /// What was already so before the run began.
    pub pre_existing: Vec<Hit>,
    /// Causal links between hits.
    pub chain: Vec<Link>,
    /// Fault lines that were measured and not hit.
    pub ruled_out: Vec<Note>,
    /// Fault lines that could not be judged.
    pub not_measurable: Vec<Note>,
    /// How close the resources came to their limits, closest first.
    pub headroom: Vec<Headroom>,
    /// Latency per listener; empty while nothing measures it.
    pub latency: Vec<Latency>,
}

/// The run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Identifies the run.
    pub id: String,
    /// RFC 3339, UTC.
    pub started: String,
    /// RFC 3339, UTC.
    pub ended: String,
    /// Name of the host.
    pub host: String,
    /// Release of the kernel.
    pub kernel: String,
    /// The observed command; `null` without one.
    pub command: Option<Vec<String>>,
    /// Its exit status; `null` while unknown.
    pub exit_status: Option<i32>,
    /// The instant from which `onset_s` counts, on both clocks.
    pub clock: Clock,
    /// Length of the pre-roll.
    pub pre_roll_s: f64,
    /// The sysctls and limits in force at the start.
    pub limits: Vec<Limit>,
}

/// One instant on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// CLOCK_MONOTONIC.
    pub mono_ns: u64,
    /// CLOCK_REALTIME.
    pub real_ns: u64,
}

/// A sysctl or limit in force.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Limit {
    /// Its name.
    pub name: String,
    /// Its value as the kernel prints it.
    pub value: String,
    /// Where it holds.
    #[serde(rename = "where")]
    pub place: String,
}

/// What could be seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// Tier and source per signal.
    pub signals: Vec<SignalCoverage>,
    /// Occurrences counted by probes.
    pub events_seen: u64,
    /// Occurrences known to be missing from the counts, by reason.
    pub events_lost: BTreeMap<String, u64>,
    /// Ticks that began more than one tick late.
    pub ticks_late: u64,
    /// What observing cost; `null` where it was not measured (a verdict from a recording).
    pub observer: Option<OwnCost>,
}

/// What observing cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OwnCost {
    /// User and system time.
    pub cpu_seconds: f64,
    /// Highest resident memory.
    pub peak_rss_bytes: u64,
}

/// A named interval of the load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// `idle, ramp_up, plateau, spike, ramp_down, recovery`, or the user's own name.
    pub name: String,
    /// Where the boundaries came from.
    pub source: PhaseSource,
    /// Seconds since `run.started`.
    pub start_s: f64,
    /// Seconds since `run.started`.
    pub end_s: f64,
    /// The load in it.
    pub load: Load,
}

/// The load at an instant or over a phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// New connections in scope.
    pub connections_per_s: Option<f64>,
    /// Requests, where a load tool tells.
    pub requests_per_s: Option<f64>,
    /// Virtual users, where a load tool tells.
    pub virtual_users: Option<f64>,
    /// Connections open at the same time.
    pub concurrency: Option<f64>,
    /// Share of failed requests, where a load tool tells.
    pub error_ratio: Option<f64>,
}

/// What kind of thing a fault line is (DESIGN section 5, rule 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The kernel refused for want of a resource.
    Resource,
    /// Something was scarce for long enough to have an effect.
    Pressure,
    /// What the others cause; first only when nothing explains it.
    Symptom,
}

/// One fault line hit at one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// Id of the fault line.
    pub fault_line: String,
    /// What the subject is to the test.
    pub role: Role,
    /// Seconds since `run.started`.
    pub onset_s: f64,
    /// RFC 3339, UTC.
    pub onset: String,
    /// The onset is not earlier than this.
    pub onset_lo_s: f64,
    /// The onset is not later than this.
    pub onset_hi_s: f64,
    /// The phase it fell into.
    pub phase: Option<String>,
    /// The load at that moment.
    pub load: Load,
    /// What kind of fault line it is.
    pub kind: Kind,
    /// Where.
    pub subject: HitSubject,
    /// The intervals in which it was active; 10 quiet seconds end one.
    pub spells: Vec<Spell>,
    /// The signals it rests on.
    pub evidence: Vec<Evidence>,
    /// Lines of the kernel's log that speak of it.
    #[serde(default)]
    pub log: Vec<LogEntry>,
    /// The resource that ran out.
    pub usage: Option<HitUsage>,
    /// `null` until calibrated.
    pub confidence: Option<f64>,
    /// The fault line that caused it.
    pub explained_by: Option<String>,
    /// One plain sentence a person can act on.
    pub because: String,
    /// How to check it by hand.
    pub verify: Vec<String>,
    /// What to change.
    pub remedy: Vec<String>,
}

/// Where a hit was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HitSubject {
    /// Own address of the listener.
    pub listener: Option<SocketAddr>,
    /// Remote address.
    pub destination: Option<SocketAddr>,
    /// Own address of the connecting side, where ports are counted per source.
    pub source: Option<IpAddr>,
    /// Inode number of the network namespace.
    pub netns: Option<u32>,
    /// Path of the cgroup.
    pub cgroup: Option<String>,
    /// Id of the container.
    pub container: Option<String>,
    /// Process id.
    pub pid: Option<u32>,
    /// Command name of the process.
    pub comm: Option<String>,
    /// Network device.
    pub device: Option<String>,
}

/// An interval in which a fault line was active.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spell {
    /// Seconds since `run.started`.
    pub onset_s: f64,
    /// Seconds since `run.started`; `null` while it lasts.
    pub end_s: Option<f64>,
    /// Occurrences in it.
    pub count: u64,
}

/// One signal behind a hit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The signal.
    #[serde(with = "signal_name")]
    pub signal: Signal,
    /// Occurrences since the run began.
    pub count: u64,
    /// Seconds since `run.started`; `null` on the counter tier.
    pub first_s: Option<f64>,
    /// Seconds since `run.started`; `null` on the counter tier, and of what connections do, which is not timed.
    pub last_s: Option<f64>,
    /// Mean rate from the first occurrence (on the counter tier: from the onset) to the last one.
    pub rate_per_s: Option<f64>,
    /// Rate in the pre-roll.
    pub baseline_per_s: Option<f64>,
    /// The kernel's reasons by name; `null` where it gives none.
    #[serde(default)]
    pub reasons: Option<BTreeMap<String, u64>>,
}

/// A line of the kernel's log. The kernel limits their rate: how many there are means nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Seconds since `run.started`.
    pub at_s: f64,
    /// The line.
    pub text: String,
}

/// The resource that ran out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HitUsage {
    /// Name of the resource.
    pub resource: String,
    /// Highest use seen; of an accept queue, where it was fullest.
    pub used: u64,
    /// The limit.
    pub limit: Option<u64>,
    /// `used / limit`.
    pub peak_ratio: Option<f64>,
    /// Who set the limit.
    pub limit_set_by: Option<String>,
}

/// A causal link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Id of the causing fault line.
    pub cause: String,
    /// Id of the caused fault line.
    pub effect: String,
    /// From the cause's onset to the effect's.
    pub lag_s: f64,
    /// How the one made the other, with the numbers that moved.
    pub mechanism: String,
}

/// A fault line and why it was not hit, or not judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Id of the fault line.
    pub fault_line: String,
    /// Why.
    pub why: String,
}

/// How close a resource came to its limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Headroom {
    /// Name of the resource.
    pub resource: String,
    /// Where.
    pub subject: HitSubject,
    /// Highest use seen; of an accept queue, where it was fullest.
    pub peak_used: u64,
    /// The limit.
    pub limit: u64,
    /// `peak_used / limit`.
    pub ratio: f64,
    /// Seconds until the limit at the last rate of growth; `null` when it does not grow.
    pub forecast_s: Option<f64>,
}

/// Latency of one listener.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The listener.
    pub listener: SocketAddr,
    /// Median.
    pub p50_s: Option<f64>,
    /// 90th percentile.
    pub p90_s: Option<f64>,
    /// 99th percentile.
    pub p99_s: Option<f64>,
    /// 99th percentile of the wait in the accept queue.
    pub accept_wait_p99_s: Option<f64>,
}

//! The catalogue: one file per fault line, and the one list of them.
//!
//! To add one: a file here, an entry in [`LINES`], a scenario in the lab, a golden recording.

mod accept_queue_overflow;
mod connect_timeout;
mod connection_refused;
mod connection_resets;
mod conntrack_full;
mod cpu_throttling;
mod fd_saturation;
mod memory_pressure;
pub(in crate::core) mod oom_kill;
mod packet_loss;
mod port_collision;
mod port_exhaustion;
mod syn_queue_overflow;
mod time_wait_overflow;

use observer_common::{Signal, SubjectKind};

use super::{
    chain::Edge,
    detect::Policy,
    frame::{LogTopic, Resource, SignalCoverage, Tier},
    ledger::{Increment, Ledger},
    subject::Subject,
    verdict::{Evidence, HitSubject, HitUsage, Kind},
};

/// Every fault line, in catalogue order, which breaks ties.
pub const LINES: &[&dyn FaultLine] = &[
    &accept_queue_overflow::AcceptQueueOverflow,
    &syn_queue_overflow::SynQueueOverflow,
    &port_exhaustion::PortExhaustion,
    &port_collision::PortCollision,
    &time_wait_overflow::TimeWaitOverflow,
    &fd_saturation::FdSaturation,
    &conntrack_full::ConntrackFull,
    &packet_loss::PacketLoss,
    &connection_resets::ConnectionResets,
    &connection_refused::ConnectionRefused,
    &connect_timeout::ConnectTimeout,
    &oom_kill::OomKill,
    &memory_pressure::MemoryPressure,
    &cpu_throttling::CpuThrottling,
];

/// The fault line with this id.
pub fn by_id(id: &str) -> Option<&'static dyn FaultLine> {
    LINES.iter().copied().find(|line| line.id() == id)
}

/// A place where a host gives way under load.
pub trait FaultLine: Sync {
    /// Stable id: label, JSON value and file name.
    fn id(&self) -> &'static str;
    /// What it is, in a few words.
    fn title(&self) -> &'static str;
    /// Resource, pressure or symptom.
    fn kind(&self) -> Kind;
    /// The part of the host that gives way.
    fn layer(&self) -> Layer;
    /// What happens in the kernel, and what the user sees of it.
    fn what(&self) -> &'static str;
    /// What usually leads to it.
    fn causes(&self) -> &'static [&'static str];
    /// The signals that are its failures, and how many of them are a fault.
    fn failures(&self) -> &'static [Failure];
    /// Signals that show strain without a failure.
    fn strain(&self) -> &'static [Signal] {
        &[]
    }
    /// Further signals that belong into the evidence.
    fn context(&self) -> &'static [Signal] {
        &[]
    }
    /// The resource that runs out.
    fn resource(&self) -> Option<Resource>;
    /// What leads to this line from others.
    fn caused_by(&self) -> &'static [Edge] {
        &[]
    }
    /// Whether a run that cannot see it can still be called clear: symptoms do not break a host.
    fn optional(&self) -> bool {
        self.kind() == Kind::Symptom
    }
    /// What its failures are measured against.
    fn exposure(&self) -> Exposure {
        Exposure::Time
    }
    /// Whether what was counted is a failure of this line at all.
    fn is_failure(&self, _ledger: &Ledger, _increment: &Increment) -> bool {
        true
    }
    /// Whether an onset at `subject` still means something, now that more is known.
    fn stands(&self, _ledger: &Ledger, _subject: &Subject) -> bool {
        true
    }
    /// Whether the limit that was met at `subject`, by `pid`, is the whole host's.
    fn is_of_host(&self, _ledger: &Ledger, _subject: &Subject, _pid: Option<u32>) -> bool {
        false
    }
    /// Whether it is a hit only together with something that it led to.
    fn needs_effect(&self) -> bool {
        false
    }
    /// Whether it matters even after the load has ended.
    fn outlasts_load(&self) -> bool {
        false
    }
    /// The lines of the kernel's log that speak of it.
    fn log_topic(&self) -> Option<LogTopic> {
        None
    }
    /// One plain sentence a person can act on.
    fn because(&self, case: &Case) -> String;
    /// Commands to check it by hand. Fields of the place that are unknown become placeholders.
    fn verify(&self, place: &HitSubject) -> Vec<String>;
    /// What to change, given who set the limit where that is known.
    fn remedy(&self, place: &HitSubject, usage: Option<&HitUsage>) -> Vec<String>;
}

/// The part of the host that gives way, as a person looks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// The queues of listening sockets.
    Sockets,
    /// Local ports.
    Ports,
    /// Descriptors and open files.
    Descriptors,
    /// Connection tracking.
    Conntrack,
    /// What connections meet on their way.
    Network,
    /// Memory.
    Memory,
    /// CPU time.
    Cpu,
}

impl Layer {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sockets => "sockets",
            Self::Ports => "ports",
            Self::Descriptors => "files",
            Self::Conntrack => "tracking",
            Self::Network => "network",
            Self::Memory => "memory",
            Self::Cpu => "CPU",
        }
    }
}

/// What failures are measured against: what could have failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Connections: those that arrived at the listener, or were begun towards the destination.
    Connections,
    /// TCP segments that were sent in the network namespace.
    Segments,
    /// Periods of the cgroup's CPU quota.
    Periods,
    /// Seconds.
    Time,
}

/// Whether a signal matters even after the load has ended.
pub fn outlasts_load(signal: Signal) -> bool {
    LINES.iter().any(|line| {
        line.outlasts_load()
            && (line.failures().iter().any(|failure| failure.signal == signal)
                || line.context().contains(&signal))
    })
}

/// Whether the use of a resource matters even after the load has ended.
pub fn use_outlasts_load(resource: Resource) -> bool {
    LINES.iter().any(|line| line.outlasts_load() && line.resource() == Some(resource))
}

/// A signal that is a failure of a line.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// The signal.
    pub signal: Signal,
    /// How many of them are a fault.
    pub policy: Policy,
    /// Whether every one counts, however many come at once: the policy's burst cap does not hold for it.
    pub in_full: bool,
    /// Judged only where not all of these other signals are counted by probes.
    pub instead_of: &'static [Signal],
}

impl Failure {
    /// A failure of which one is enough.
    pub const fn terminal(signal: Signal) -> Self {
        Self { signal, policy: Policy::TERMINAL, in_full: false, instead_of: &[] }
    }

    /// A refused connection: three of them, and more than one in a thousand arrivals. Each costs its
    /// client a second or more, but a single one at the edge of a burst is not a fault of the host.
    pub const fn refused_connection(signal: Signal) -> Self {
        let policy = Policy { floor_ratio: 0.001, threshold: 3.0, burst_cap: f64::INFINITY, is_share: true };
        Self { signal, policy, in_full: false, instead_of: &[] }
    }

    /// A segment that was lost: more than one in a hundred, for longer than one burst lasts.
    pub const fn lost_segment(signal: Signal) -> Self {
        let policy = Policy { floor_ratio: 0.01, threshold: 20.0, burst_cap: 10.0, is_share: true };
        Self { signal, policy, in_full: false, instead_of: &[] }
    }

    /// A segment of a handshake that was lost: it costs its client a second or more, in a burst as well.
    pub const fn lost_handshake(signal: Signal) -> Self {
        Self { in_full: true, ..Self::lost_segment(signal) }
    }

    /// A connection that was broken off: five of them, and more than one in a hundred.
    pub const fn broken_connection(signal: Signal) -> Self {
        let policy = Policy { floor_ratio: 0.01, threshold: 5.0, burst_cap: f64::INFINITY, is_share: true };
        Self { signal, policy, in_full: false, instead_of: &[] }
    }

    /// A period of a quota in which the cgroup was stopped: a quarter of them or more, for about a second.
    pub const fn throttled_period(signal: Signal) -> Self {
        let policy = Policy { floor_ratio: 0.25, threshold: 5.0, burst_cap: f64::INFINITY, is_share: true };
        Self { signal, policy, in_full: false, instead_of: &[] }
    }

    /// A moment of want: more than one a second, and more often than one burst has it.
    pub const fn pressed(signal: Signal) -> Self {
        let policy = Policy { floor_ratio: 1.0, threshold: 10.0, burst_cap: 5.0, is_share: false };
        Self { signal, policy, in_full: false, instead_of: &[] }
    }

    /// The same, judged only where not all of `others` are counted by probes.
    pub const fn instead_of(self, others: &'static [Signal]) -> Self {
        Self { instead_of: others, ..self }
    }
}

/// What a sentence is made of.
pub struct Case<'a> {
    /// Where.
    pub place: &'a HitSubject,
    /// The resource that ran out.
    pub usage: Option<&'a HitUsage>,
    /// The counts.
    pub evidence: &'a [Evidence],
    /// Connections per second that arrived in the second after the onset.
    pub arrived_per_s: Option<f64>,
    /// Connections per second that were taken from the queue in that second.
    pub accepted_per_s: Option<f64>,
    /// The failure itself was not seen, but follows from counters.
    pub inferred: bool,
    /// Where, as the account knows it.
    pub subject: &'a Subject,
    /// The account of the run.
    pub ledger: &'a Ledger,
}

impl Case<'_> {
    /// Occurrences of a signal since the run began.
    pub fn count(&self, signal: Signal) -> u64 {
        self.evidence.iter().find(|evidence| evidence.signal == signal).map_or(0, |evidence| evidence.count)
    }

    /// Occurrences of a signal in the whole network namespace since the run began; `None` where it is not
    /// counted.
    pub fn count_in_namespace(&self, signal: Signal) -> Option<u64> {
        self.ledger.in_run(signal, &Subject::namespace(self.subject.netns?))
    }

    /// The kernel's reasons for a signal, the most frequent first: `TCP_ABORT_ON_CLOSE 40, TCP_STATE 2`.
    pub fn reasons(&self, signal: Signal) -> Option<String> {
        let reasons = &self.evidence.iter().find(|evidence| evidence.signal == signal)?.reasons;
        let mut sorted: Vec<_> = reasons.as_ref()?.iter().collect();
        sorted.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), name.as_str()));
        let words: Vec<String> =
            sorted.iter().map(|(name, count)| format!("{name} {}", number(**count as f64))).collect();
        Some(words.join(", "))
    }

    /// A sysctl or limit in force at a place.
    pub fn limit(&self, name: &str, place: &str) -> Option<&str> {
        let limit = self.ledger.limits.get(&(name.to_owned(), place.to_owned()))?;
        Some(limit.value.as_str())
    }

    /// The process, or words for one that is not known.
    pub fn who(&self) -> String {
        match (&self.place.comm, self.place.pid) {
            (Some(comm), Some(pid)) => format!("{comm} (pid {pid})"),
            (Some(comm), None) => comm.clone(),
            (None, Some(pid)) => format!("pid {pid}"),
            (None, None) => "the service".to_owned(),
        }
    }
}

/// Why a line cannot be judged with this coverage; `None` when it can.
pub fn not_measurable(line: &dyn FaultLine, coverage: &[SignalCoverage]) -> Option<String> {
    // The kernel's totals do not tell which side of which connection it was.
    let suffices = |c: &SignalCoverage| match c.signal.subject_kind() {
        SubjectKind::Peer => c.tier.is_probe(),
        _ => c.tier != Tier::Absent,
    };
    let had = |signal: Signal| coverage.iter().any(|c| c.signal == signal && suffices(c));
    if line.failures().iter().any(|failure| had(failure.signal)) {
        return None;
    }
    let why = line.failures().iter().find_map(|failure| {
        coverage.iter().find(|c| c.signal == failure.signal).and_then(|c| c.why_degraded.clone())
    });
    Some(why.unwrap_or_else(|| "no source for its signals on this kernel".to_owned()))
}

/// Below this share of all connects, a destination that never answered is not what is under load: a collector
/// of metrics that does not run, a name server that is gone.
const LOAD_SHARE: u64 = 10;

/// Whether a destination never answered, and few of the connects went there: of the observed command's, where it is
/// the one that connects there, whatever else connects on this host.
fn is_beside_the_load(ledger: &Ledger, destination: &Subject) -> bool {
    let of = |signal| ledger.in_run(signal, destination).unwrap_or(0);
    if of(Signal::ConnectionOpened) > 0 {
        return false;
    }
    let attempts = || ledger.of_signal(Signal::ConnectAttempt).filter(|(at, _)| at.destination.is_some());
    let by_command = attempts().any(|(at, series)| at == destination && series.generator);
    let counts = attempts().filter(|(_, series)| series.generator || !by_command);
    let all: u64 = counts.map(|(_, series)| series.in_run).sum();
    of(Signal::ConnectAttempt) * LOAD_SHARE < all
}

/// `:8080`, or `:PORT` where it is not known.
fn port_filter(place: &HitSubject) -> String {
    place.listener.map_or_else(|| ":PORT".to_owned(), |listener| format!(":{}", listener.port()))
}

/// `3,412`.
fn number(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `64 MiB`, `1.5 GiB`.
fn bytes(value: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (value as f64, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    let digits = usize::from(value < 10.0 && value.fract() >= 0.05);
    format!("{value:.digits$} {}", units[unit])
}

/// A command as it is run in the hit's network namespace: through a process in it, where one is known.
fn in_namespace(place: &HitSubject, command: &str) -> String {
    match place.pid {
        Some(pid) => format!("nsenter -t {pid} -n {command}"),
        None => command.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_entry_is_complete_and_unique() {
        let place = HitSubject::default();
        let mut ids = BTreeSet::new();
        for line in LINES {
            assert!(ids.insert(line.id()), "{} stands twice", line.id());
            assert!(line.id().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", line.id());
            for text in [line.title(), line.what()] {
                assert!(!text.is_empty(), "{}", line.id());
            }
            assert!(!line.causes().is_empty() && !line.failures().is_empty(), "{}", line.id());
            assert!(
                !line.verify(&place).is_empty() && !line.remedy(&place, None).is_empty(),
                "{}",
                line.id()
            );
            for edge in line.caused_by() {
                assert!(by_id(edge.cause).is_some(), "{} is caused by the unknown {}", line.id(), edge.cause);
            }
        }
    }

    #[test]
    fn bytes_are_told_in_the_unit_that_fits() {
        assert_eq!(bytes(12), "12 bytes");
        assert_eq!(bytes(64 << 20), "64 MiB");
        assert_eq!(bytes(3 << 29), "1.5 GiB");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(number(0.4), "0");
        assert_eq!(number(999.6), "1,000");
        assert_eq!(number(1_234_567.0), "1,234,567");
    }
}

//! What one tick saw, raw, before anyone interprets it.
//!
//! A frame holds what changed: a sample that reads the same as in the frame before is left out.
//! It is what a recording stores and what the engine is fed, live and in replay alike.

use std::net::SocketAddr;

use observer_common::Signal;
use serde::{Deserialize, Serialize};

use super::subject::{Controller, Subject};

/// Version of the frame and of the recording's tables. A reader refuses any other.
pub const SCHEMA_VERSION: u32 = 5;

/// How a signal is had on this kernel, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// fentry or fexit.
    Trampoline,
    /// kprobe or kretprobe.
    Kprobe,
    /// tp_btf, raw tracepoint or tracepoint.
    Tracepoint,
    /// A counter of the kernel's own, read at intervals.
    Counter,
    /// Not to be had.
    Absent,
}

impl Tier {
    /// Whether a sample of this tier carries the kernel's own nanosecond.
    pub fn is_probe(self) -> bool {
        matches!(self, Self::Trampoline | Self::Kprobe | Self::Tracepoint)
    }

    /// The stable name used in recordings, JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trampoline => "trampoline",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
            Self::Counter => "counter",
            Self::Absent => "absent",
        }
    }
}

/// A cumulative count of one signal at one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalSample {
    /// What was counted.
    #[serde(with = "signal_name")]
    pub signal: Signal,
    /// How it was counted.
    pub tier: Tier,
    /// Where.
    pub subject: Subject,
    /// Why, by the kernel's own name (`TCP_ABORT_ON_CLOSE`), where it has one. Each reason counts by itself.
    pub reason: Option<String>,
    /// Whether the kernel saw it happen in a process of the observed command's tree.
    pub generator: bool,
    /// Occurrences so far. The origin is arbitrary (boot, or the start of the probes): use deltas.
    pub count: u64,
    /// CLOCK_MONOTONIC of the first occurrence; `None` on the counter tier.
    pub first_ns: Option<u64>,
    /// CLOCK_MONOTONIC of the latest occurrence; `None` on the counter tier.
    pub last_ns: Option<u64>,
    /// Highest use of the resource at an occurrence since the limit is in force (queue depth), where it has one.
    pub peak: Option<u64>,
    /// The limit in force at the latest occurrence, where it has one.
    pub limit: Option<u64>,
    /// CLOCK_MONOTONIC of this read.
    pub read_ns: u64,
    /// CLOCK_MONOTONIC of the read before this one, at which the count was still the former one;
    /// equal to `read_ns` at the first read, which sets the origin: whatever it counted happened before.
    pub since_ns: u64,
}

impl SignalSample {
    /// Whether this read only says from where on the count goes up.
    pub fn is_origin(&self) -> bool {
        self.since_ns == self.read_ns
    }
}

/// A resource that can be in use up to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Connections waiting in a listener's accept queue. A limit of 128 admits 129.
    AcceptQueue,
    /// Half-open requests of a listener. A limit of 128 admits 129.
    SynQueue,
    /// Local ports in use towards one (source, destination, port), TIME_WAIT included.
    EphemeralPorts,
    /// Descriptors of a process against its soft RLIMIT_NOFILE.
    Descriptors,
    /// Open files of the host against fs.file-max.
    FileTable,
    /// TIME_WAIT sockets of a network namespace against net.ipv4.tcp_max_tw_buckets.
    TimeWait,
    /// Established connections of a network namespace (ESTABLISHED and CLOSE_WAIT); no limit.
    Connections,
    /// Orphaned TCP sockets of the host against net.ipv4.tcp_max_orphans.
    Orphans,
    /// Pages of TCP memory of the host against the upper bound of net.ipv4.tcp_mem.
    TcpMemory,
    /// Of the [`Resource::EphemeralPorts`] towards one (source, destination, port), those in TIME_WAIT; no
    /// limit.
    TimeWaitPorts,
    /// Tracked connections of a network namespace against nf_conntrack_max.
    Conntrack,
    /// Bytes of memory of a cgroup against memory.max (v1: memory.limit_in_bytes).
    Memory,
}

impl Resource {
    /// Every resource.
    pub const ALL: &'static [Self] = &[
        Self::AcceptQueue,
        Self::SynQueue,
        Self::EphemeralPorts,
        Self::Descriptors,
        Self::FileTable,
        Self::TimeWait,
        Self::Connections,
        Self::Orphans,
        Self::TcpMemory,
        Self::TimeWaitPorts,
        Self::Conntrack,
        Self::Memory,
    ];

    /// The stable name used in recordings, JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::AcceptQueue => "accept_queue",
            Self::SynQueue => "syn_queue",
            Self::EphemeralPorts => "ephemeral_ports",
            Self::Descriptors => "descriptors",
            Self::FileTable => "file_table",
            Self::TimeWait => "time_wait",
            Self::Connections => "connections",
            Self::Orphans => "orphans",
            Self::TcpMemory => "tcp_memory",
            Self::TimeWaitPorts => "time_wait_ports",
            Self::Conntrack => "conntrack",
            Self::Memory => "memory",
        }
    }
}

/// A resource in use against its limit, at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageSample {
    /// Of what.
    pub resource: Resource,
    /// Where.
    pub subject: Subject,
    /// In use.
    pub used: u64,
    /// The limit in force; `None` where there is none or it is unknown.
    pub limit: Option<u64>,
    /// Who set that limit, in words a person can act on: `backlog argument`, `net.core.somaxconn`,
    /// `RLIMIT_NOFILE (soft)`, `net.ipv4.ip_local_port_range`.
    pub limit_set_by: Option<String>,
    /// CLOCK_MONOTONIC of this read.
    pub read_ns: u64,
    /// CLOCK_MONOTONIC of the read before this one; equal to `read_ns` at the first read.
    pub since_ns: u64,
}

/// Something learnt about the host that gives samples their meaning. Told once, and again when it changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// A process that matters: it listens, belongs to the observed command, or failed.
    Process {
        /// Its id.
        pid: u32,
        /// Its parent's id; 0 where a probe met the process and nobody has looked it up.
        parent: u32,
        /// Its command name; the thread's own where the parent is 0.
        comm: String,
        /// Its network namespace.
        netns: Option<u32>,
        /// Id of its cgroup (v2), where there is one.
        cgroup: Option<u64>,
        /// Whether it belongs to the observed command's tree.
        generator: bool,
    },
    /// A process holds this listening socket open.
    ListenerOwner {
        /// The listener's network namespace.
        netns: u32,
        /// The listener's own address.
        listener: SocketAddr,
        /// The process.
        pid: u32,
    },
    /// The path of a cgroup, as below the root of its hierarchy.
    CgroupPath {
        /// Id of the cgroup.
        id: u64,
        /// The controller whose hierarchy it is in; `None` for the cgroup2 hierarchy. Where a controller is on
        /// cgroup2, its cgroups are told under both.
        controller: Option<Controller>,
        /// Its path, beginning with `/`.
        path: String,
    },
    /// The cgroup of a process that matters, under a controller. (Where the controller is on cgroup2, the
    /// nearest one that has it enabled.)
    ProcessCgroup {
        /// The process.
        pid: u32,
        /// The controller.
        controller: Controller,
        /// Id of the cgroup.
        cgroup: u64,
    },
    /// A line of the kernel's log that belongs to a fault line. The kernel limits their rate: that there is
    /// one means something, how many there are does not.
    KernelLog {
        /// CLOCK_MONOTONIC of it.
        at_ns: u64,
        /// What it is about.
        about: LogTopic,
        /// The line.
        text: String,
    },
    /// What the kernel's log says of an OOM kill.
    OomVictim {
        /// CLOCK_MONOTONIC of the line.
        at_ns: u64,
        /// The process that was killed.
        pid: u32,
        /// Its command name.
        comm: String,
        /// `CONSTRAINT_MEMCG`, `CONSTRAINT_NONE`, ...
        constraint: String,
        /// Path of the cgroup whose limit it was; `None` where the whole host was out of memory.
        limit_owner: Option<String>,
        /// Path of the victim's cgroup.
        cgroup: Option<String>,
    },
    /// A sysctl or limit in force.
    Limit {
        /// Its name (`net.core.somaxconn`).
        name: String,
        /// Its value as the kernel prints it.
        value: String,
        /// Where it holds: `host`, `netns 4026531840`, `pid 17 (nginx)`.
        place: String,
    },
}

/// What a line of the kernel's log is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogTopic {
    /// `nf_conntrack: table full, dropping packet`.
    ConntrackFull,
    /// `Possible SYN flooding on port ...`.
    SynFlooding,
    /// `Out of memory: Killed process ...`, of a cgroup or of the whole host.
    OutOfMemory,
    /// `TCP: out of memory`, `too many orphaned sockets`.
    SocketMemory,
    /// `time wait bucket table overflow` (5.x and older).
    TimeWaitOverflow,
    /// `VFS: file-max limit ... reached`.
    FileTable,
}

impl LogTopic {
    /// Every topic.
    pub const ALL: &'static [Self] = &[
        Self::ConntrackFull,
        Self::SynFlooding,
        Self::OutOfMemory,
        Self::SocketMemory,
        Self::TimeWaitOverflow,
        Self::FileTable,
    ];

    /// The stable name used in recordings and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConntrackFull => "conntrack_full",
            Self::SynFlooding => "syn_flooding",
            Self::OutOfMemory => "out_of_memory",
            Self::SocketMemory => "socket_memory",
            Self::TimeWaitOverflow => "time_wait_overflow",
            Self::FileTable => "file_table",
        }
    }
}

/// What happened to the run itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mark", rename_all = "snake_case")]
pub enum Mark {
    /// The observed command was started: the run begins.
    CommandStarted {
        /// CLOCK_MONOTONIC of it.
        at_ns: u64,
        /// Its process id; `None` without a command.
        pid: Option<u32>,
    },
    /// The observed command has ended: the load is over.
    CommandEnded {
        /// CLOCK_MONOTONIC of it.
        at_ns: u64,
        /// Its exit status as `run` reports it; `None` without a command.
        exit_status: Option<i32>,
    },
    /// The user says that a phase begins.
    Phase {
        /// CLOCK_MONOTONIC of it.
        at_ns: u64,
        /// The user's name for it.
        name: String,
        /// `mark` or `plan`.
        source: PhaseSource,
    },
}

/// Where the boundary of a phase came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseSource {
    /// The kernel's own view of the load.
    Auto,
    /// `observer mark`.
    Mark,
    /// `--plan`.
    Plan,
}

/// How reading one source goes. Told when an error comes, changes or goes, and else every ten seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Name of the source (`netstat`, `sock_diag`, `probes`).
    pub source: String,
    /// How long it took: the slowest read since the status before.
    pub duration_ns: u64,
    /// What went wrong at the latest read, if anything did.
    pub error: Option<String>,
}

/// Occurrences that are known to have happened but are in no cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// `map_full:SIGNAL`, `ring_full`, `recursion:HOOK`.
    pub reason: String,
    /// Cumulative count since the probes were loaded.
    pub count: u64,
}

/// All that changed at one tick.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Number of the tick, from 0.
    pub seq: u64,
    /// CLOCK_MONOTONIC at the start of the tick.
    pub mono_ns: u64,
    /// CLOCK_REALTIME at the same instant.
    pub real_ns: u64,
    /// Signals whose count changed.
    pub signals: Vec<SignalSample>,
    /// Usages that changed.
    pub usages: Vec<UsageSample>,
    /// What was learnt.
    pub facts: Vec<Fact>,
    /// What happened to the run.
    pub marks: Vec<Mark>,
    /// Sources of which there is news, among those read at this tick.
    pub sources: Vec<SourceStatus>,
    /// Loss counts that changed.
    pub losses: Vec<Loss>,
}

impl Frame {
    /// Whether a run or an episode begins with it.
    pub fn begins(&self) -> bool {
        self.marks.iter().any(|mark| matches!(mark, Mark::CommandStarted { .. }))
    }
}

/// How one signal is had in this run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalCoverage {
    /// The signal.
    #[serde(with = "signal_name")]
    pub signal: Signal,
    /// The tier it is had on.
    pub tier: Tier,
    /// The hook or file.
    pub source: String,
    /// Why it is not had on its best tier.
    pub why_degraded: Option<String>,
}

#[cfg(test)]
impl RunHeader {
    /// That of a test, in which every signal is had on this tier.
    pub(crate) fn on(tier: Tier) -> Self {
        let had = |signal: &Signal| SignalCoverage {
            signal: *signal,
            tier,
            source: "test".into(),
            why_degraded: None,
        };
        Self {
            id: "test".into(),
            observer_version: "0".into(),
            host: "host".into(),
            kernel: "kernel".into(),
            netns: None,
            command: Vec::new(),
            targets: Vec::new(),
            ignore: Vec::new(),
            plan: Vec::new(),
            coverage: Signal::ALL.iter().map(had).collect(),
        }
    }
}

/// Everything about a run that is known before its first frame; stored at the head of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunHeader {
    /// Identifies the run.
    pub id: String,
    /// Version of observer that observed.
    pub observer_version: String,
    /// Name of the host.
    pub host: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Inode number of the network namespace that observer runs in.
    pub netns: Option<u32>,
    /// The observed command and its arguments; empty without one.
    pub command: Vec<String>,
    /// What the user named with `--target`.
    pub targets: Vec<Target>,
    /// Fault lines the user asked to ignore, by id.
    pub ignore: Vec<String>,
    /// Named phases and their lengths, from `--plan`.
    pub plan: Vec<(String, u64)>,
    /// How each signal is had.
    pub coverage: Vec<SignalCoverage>,
}

/// What the user says is under test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Every listener on this port.
    Port(u16),
    /// A process and its listeners.
    Pid(u32),
    /// A cgroup by path.
    Cgroup(String),
    /// A container by (a prefix of) its id.
    Container(String),
}

impl std::fmt::Display for Target {
    /// As it is written on the command line.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Port(port) => write!(formatter, ":{port}"),
            Self::Pid(pid) => write!(formatter, "pid:{pid}"),
            Self::Cgroup(path) => write!(formatter, "cgroup:{path}"),
            Self::Container(id) => write!(formatter, "container:{id}"),
        }
    }
}

/// Serialises a [`Signal`] as its name.
pub mod signal_name {
    use observer_common::Signal;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes the name.
    pub fn serialize<S: Serializer>(signal: &Signal, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(signal.name())
    }

    /// Reads the name back; unknown names are an error.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Signal, D::Error> {
        let name = String::deserialize(deserializer)?;
        Signal::from_name(&name).ok_or_else(|| D::Error::custom(format!("unknown signal `{name}`")))
    }
}

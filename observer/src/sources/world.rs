//! What the sources know of the host between two reads: its network namespaces, listeners and processes.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
};

use observer_common::Signal;

use super::{
    cgroups::CgroupMounts,
    changes::Window,
    error::SourceError,
    namespaces::id_of,
    sock_diag::DiagSocket,
    text::{self, Kept},
};
use crate::core::frame::Frame;

/// Everything that one source learns and another one needs.
#[derive(Debug, Default)]
pub struct World {
    /// observer itself.
    pub(super) own_pid: u32,
    /// Root of the observed command.
    pub(super) command: Option<u32>,
    /// The observed command's tree, as far as it is alive.
    pub(super) generator: BTreeSet<u32>,
    /// Processes that matter for another reason: they were refused something.
    pub(super) noted: BTreeSet<u32>,
    /// Every process that can be seen.
    pub(super) processes: BTreeMap<u32, Process>,
    /// Rises whenever a process appears, ends or changes its network namespace.
    pub(super) process_changes: u64,
    /// The network namespaces, observer's own first.
    pub(super) namespaces: Vec<Namespace>,
    /// Processes that hold a listener, and which ones.
    pub(super) owners: BTreeMap<u32, BTreeSet<(u32, SocketAddr)>>,
    /// Whether every namespace is read at this tick, whoever's turn it is.
    pub(super) everywhere: bool,
    /// Rises whenever a listener appears or is closed.
    pub(super) listener_changes: u64,
    /// Limits that hold for the whole host.
    pub(super) host: HostLimits,
    /// Where the cgroup file systems are.
    pub(super) cgroups: CgroupMounts,
}

impl World {
    /// The processes that matter: those that listen, the observed command's tree, and those noted.
    pub(super) fn processes_of_interest(&self) -> BTreeSet<u32> {
        self.owners.keys().chain(&self.generator).chain(&self.noted).copied().collect()
    }

    /// Whether it is one of those.
    pub(super) fn is_of_interest(&self, pid: u32) -> bool {
        self.owners.contains_key(&pid) || self.generator.contains(&pid) || self.noted.contains(&pid)
    }

    /// Where the probes counted something there is traffic, and the counters are of interest at once.
    pub(super) fn stir(&mut self, now_ns: u64, frame: &Frame) {
        let stirred: BTreeSet<u32> = frame.signals.iter().filter_map(|sample| sample.subject.netns).collect();
        for namespace in self.namespaces.iter_mut().filter(|namespace| stirred.contains(&namespace.id)) {
            namespace.active_ns = now_ns;
        }
        let lost = frame.signals.iter().filter(|sample| Signal::SENT_AGAIN.contains(&sample.signal));
        let losing: BTreeSet<u32> = lost.filter_map(|sample| sample.subject.netns).collect();
        for namespace in &mut self.namespaces {
            namespace.losing = losing.contains(&namespace.id);
        }
    }

    /// The namespaces whose turn it is at this tick.
    pub(super) fn due_namespaces(&mut self) -> impl Iterator<Item = &mut Namespace> {
        self.namespaces.iter_mut().filter(|namespace| namespace.due)
    }
}

/// A process.
#[derive(Clone, Debug, Default)]
pub(super) struct Process {
    /// Its network namespace; `None` where it may not be seen.
    pub(super) netns: Option<u32>,
    /// Looks at it so far: a young process is still changing.
    pub(super) looks: u8,
    /// What it takes another read to know, for those that matter.
    pub(super) details: Option<Details>,
}

/// What `/proc/PID/stat` says of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Details {
    /// Command name.
    pub(super) comm: String,
    /// Id of the parent.
    pub(super) parent: u32,
    /// Whether it is a thread of the kernel.
    pub(super) kernel: bool,
    /// Start in clock ticks since boot, which tells a process from a later one with the same id.
    pub(super) started: u64,
}

/// Limits of the whole host; `None` where they cannot be read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HostLimits {
    /// `net.ipv4.tcp_max_orphans`.
    pub(super) max_orphans: Option<u64>,
    /// Upper bound of `net.ipv4.tcp_mem`, in pages.
    pub(super) tcp_memory: Option<u64>,
}

/// A network namespace.
#[derive(Debug)]
pub(super) struct Namespace {
    /// Its inode number.
    pub(super) id: u32,
    /// A process of it, through which its files are read.
    pub(super) pid: u32,
    /// Whether observer lives in it.
    pub(super) own: bool,
    /// Its sockets for asking, or why there are none.
    pub(super) diag: Result<Diag, String>,
    /// When opening those sockets was last tried.
    pub(super) opened_ns: Option<u64>,
    /// Whether it is read at this tick.
    pub(super) due: bool,
    /// When it was read last.
    pub(super) read_ns: u64,
    /// Whether what may wait for a moment is read at this tick as well.
    pub(super) rest_due: bool,
    /// When that was read last.
    pub(super) rest_ns: u64,
    /// TCP segments that have arrived in it.
    pub(super) arrived: Option<u64>,
    /// When that was last seen to move.
    pub(super) arrival_ns: u64,
    /// TCP segments that were sent from it, again or for the first time.
    pub(super) sent: Option<u64>,
    /// When either was last seen to move.
    pub(super) active_ns: u64,
    /// Its latest read, if that found no segment for a while. What only a segment can change was then as it had
    /// been read last, so it need not be read again.
    pub(super) quiet: Option<Window>,
    /// Whether a probe saw something sent again since the tick before: it is judged by how much was sent.
    pub(super) losing: bool,
    /// What its listeners have dropped, as `netstat` counts it.
    pub(super) dropped: Option<u64>,
    /// Whether one of them is seen to have dropped something that `netstat` has not been read for.
    pub(super) dropping: bool,
    /// When `sockstat` was read last.
    pub(super) sockstat_ns: Option<u64>,
    /// TCP sockets of every kind, as `sockstat` counts them.
    pub(super) tcp_sockets: Option<u64>,
    /// The fewest of them since they were last looked through for their ports.
    pub(super) fewest_sockets: u64,
    /// Its listeners at the latest dump.
    pub(super) listeners: BTreeMap<SocketAddr, Listener>,
    /// Its sysctls.
    pub(super) sysctls: Sysctls,
    /// Its files that are read at every turn, as they were left open: each is the namespace's, whatever becomes of the
    /// process that it was opened through. `None` where they are not kept.
    kept: Option<BTreeMap<&'static str, Kept>>,
    /// When a process was last seen to live there.
    pub(super) seen_ns: u64,
}

impl Namespace {
    /// A namespace that was just found.
    pub(super) fn new(id: u32, pid: u32, own: bool) -> Self {
        Self {
            id,
            pid,
            own,
            diag: Err("not opened yet".into()),
            opened_ns: None,
            due: true,
            read_ns: 0,
            rest_due: true,
            rest_ns: 0,
            arrived: None,
            arrival_ns: 0,
            sent: None,
            active_ns: 0,
            quiet: None,
            losing: false,
            dropped: None,
            dropping: false,
            sockstat_ns: None,
            tcp_sockets: None,
            fewest_sockets: 0,
            listeners: BTreeMap::new(),
            sysctls: Sysctls::default(),
            kept: own.then(BTreeMap::new),
            seen_ns: 0,
        }
    }

    /// Whether its files stay open between two turns.
    pub(super) const fn keeps_files(&self) -> bool {
        self.kept.is_some()
    }

    /// Leaves its files open from now on, or closes them.
    pub(super) fn keep_files(&mut self, keep: bool) {
        if keep != self.keeps_files() {
            self.kept = keep.then(BTreeMap::new);
            // Before they are opened, its process is looked at.
            self.seen_ns = 0;
        }
    }

    /// Reads a file below `net/` of this namespace that is read at every turn.
    pub(super) fn read<'b>(
        &mut self,
        name: &'static str,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b str, SourceError> {
        let file = self.file(name);
        let Some(kept) = &mut self.kept else { return text::read(&file, buffer) };
        let kept = kept.entry(name).or_default();
        // Its process was looked at a while ago.
        if !self.own && !kept.is_open() && id_of(self.pid)? != self.id {
            return Err(SourceError::Unreadable { file, error: io::ErrorKind::NotFound.into() });
        }
        kept.read(&file, buffer)
    }

    /// The path of a file below `net/` of this namespace.
    pub(super) fn file(&self, name: &str) -> String {
        format!("/proc/{}/net/{name}", self.pid)
    }
}

/// Two sockets of one namespace: a long dump may stay under way on one while the other is asked.
#[derive(Debug)]
pub(super) struct Diag {
    /// For dumps that are received at once.
    pub(super) short: DiagSocket,
    /// For dumps that are received over several ticks; taken away while one is under way.
    pub(super) long: Option<DiagSocket>,
}

/// What listens on one address of a namespace: several sockets with SO_REUSEPORT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listener {
    /// Inodes of its sockets.
    pub(super) inodes: BTreeSet<u32>,
    /// Its cgroup, where all its sockets agree on one.
    pub(super) cgroup: Option<u64>,
    /// Limit of all its queues together.
    pub(super) backlog: u64,
}

impl Listener {
    /// Who set the limit of its queues: the kernel takes the smaller of the two.
    pub(super) fn limit_set_by(&self, somaxconn: Option<u64>) -> &'static str {
        let sockets = self.inodes.len().max(1) as u64;
        if somaxconn.is_some_and(|somaxconn| somaxconn.saturating_mul(sockets) == self.backlog) {
            "net.core.somaxconn"
        } else {
            "backlog argument"
        }
    }
}

/// Sysctls of a network namespace that give its numbers their limits; `None` where they cannot be read.
#[derive(Clone, Debug, Default)]
pub(super) struct Sysctls {
    /// When they were read last; 0 for never.
    pub(super) read_ns: u64,
    /// `net.core.somaxconn`.
    pub(super) somaxconn: Option<u64>,
    /// `net.ipv4.tcp_max_tw_buckets`.
    pub(super) max_time_wait: Option<u64>,
    /// `net.netfilter.nf_conntrack_max`, where connections are tracked at all.
    pub(super) max_conntrack: Option<u64>,
    /// `net.ipv4.ip_local_port_range`.
    pub(super) port_range: Option<(u16, u16)>,
    /// Ports of that range that are not in `net.ipv4.ip_local_reserved_ports`.
    pub(super) free_ports: Option<u64>,
}

/// A frame in which a probe counted one of each of these signals in a namespace.
#[cfg(test)]
pub(super) fn counted_in(netns: u32, signals: &[Signal]) -> Frame {
    use crate::core::{
        frame::{SignalSample, Tier},
        subject::Subject,
    };
    let counted = |signal: &Signal| SignalSample {
        signal: *signal,
        tier: Tier::Tracepoint,
        subject: Subject::namespace(netns),
        reason: None,
        generator: false,
        count: 1,
        first_ns: None,
        last_ns: None,
        peak: None,
        limit: None,
        read_ns: 2,
        since_ns: 1,
    };
    Frame { signals: signals.iter().map(counted).collect(), ..Frame::default() }
}

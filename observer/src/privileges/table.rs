//! The table: data, and nothing else.

use caps::Capability;
use serde::Serialize;

/// A Linux capability, and what it is good for.
#[derive(Clone, Copy, Debug)]
pub struct Privilege {
    /// The capability.
    pub capability: Capability,
    /// What it lets observer do.
    pub unlocks: &'static str,
    /// What becomes of that without it.
    pub without: &'static str,
    /// Those of the frame's sources that see less without it.
    pub sources: &'static [&'static str],
    /// How long it is needed.
    pub until: Until,
    /// Whether a service that watches the whole host wants it: docs/deploy/observer.service.
    pub for_service: bool,
}

/// How long a capability is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// Until the probes are attached and what is opened once is open. (CAP_BPF stays where the kernel does not
    /// let maps be read without it.)
    Attached,
    /// Until the command of `run` has been started: it is started with the rights of observer's caller.
    Started,
    /// While there is a command of `run`.
    CommandEnds,
    /// While a recording is written, in the threads that write it.
    Recorded,
    /// As long as anything is observed.
    Ends,
}

impl Until {
    /// All of them, those that last longest first.
    pub const ALL: [Self; 5] = [Self::Ends, Self::Recorded, Self::CommandEnds, Self::Started, Self::Attached];

    /// In words, about a capability.
    pub fn words(self) -> &'static str {
        match self {
            Self::Attached => "dropped once everything is attached",
            Self::Started => "dropped once COMMAND has been started",
            Self::CommandEnds => "kept for COMMAND, else dropped",
            Self::Recorded => "kept by the threads that write recordings",
            Self::Ends => "kept",
        }
    }
}

/// Every capability that observer has a use for; all others are given up with those that were only needed once.
pub const TABLE: &[Privilege] = &[
    Privilege {
        capability: Capability::CAP_BPF,
        unlocks: "load the probes and make their maps (before 5.19, with kernel.unprivileged_bpf_disabled, read them too)",
        without: "no probes: the kernel's own counters only",
        sources: &["probes"],
        until: Until::Attached,
        for_service: true,
    },
    Privilege {
        capability: Capability::CAP_PERFMON,
        unlocks: "let the probes trace the kernel, and attach them",
        without: "no probes: the kernel's own counters only",
        sources: &["probes"],
        until: Until::Attached,
        for_service: true,
    },
    Privilege {
        capability: Capability::CAP_SYS_RESOURCE,
        unlocks: "raise the limit on locked memory (before 5.11 the probes' maps count towards it)",
        without: "no probes on such a kernel where `ulimit -l` is small",
        sources: &["probes"],
        until: Until::Attached,
        // The unit says LimitMEMLOCK=infinity.
        for_service: false,
    },
    Privilege {
        capability: Capability::CAP_SYSLOG,
        unlocks: "open the kernel's log where kernel.dmesg_restrict is set, see addresses in /proc/kallsyms",
        without: "no lines of the log; throttled periods from cpu.stat, not to the nanosecond",
        sources: &["kmsg", "probes"],
        until: Until::Attached,
        for_service: true,
    },
    Privilege {
        capability: Capability::CAP_SETPCAP,
        unlocks: "shrink the bounding set",
        without: "it stays as it is; that nothing executed later gains a right, no_new_privs sees to",
        sources: &[],
        until: Until::Attached,
        // The unit says CapabilityBoundingSet.
        for_service: false,
    },
    Privilege {
        capability: Capability::CAP_CHOWN,
        unlocks: "hand the socket for marks to the user who called sudo",
        without: "`observer mark` does not reach a run under sudo",
        sources: &[],
        until: Until::Started,
        for_service: false,
    },
    Privilege {
        capability: Capability::CAP_SETGID,
        unlocks: "start COMMAND in the groups of the user who called sudo",
        without: "COMMAND cannot be started under sudo",
        sources: &[],
        until: Until::Started,
        for_service: false,
    },
    Privilege {
        capability: Capability::CAP_SETUID,
        unlocks: "start COMMAND as the user who called sudo",
        without: "COMMAND cannot be started under sudo",
        sources: &[],
        until: Until::Started,
        for_service: false,
    },
    Privilege {
        capability: Capability::CAP_KILL,
        unlocks: "pass signals on to a COMMAND of another user",
        without: "a signal sent to observer alone does not reach it",
        sources: &[],
        until: Until::CommandEnds,
        for_service: false,
    },
    Privilege {
        capability: Capability::CAP_DAC_OVERRIDE,
        unlocks: "record into a folder of another user: one's own, under sudo",
        without: "record where you may write",
        sources: &["recording", "ring"],
        until: Until::Recorded,
        // The unit has a StateDirectory of its own.
        for_service: false,
    },
    Privilege {
        capability: Capability::CAP_SYS_PTRACE,
        unlocks: "see namespaces and descriptors of other users' processes",
        without: "other network namespaces are not found; their listeners have no pid, and their descriptors no count",
        sources: &["processes", "namespaces", "owners", "descriptors"],
        until: Until::Ends,
        for_service: true,
    },
    Privilege {
        capability: Capability::CAP_DAC_READ_SEARCH,
        unlocks: "list /proc/PID/fd of other users' processes",
        without: "their listeners have no pid; before 6.2 their descriptors have no count",
        sources: &["owners", "descriptors"],
        until: Until::Ends,
        for_service: true,
    },
    Privilege {
        capability: Capability::CAP_SYS_ADMIN,
        unlocks: "visit other network namespaces, for sock_diag and sysctls",
        without: "no queue depths, half-open requests, ports in use and limits of other namespaces",
        sources: &["namespaces", "sysctls", "listeners", "syn_queues", "ports"],
        until: Until::Ends,
        for_service: true,
    },
];

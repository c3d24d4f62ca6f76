//! The table of probes: which program hooks what, for which signals, and when it is wanted.

use observer_common::Signal;

use crate::core::frame::Tier;

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Entry of a kernel function.
    FEntry(&'static str),
    /// Return of a kernel function.
    FExit(&'static str),
    /// A tracepoint with BTF.
    TracePoint(&'static str),
}

impl Hook {
    /// The tier that a signal is had on through this hook.
    pub fn tier(self) -> Tier {
        match self {
            Self::FEntry(_) | Self::FExit(_) => Tier::Trampoline,
            Self::TracePoint(_) => Tier::Tracepoint,
        }
    }

    /// As it is written in `coverage`.
    pub fn describe(self) -> String {
        match self {
            Self::FEntry(function) => format!("fentry {function}"),
            Self::FExit(function) => format!("fexit {function}"),
            Self::TracePoint(name) => format!("tp_btf {name}"),
        }
    }
}

/// When a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Always.
    Always,
    /// Only together with all of the named programs, without which it would count wrongly.
    With(&'static [&'static str]),
    /// Only where the named program was refused.
    Instead(&'static str),
    /// Only with `--precise`, and where the named program was refused: it costs every system call.
    PreciseInstead(&'static str),
}

/// One program of the object.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Its name in the object.
    pub program: &'static str,
    /// Where it is attached.
    pub hook: Hook,
    /// When.
    pub wanted: Wanted,
    /// What it counts.
    pub signals: &'static [Signal],
    /// Signals that it counts with [`observer_common::key_flags::FALLBACK`], for want of a trampoline.
    pub fallback: &'static [Signal],
}

/// Every probe, best first for each signal.
pub const PROBES: &[Probe] = &[
    Probe {
        program: "syn_queued",
        hook: Hook::FEntry("inet_csk_reqsk_queue_hash_add"),
        wanted: Wanted::Always,
        signals: &[],
        fallback: &[],
    },
    Probe {
        program: "syn_cookie_v4",
        hook: Hook::FEntry("cookie_v4_init_sequence"),
        wanted: Wanted::Always,
        signals: &[],
        fallback: &[],
    },
    Probe {
        program: "syn_cookie_v6",
        hook: Hook::FEntry("cookie_v6_init_sequence"),
        wanted: Wanted::Always,
        signals: &[],
        fallback: &[],
    },
    Probe {
        program: "syn_fast_open",
        hook: Hook::FEntry("inet_csk_reqsk_queue_add"),
        wanted: Wanted::Always,
        signals: &[],
        fallback: &[],
    },
    Probe {
        program: "syn_arrival",
        hook: Hook::FEntry("tcp_conn_request"),
        wanted: Wanted::Always,
        signals: &[Signal::SynArrival],
        fallback: &[],
    },
    Probe {
        program: "syn_fate",
        hook: Hook::FExit("tcp_conn_request"),
        // Not with the IPv6 cookie's: a kernel may have IPv6 as a module, or not at all.
        wanted: Wanted::With(&["syn_queued", "syn_cookie_v4", "syn_fast_open", "syn_arrival"]),
        signals: &[Signal::AcceptOverflowSyn, Signal::SynQueueDrop, Signal::SynCookie],
        fallback: &[],
    },
    Probe {
        program: "accept_overflow_v4",
        hook: Hook::FExit("tcp_v4_syn_recv_sock"),
        wanted: Wanted::Always,
        signals: &[Signal::AcceptOverflowAck],
        fallback: &[],
    },
    Probe {
        program: "accept_overflow_v6",
        hook: Hook::FExit("tcp_v6_syn_recv_sock"),
        wanted: Wanted::Always,
        signals: &[Signal::AcceptOverflowAck],
        fallback: &[],
    },
    Probe {
        program: "accept_enqueued",
        hook: Hook::TracePoint("sk_data_ready"),
        wanted: Wanted::Always,
        signals: &[Signal::AcceptEnqueued],
        fallback: &[],
    },
    Probe {
        program: "accept_enqueued_fentry",
        hook: Hook::FEntry("sock_def_readable"),
        wanted: Wanted::Instead("accept_enqueued"),
        signals: &[Signal::AcceptEnqueued],
        fallback: &[],
    },
    Probe {
        program: "port_search_failed",
        hook: Hook::FExit("__inet_hash_connect"),
        wanted: Wanted::Always,
        signals: &[Signal::PortSearchFailed],
        fallback: &[],
    },
    Probe {
        program: "bind_failed",
        hook: Hook::FExit("inet_csk_get_port"),
        wanted: Wanted::Always,
        signals: &[Signal::BindExhausted, Signal::BindCollision],
        fallback: &[],
    },
    Probe {
        program: "socket_state",
        hook: Hook::TracePoint("inet_sock_set_state"),
        wanted: Wanted::Always,
        signals: &[
            Signal::ConnectionAccepted,
            Signal::AcceptedClosed,
            Signal::ConnectAttempt,
            Signal::ConnectionOpened,
            Signal::OpenedClosed,
        ],
        fallback: &[Signal::PortSearchFailed],
    },
    Probe {
        program: "descriptor_limit",
        hook: Hook::FExit("alloc_fd"),
        wanted: Wanted::Always,
        signals: &[Signal::DescriptorLimit],
        fallback: &[],
    },
    Probe {
        program: "file_table_full",
        hook: Hook::FExit("alloc_empty_file"),
        wanted: Wanted::Always,
        signals: &[Signal::FileTableFull],
        fallback: &[],
    },
    Probe {
        program: "descriptor_limit_precise",
        hook: Hook::TracePoint("sys_exit"),
        wanted: Wanted::PreciseInstead("descriptor_limit"),
        signals: &[],
        fallback: &[Signal::DescriptorLimit, Signal::FileTableFull],
    },
    Probe {
        program: "process_fork",
        hook: Hook::TracePoint("sched_process_fork"),
        wanted: Wanted::Always,
        signals: &[],
        fallback: &[],
    },
    Probe {
        program: "process_exit",
        hook: Hook::TracePoint("sched_process_exit"),
        wanted: Wanted::Always,
        signals: &[],
        fallback: &[],
    },
];

/// The kernel's own counter that stands in for a signal where no probe counts it.
pub fn counter(signal: Signal) -> Option<&'static str> {
    Some(match signal {
        Signal::AcceptOverflowSyn | Signal::AcceptOverflowAck | Signal::ListenOverflow => {
            "TcpExt ListenOverflows, sk_drops of the listener"
        }
        Signal::ListenDrop => "TcpExt ListenDrops, sk_drops of the listener",
        Signal::SynQueueDrop => "TcpExt TCPReqQFullDrop",
        Signal::SynCookie => "TcpExt TCPReqQFullDoCookies",
        Signal::ConnectionAccepted => "Tcp PassiveOpens",
        Signal::ConnectAttempt => "Tcp ActiveOpens",
        Signal::AcceptEnqueued => "sock_diag queue depth",
        Signal::DescriptorLimit => "descriptors of the process at RLIMIT_NOFILE",
        Signal::FileTableFull => "fs.file-nr at fs.file-max",
        Signal::TimeWaitOverflow => "TcpExt TCPTimeWaitOverflow",
        Signal::ConntrackDrop => "nf_conntrack statistics, drop",
        Signal::ConntrackEarlyDrop => "nf_conntrack statistics, early_drop",
        Signal::SegmentsSent => "Tcp OutSegs",
        Signal::SegmentsRetransmitted => "Tcp RetransSegs",
        Signal::ResetSent => "Tcp OutRsts",
        Signal::OomKill => "memory.events oom_kill (v1: memory.oom_control)",
        Signal::MemoryMax => "memory.events max (v1: memory.failcnt)",
        Signal::MemoryHigh => "memory.events high",
        Signal::CpuThrottledPeriods => "cpu.stat nr_throttled",
        Signal::CpuPeriods => "cpu.stat nr_periods",
        Signal::CpuThrottledTime => "cpu.stat throttled_usec (v1: throttled_time)",
        Signal::SoftnetDrop => "softnet_stat, second column",
        Signal::SoftnetSqueeze => "softnet_stat, third column",
        Signal::CpuPressure => "/proc/pressure/cpu",
        Signal::MemoryPressure => "/proc/pressure/memory",
        Signal::IoPressure => "/proc/pressure/io",
        Signal::TimeWaitEntered
        | Signal::TimeWaitExited
        | Signal::RetransmitSyn
        | Signal::RetransmitSynAck
        | Signal::RetransmitFast
        | Signal::RetransmitTimeout
        | Signal::RetransmitProbe
        | Signal::ResetReceived
        | Signal::SynRefused
        | Signal::ConnectRefused
        | Signal::ConnectTimedOut
        | Signal::ConnectAbandoned
        | Signal::MemoryReclaim
        | Signal::CpuThrottle
        | Signal::PacketDropped
        | Signal::SynArrival
        | Signal::AcceptedClosed
        | Signal::ConnectionOpened
        | Signal::OpenedClosed
        | Signal::PortSearchFailed
        | Signal::BindExhausted
        | Signal::BindCollision => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_has_a_source_and_every_replacement_names_a_probe() {
        for signal in Signal::ALL {
            let probed = PROBES.iter().any(|p| p.signals.contains(signal) || p.fallback.contains(signal));
            assert!(probed || counter(*signal).is_some(), "{}", signal.name());
        }
        for probe in PROBES {
            let others: &[&str] = match &probe.wanted {
                Wanted::Always => &[],
                Wanted::With(others) => others,
                Wanted::Instead(other) | Wanted::PreciseInstead(other) => std::slice::from_ref(other),
            };
            for other in others {
                assert!(PROBES.iter().any(|p| p.program == *other), "{other}");
            }
        }
    }
}

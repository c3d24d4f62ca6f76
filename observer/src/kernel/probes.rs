//! The probes: which program hooks what, for which signals, and when it is wanted. The table itself is in
//! [`table`], by family.

mod table;

use observer_common::{Offsets, Signal};

use crate::core::frame::Tier;

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Entry of a kernel function.
    FEntry(&'static str),
    /// Return of a kernel function.
    FExit(&'static str),
    /// Entry of a kernel function, by way of a breakpoint: dearer, but it takes any function.
    KProbe(&'static str),
    /// Return of a kernel function, by way of a breakpoint.
    KRetProbe(&'static str),
    /// A tracepoint with BTF.
    TracePoint(&'static str),
}

impl Hook {
    /// The tier that a signal is had on through this hook.
    pub fn tier(self) -> Tier {
        match self {
            Self::FEntry(_) | Self::FExit(_) => Tier::Trampoline,
            Self::KProbe(_) | Self::KRetProbe(_) => Tier::Kprobe,
            Self::TracePoint(_) => Tier::Tracepoint,
        }
    }

    /// As it is written in `coverage`.
    pub fn describe(self) -> String {
        let (kind, at) = match self {
            Self::FEntry(function) => ("fentry", function),
            Self::FExit(function) => ("fexit", function),
            Self::KProbe(function) => ("kprobe", function),
            Self::KRetProbe(function) => ("kretprobe", function),
            Self::TracePoint(name) => ("tp_btf", name),
        };
        format!("{kind} {at}")
    }
}

/// When a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Always.
    Always,
    /// Only where there is a command: it costs every process that begins or ends.
    WithCommand,
    /// Only where all of the named programs are wanted, and together with them: without, it would count
    /// wrongly.
    With(&'static [&'static str]),
    /// Only where the named program is attached: where it was refused, another one stands in for both.
    Beside(&'static str),
    /// Only where the named program was refused.
    Instead(&'static str),
    /// Only with `--precise`, and where the named program was refused: it costs every system call.
    PreciseInstead(&'static str),
}

/// What a program cannot do without, and the verifier does not know of.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// A tracepoint that gives at least so many arguments.
    Arguments {
        /// How many it gives on this kernel.
        given: fn(&Offsets) -> u32,
        /// How many are needed.
        at_least: u32,
        /// What it means that there are fewer.
        otherwise: &'static str,
    },
    /// nf_conntrack, loaded before observer starts.
    Conntrack,
    /// The address of `sched_cfs_period_timer`.
    PeriodTimer,
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
    /// What else it takes.
    pub needs: Need,
    /// What it counts.
    pub signals: &'static [Signal],
    /// Signals that it counts with [`observer_common::key_flags::FALLBACK`], for want of a trampoline.
    pub fallback: &'static [Signal],
}

impl Probe {
    /// A program that is always wanted.
    const fn new(program: &'static str, hook: Hook, signals: &'static [Signal]) -> Self {
        Self { program, hook, wanted: Wanted::Always, needs: Need::Nothing, signals, fallback: &[] }
    }

    const fn wanted(self, wanted: Wanted) -> Self {
        Self { wanted, ..self }
    }

    const fn needs(self, needs: Need) -> Self {
        Self { needs, ..self }
    }

    const fn or_fallback(self, fallback: &'static [Signal]) -> Self {
        Self { fallback, ..self }
    }
}

/// Every probe, best first for each signal, and each after those that its [`Wanted`] names.
pub fn all() -> impl Iterator<Item = &'static Probe> {
    table::FAMILIES.iter().copied().flatten()
}

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
        Signal::DescriptorLimit => "descriptors of the process at RLIMIT_NOFILE",
        Signal::FileTableFull => "fs.file-nr at fs.file-max",
        Signal::TimeWaitOverflow => "TcpExt TCPTimeWaitOverflow",
        Signal::ConntrackDrop => "nf_conntrack statistics, drop",
        Signal::ConntrackEarlyDrop => "nf_conntrack statistics, early_drop",
        Signal::SegmentsSent => "Tcp OutSegs",
        Signal::SegmentsRetransmitted => "Tcp RetransSegs",
        Signal::RetransmitFailed => "TcpExt TCPRetransFail",
        Signal::ResetSent => "Tcp OutRsts",
        Signal::OomKill => "memory.events oom_kill (v1: memory.oom_control)",
        Signal::MemoryMax => "memory.events max (v1: memory.failcnt and memory.memsw.failcnt)",
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
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_signal_has_a_source() {
        for signal in Signal::ALL {
            let probed = all().any(|p| p.signals.contains(signal) || p.fallback.contains(signal));
            assert!(probed || counter(*signal).is_some(), "{}", signal.name());
        }
    }

    #[test]
    fn a_probe_names_only_others_that_come_before_it() {
        let mut before = BTreeSet::new();
        for probe in all() {
            let others: &[&str] = match &probe.wanted {
                Wanted::Always | Wanted::WithCommand => &[],
                Wanted::With(others) => others,
                Wanted::Beside(other) | Wanted::Instead(other) | Wanted::PreciseInstead(other) => {
                    std::slice::from_ref(other)
                }
            };
            for other in others {
                assert!(before.contains(other), "{} before {}", other, probe.program);
            }
            assert!(before.insert(probe.program), "{} is there twice", probe.program);
        }
    }
}

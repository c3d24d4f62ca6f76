//! On which tier each signal is had, by which hooks, and why on no better one.

use std::collections::BTreeSet;

use observer_common::Signal;

use super::{
    attach::{Attached, NO_CONNTRACK, NO_KPROBES, NOT_PERMITTED},
    probes::{self, Hook, Probe, counter},
};
use crate::core::frame::{SignalCoverage, Tier};

/// The tier of each signal when nothing could be loaded, and why.
pub fn without_probes(reason: &str) -> Vec<SignalCoverage> {
    of_all(&[], Some(reason))
}

pub(super) fn of_all(attached: &[Attached], nothing_loaded: Option<&str>) -> Vec<SignalCoverage> {
    Signal::ALL
        .iter()
        .map(|signal| {
            let why: BTreeSet<String> = attached
                .iter()
                .filter(|a| a.probe.signals.contains(signal))
                .filter_map(|a| Some(refusal(a.probe.hook, a.refused.as_deref()?)))
                .collect();
            let why_degraded = match nothing_loaded {
                Some(reason) if probed(*signal) => Some(reason.to_owned()),
                _ => (!why.is_empty()).then(|| why.into_iter().collect::<Vec<_>>().join("; ")),
            };
            let (tier, source) = match (tier(attached, *signal), counter(*signal)) {
                (Some(tier), _) => (tier, hooks(attached, *signal)),
                (None, Some(counter)) => (Tier::Counter, counter.to_owned()),
                (None, None) => (Tier::Absent, "none".to_owned()),
            };
            SignalCoverage { signal: *signal, tier, source, why_degraded }
        })
        .collect()
}

/// The tier that the probes give a signal; where several count it, each for a part of it, the lowest.
pub(super) fn tier(attached: &[Attached], signal: Signal) -> Option<Tier> {
    counting(attached, signal).map(|probe| probe.hook.tier()).max()
}

/// Whether the fallback cells of a signal are the ones to read.
pub(super) fn reads_fallback(attached: &[Attached], signal: Signal) -> bool {
    !working(attached).any(|probe| probe.signals.contains(&signal))
}

fn hooks(attached: &[Attached], signal: Signal) -> String {
    counting(attached, signal).map(|probe| probe.hook.describe()).collect::<Vec<_>>().join(", ")
}

fn counting(attached: &[Attached], signal: Signal) -> impl Iterator<Item = &Probe> {
    let fallback = reads_fallback(attached, signal);
    working(attached).filter(move |probe| {
        let signals = if fallback { probe.fallback } else { probe.signals };
        signals.contains(&signal)
    })
}

fn working(attached: &[Attached]) -> impl Iterator<Item = &Probe> {
    attached.iter().filter(|a| a.refused.is_none()).map(|a| &a.probe)
}

/// Why a hook is not had: a kernel that forbids one trampoline forbids them all.
fn refusal(hook: Hook, why: &str) -> String {
    match hook.tier() {
        Tier::Trampoline if why == NOT_PERMITTED => format!("this kernel refuses fentry and fexit ({why})"),
        Tier::Kprobe if why == NOT_PERMITTED => format!("this kernel refuses kprobes ({why})"),
        _ if matches!(why, NO_KPROBES | NO_CONNTRACK) => why.to_owned(),
        _ => format!("{} cannot be attached ({why})", hook.describe()),
    }
}

fn probed(signal: Signal) -> bool {
    probes::all().any(|probe| probe.signals.contains(&signal))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Options;

    /// The table on a kernel that refuses what `refuses` names.
    fn attached(refuses: impl Fn(&Probe) -> bool) -> Vec<Attached> {
        let mut attached: Vec<Attached> = Vec::new();
        for probe in probes::all() {
            if Attached::is_wanted(probe, Options::default(), &attached) {
                let refused = refuses(probe).then(|| "refused".to_owned());
                attached.push(Attached { probe: *probe, refused, verified_instructions: None, load_ms: 0.0 });
            }
        }
        attached
    }

    fn of(attached: &[Attached], signal: Signal) -> (Tier, String) {
        let found = of_all(attached, None).into_iter().find(|coverage| coverage.signal == signal);
        found.map_or((Tier::Absent, String::new()), |coverage| (coverage.tier, coverage.source))
    }

    #[test]
    fn a_signal_is_counted_once() {
        let everything = attached(|_| false);
        assert_eq!(of(&everything, Signal::ResetSent), (Tier::Tracepoint, "tp_btf tcp_send_reset".into()));
        assert_eq!(of(&everything, Signal::ConntrackDrop), (Tier::Trampoline, "fexit early_drop".into()));
        assert_eq!(of(&everything, Signal::CpuPeriods), (Tier::Counter, "cpu.stat nr_periods".into()));
        let sources = "fexit tcp_v4_syn_recv_sock, fexit tcp_v6_syn_recv_sock";
        assert_eq!(of(&everything, Signal::AcceptOverflowAck), (Tier::Trampoline, sources.into()));
    }

    #[test]
    fn what_is_refused_is_stood_in_for() {
        let tracepoints = attached(|probe| probe.hook.tier() != Tier::Tracepoint);
        let twsk = (Tier::Tracepoint, "tp_btf inet_sock_set_state".to_owned());
        assert_eq!(of(&tracepoints, Signal::TimeWaitEntered), twsk);
        assert_eq!(of(&tracepoints, Signal::CpuPeriods).0, Tier::Tracepoint);
        assert_eq!(of(&tracepoints, Signal::ConntrackDrop).0, Tier::Counter);
        assert_eq!(of(&tracepoints, Signal::PortSearchFailed).0, Tier::Tracepoint);
        let without_ipv6 = attached(|probe| probe.program == "accept_overflow_v6");
        let sources = "fexit tcp_v4_syn_recv_sock, kretprobe tcp_v6_syn_recv_sock";
        assert_eq!(of(&without_ipv6, Signal::AcceptOverflowAck), (Tier::Kprobe, sources.into()));
    }
}

//! What has to have moved for one fault line to be the cause of another, and the sentence that says so.

use std::net::SocketAddr;

use observer_common::Signal;

use super::{Onset, Rates};
use crate::core::{detect::Policy, ledger::Ledger, lines::oom_kill, subject::Subject};

/// Share of the former accept rate below which accepting has stalled.
const STALLED_RATIO: f64 = 0.5;
/// Share of the periods, and of the time, for which a service that throttling held up was stopped.
const STOPPED_RATIO: f64 = 0.25;
/// What comes of throttled periods is looked for this long after them, and what was normal this long before.
const PERIODS_NS: u64 = 1_000_000_000;

pub(super) fn accept_stalled(
    cause: &Onset,
    effect: &Onset,
    ledger: &Ledger,
    rates: &dyn Rates,
) -> Option<String> {
    let (netns, listener) = (effect.subject.netns?, effect.subject.listener?);
    let pid = cause.subject.pid?;
    if !ledger.owners.get(&(netns, listener))?.contains(&pid) {
        return None;
    }
    let (before, after) = rates.accepted_around(effect.subject, cause.at, effect.at)?;
    if before <= 0.0 || after > before * STALLED_RATIO {
        return None;
    }
    Some(format!(
        "without a descriptor {} could not accept: it took up to {before:.0} connections/s from the queue of \
         {listener} before, down to {after:.0}/s after",
        name(ledger, pid)
    ))
}

pub(super) fn same_listener(cause: &Onset, effect: &Onset) -> Option<String> {
    let listener = effect.subject.listener?;
    (cause.subject == effect.subject).then(|| {
        format!(
            "with the accept queue of {listener} full, final ACKs are dropped and handshakes stay half-open"
        )
    })
}

pub(super) fn service_throttled(
    cause: &Onset,
    effect: &Onset,
    ledger: &Ledger,
    rates: &dyn Rates,
) -> Option<String> {
    let (netns, listener) = (effect.subject.netns?, effect.subject.listener?);
    let owners = ledger.owners.get(&(netns, listener))?;
    let pid = owners.iter().copied().find(|pid| ledger.is_in_cgroup(*pid, cause.subject))?;
    let until_ns = effect.at.hi_ns.max(cause.at.hi_ns) + PERIODS_NS;
    let during = rates.throttling(cause.subject, cause.at.lo_ns, until_ns)?;
    let before_ns = cause.at.lo_ns.saturating_sub(PERIODS_NS);
    let before = rates.throttling(cause.subject, 0, before_ns).map_or(0.0, |before| before.periods_ratio);
    // Where it was stopped most of the time before, it must be stopped more often still.
    let rose =
        during.periods_ratio >= STOPPED_RATIO.max((before * Policy::OVER_BASELINE).min((1.0 + before) / 2.0));
    if !rose || during.stopped_ratio.is_some_and(|stopped| stopped < STOPPED_RATIO) {
        return None;
    }
    let (accepted_before, accepted) = rates.accepted_around(effect.subject, cause.at, effect.at)?;
    let arrived = rates.arrived_per_s(effect.subject, effect.at.lo_ns, effect.at.hi_ns + PERIODS_NS)?;
    // A service that keeps up with what arrives was not held up.
    if accepted >= arrived.max(accepted_before) {
        return None;
    }
    let stood = during
        .stopped_ratio
        .map_or_else(String::new, |stopped| format!(" and stood still for {stopped:.1} s per second"));
    Some(format!(
        "{} was stopped in {:.0} % of its quota's periods (before: {:.0} %){stood}: it took {accepted:.0} \
         connections/s from the queue of {listener} while {arrived:.0}/s arrived",
        name(ledger, pid),
        during.periods_ratio * 100.0,
        before * 100.0,
    ))
}

pub(super) fn handshakes_dropped(cause: &Onset, effect: &Onset, ledger: &Ledger) -> Option<String> {
    let (netns, listener) = ledger.listener_behind(effect.subject)?;
    if *cause.subject != Subject::listener(netns, listener) {
        return None;
    }
    let handshakes = retransmitted_handshakes(effect, ledger)?;
    Some(format!(
        "{listener} drops SYNs and final ACKs without a word, so {handshakes} SYNs and SYN-ACKs were sent again"
    ))
}

pub(super) fn dropped_untracked(cause: &Onset, effect: &Onset, ledger: &Ledger) -> Option<String> {
    let netns = cause.subject.netns?;
    let behind = ledger.listener_behind(effect.subject).map(|(netns, _)| netns);
    if effect.subject.netns != Some(netns) && behind != Some(netns) && ledger.own_netns != Some(netns) {
        return None;
    }
    let handshakes = retransmitted_handshakes(effect, ledger)?;
    let dropped = ledger.in_run(Signal::ConntrackDrop, cause.subject)?;
    Some(format!(
        "netns {netns} dropped {dropped} packets for want of room in its tracking table, so {handshakes} SYNs and \
         SYN-ACKs were sent again"
    ))
}

/// SYNs and SYN-ACKs that were sent again, where they are most of what was: what drops handshakes leaves
/// established connections alone.
fn retransmitted_handshakes(effect: &Onset, ledger: &Ledger) -> Option<u64> {
    let sum = |signals: &[Signal]| -> u64 {
        signals.iter().filter_map(|signal| ledger.in_run(*signal, effect.subject)).sum()
    };
    let handshakes = sum(&[Signal::RetransmitSyn, Signal::RetransmitSynAck]);
    let data = sum(&[Signal::RetransmitFast, Signal::RetransmitTimeout]);
    (handshakes > 0 && handshakes >= data).then_some(handshakes)
}

pub(super) fn syns_lost(cause: &Onset, effect: &Onset, ledger: &Ledger) -> Option<String> {
    let destination = effect.subject.destination?;
    let again = ledger.in_run(Signal::RetransmitSyn, effect.subject)?;
    (cause.subject == effect.subject && again > 0).then(|| {
        format!(
            "SYNs to {destination} were lost, and so were those sent again ({again}), until clients gave up"
        )
    })
}

pub(super) fn abort_on_overflow(cause: &Onset, effect: &Onset, ledger: &Ledger) -> Option<String> {
    let (netns, listener) = ledger.listener_behind(effect.subject)?;
    let setting = ("net.ipv4.tcp_abort_on_overflow".to_owned(), format!("netns {netns}"));
    let aborts = ledger.limits.get(&setting).is_some_and(|limit| limit.value != "0");
    (aborts && *cause.subject == Subject::listener(netns, listener)).then(|| {
        format!(
            "net.ipv4.tcp_abort_on_overflow is set: {listener} answers what it has no room for with a reset"
        )
    })
}

pub(super) fn victim_served(cause: &Onset, effect: &Onset, ledger: &Ledger) -> Option<String> {
    let at = effect.subject.listener.or(effect.subject.destination)?;
    let victim = ledger.series.get(&(Signal::OomKill, cause.subject.clone())).and_then(|series| series.pid);
    let is_victim = |pid: &u32| {
        victim == Some(*pid) || (ledger.victims.contains_key(pid) && ledger.is_in_cgroup(*pid, cause.subject))
    };
    let served = owners_at(ledger, effect.subject, at);
    let pid = served.into_iter().find(is_victim)?;
    let why = if oom_kill::is_whole_host(ledger, cause.subject, Some(pid)) { " of the host" } else { "" };
    Some(format!("{}, which served {at}, was killed for want of memory{why}", name(ledger, pid)))
}

/// Who held the listener at an address. The listener may be gone, and nobody behind the destination.
fn owners_at(ledger: &Ledger, subject: &Subject, at: SocketAddr) -> Vec<u32> {
    let behind = ledger.listener_behind(subject);
    let is_there = |(netns, listener): &(u32, SocketAddr)| {
        behind == Some((*netns, *listener))
            || (subject.netns == Some(*netns)
                && listener.port() == at.port()
                && (listener.ip() == at.ip() || listener.ip().is_unspecified()))
    };
    let owners = ledger.owners.iter().filter(|(place, _)| is_there(place));
    owners.flat_map(|(_, pids)| pids.iter().copied()).collect()
}

pub(super) fn same_memory(cause: &Onset, effect: &Onset, ledger: &Ledger) -> Option<String> {
    let path = |subject: &Subject| ledger.cgroup_paths.get(&(subject.controller, subject.cgroup?)).cloned();
    let same = cause.subject == effect.subject;
    let above = || {
        let (cause, effect) = (path(cause.subject)?, path(effect.subject)?);
        Some(crate::core::scope::is_below(&effect, &cause))
    };
    let met: u64 = [Signal::MemoryMax, Signal::MemoryHigh]
        .iter()
        .filter_map(|signal| ledger.in_run(*signal, cause.subject))
        .sum();
    (same || above() == Some(true)).then(|| {
        format!("memory was reclaimed at the limit {met} times, until there was nothing left to reclaim")
    })
}

fn name(ledger: &Ledger, pid: u32) -> String {
    let comm = ledger.processes.get(&pid).map_or("the service", |process| process.comm.as_str());
    format!("{comm} (pid {pid})")
}

//! The wording of a report, once for every format.

use std::{cmp::Reverse, collections::BTreeMap};

use super::numbers::{bytes, count, decimal, duration, instant, percent};
use crate::core::{
    frame::Resource,
    verdict::{Headroom, Hit, HitSubject, HitUsage, Link, Load, LogEntry, Spell, Verdict},
};

/// An interval narrower than this is not worth a word: it is how exactly probes know.
const EXACT_S: f64 = 0.001;

/// What broke first, when and under how much load.
pub(crate) fn broke_first(verdict: &Verdict) -> String {
    let Some(first) = &verdict.first else {
        return "Something broke, but what broke first cannot be told.".to_owned();
    };
    let names = unique(std::iter::once(first).chain(&verdict.co_first).map(|hit| hit.fault_line.as_str()));
    let tie = if verdict.co_first.is_empty() { "" } else { ", too close to tell apart" };
    format!("{} broke first{tie}: {}.", listing(&names), when(first))
}

/// That nothing broke, and what came closest.
pub(crate) fn nothing_broke(verdict: &Verdict) -> String {
    let load = peak_load(verdict).map_or(String::new(), |load| format!(" at up to {load}"));
    match verdict.headroom.first() {
        Some(closest) => format!("Nothing broke{load}: closest was {}.", use_of(closest)),
        None => format!("Nothing broke{load}."),
    }
}

/// That one cannot tell.
pub(crate) fn inconclusive(verdict: &Verdict) -> String {
    let names = unique(verdict.not_measurable.iter().map(|note| note.fault_line.as_str()));
    if names.is_empty() {
        return "Inconclusive: nothing was seen to break, but too little could be seen to be sure."
            .to_owned();
    }
    format!("Inconclusive: nothing was seen to break, but {} could not be judged.", listing(&names))
}

/// What came closest to its limit: `the accept queue of 0.0.0.0:8080 at 61 % (78 of 128)`.
pub(crate) fn use_of(headroom: &Headroom) -> String {
    let Headroom { resource, subject, peak_used, limit, ratio, .. } = headroom;
    let (used, limit) = (amount(resource, *peak_used), self::limit(resource, *limit));
    format!("the {} of {} at {} ({used} of {limit})", words(resource), place(subject), percent(*ratio))
}

/// The load at its highest, as the phases tell.
fn peak_load(verdict: &Verdict) -> Option<String> {
    let highest = |rate: fn(&Load) -> Option<f64>| {
        verdict.phases.iter().filter_map(|phase| rate(&phase.load)).max_by(f64::total_cmp)
    };
    let load = Load {
        connections_per_s: highest(|load| load.connections_per_s),
        requests_per_s: highest(|load| load.requests_per_s),
        virtual_users: highest(|load| load.virtual_users),
        ..Load::default()
    };
    load_words(&load)
}

/// `4.2 s after the start (± 50 ms), in ramp_up, at 3,412 connections/s`.
pub(crate) fn when(hit: &Hit) -> String {
    let mut words = since_start(hit.onset_s);
    if let Some(margin) = margin(hit) {
        words += &format!(" (± {margin})");
    }
    if let Some(phase) = &hit.phase {
        words += &format!(", in {phase}");
    }
    if let Some(load) = load_words(&hit.load) {
        words += &format!(", at {load}");
    }
    words
}

pub(super) fn since_start(seconds: f64) -> String {
    if seconds < 0.0 {
        format!("{} before the start", duration(-seconds))
    } else {
        format!("{} after the start", duration(seconds))
    }
}

/// How far the onset may be off; `None` where it is exact.
pub(crate) fn margin(hit: &Hit) -> Option<String> {
    let off = (hit.onset_s - hit.onset_lo_s).max(hit.onset_hi_s - hit.onset_s);
    (off >= EXACT_S).then(|| duration(off))
}

/// The load in words, the user's own measure first.
pub(crate) fn load_words(load: &Load) -> Option<String> {
    let known = [
        load.virtual_users.map(|users| format!("{} virtual users", decimal(users.round()))),
        load.requests_per_s.map(|rate| format!("{} requests/s", decimal(rate))),
        load.connections_per_s.map(|rate| format!("{} connections/s", decimal(rate))),
    ];
    let known: Vec<String> = known.into_iter().flatten().collect();
    (!known.is_empty()).then(|| known.join(", "))
}

/// Why, as a sentence.
pub(crate) fn because(hit: &Hit) -> String {
    full_stop(&hit.because)
}

/// Text that begins and ends as a sentence does.
pub(super) fn full_stop(text: &str) -> String {
    let text = text.trim();
    let text = match text.strip_prefix("the ") {
        Some(rest) => format!("The {rest}"),
        None => text.to_owned(),
    };
    if text.is_empty() || text.ends_with(['.', '!', '?']) { text } else { text + "." }
}

/// Where, in as few words as name it.
pub(crate) fn place(subject: &HitSubject) -> String {
    let HitSubject { listener, destination, source, netns, cgroup, container, pid, comm, device } = subject;
    if let Some(listener) = listener {
        return listener.to_string();
    }
    if let Some(destination) = destination {
        let from = source.map_or(String::new(), |source| format!("{source} -> "));
        return format!("{from}{destination}");
    }
    match (comm, pid) {
        (Some(comm), Some(pid)) => return format!("{comm} (pid {pid})"),
        (Some(comm), None) => return comm.clone(),
        (None, Some(pid)) => return format!("pid {pid}"),
        (None, None) => {}
    }
    if let Some(container) = container {
        return format!("container {container}");
    }
    match (cgroup, device, netns) {
        (Some(cgroup), _, _) => format!("cgroup {cgroup}"),
        (None, Some(device), _) => device.clone(),
        (None, None, Some(netns)) => format!("netns {netns}"),
        (None, None, None) => "the host".to_owned(),
    }
}

/// So much of a resource.
pub(crate) fn amount(resource: &str, used: u64) -> String {
    if resource == Resource::Memory.name() { bytes(used) } else { count(used) }
}

/// A limit; some are so high that they say only that there is none.
pub(crate) fn limit(resource: &str, limit: u64) -> String {
    const NONE: u64 = 1 << 62;
    if limit >= NONE { "no limit".to_owned() } else { amount(resource, limit) }
}

/// A line of the kernel's log.
pub(crate) fn log(entry: &LogEntry) -> String {
    format!("The kernel's log at {}: {}", instant(entry.at_s), entry.text)
}

/// The kernel's reasons, the most frequent first: `TCP_ABORT_ON_CLOSE 40, TCP_STATE 2`.
pub(crate) fn reasons(reasons: &BTreeMap<String, u64>) -> String {
    let mut sorted: Vec<_> = reasons.iter().collect();
    sorted.sort_by_key(|(name, times)| (Reverse(**times), name.as_str()));
    let words: Vec<String> =
        sorted.iter().map(|(name, times)| format!("{name} {}", count(**times))).collect();
    words.join(", ")
}

/// Everything known about where, for the one hit that matters most.
pub(crate) fn place_in_full(subject: &HitSubject) -> String {
    let HitSubject { listener, destination, netns, cgroup, container, pid, comm, .. } = subject;
    let place = place(subject);
    let mut more = Vec::new();
    if listener.is_some() || destination.is_some() {
        more.extend(comm.clone());
        more.extend(pid.map(|pid| format!("pid {pid}")));
    }
    more.extend(container.as_ref().map(|container| format!("container {container}")));
    more.extend(cgroup.as_ref().map(|cgroup| format!("cgroup {cgroup}")));
    more.extend(netns.map(|netns| format!("netns {netns}")));
    more.retain(|more| *more != place);
    more.insert(0, place);
    format!("Where: {}.", more.join(", "))
}

/// What ran out, of how much, and who set that.
pub(crate) fn usage(usage: &HitUsage) -> String {
    let HitUsage { resource, used, limit, peak_ratio, limit_set_by } = usage;
    let of = limit.map_or(String::new(), |limit| format!(" of {}", self::limit(resource, limit)));
    let ratio = peak_ratio.map_or(String::new(), |ratio| format!(" ({})", percent(ratio)));
    let set_by = limit_set_by.as_ref().map_or(String::new(), |by| {
        let article = if by.ends_with("argument") { "the " } else { "" };
        format!("; the limit is set by {article}{by}")
    });
    format!("Peak use of {}: {}{of}{ratio}{set_by}.", words(resource), amount(resource, *used))
}

/// When it was active.
pub(crate) fn spells(spells: &[Spell]) -> Option<String> {
    let each: Vec<String> = spells
        .iter()
        .map(|spell| {
            let end = spell.end_s.map_or("the end".to_owned(), duration);
            format!("{} to {end} ({} times)", duration(spell.onset_s), count(spell.count))
        })
        .collect();
    (!each.is_empty()).then(|| format!("Active from {}.", each.join(", ")))
}

/// One hit in one line, for those that are not the first.
pub(crate) fn also(hit: &Hit) -> String {
    let cause = hit.explained_by.as_ref().map_or(String::new(), |cause| format!(" [caused by {cause}]"));
    format!("{} at {}, {}{cause}: {}", hit.fault_line, place(&hit.subject), when(hit), because(hit))
}

/// Where to read how to verify and remedy hits that have no section of their own.
pub(crate) fn more_on<'a>(hits: impl Iterator<Item = &'a Hit>) -> Option<String> {
    let names = unique(hits.map(|hit| hit.fault_line.as_str()));
    (!names.is_empty())
        .then(|| format!("How to verify and remedy: observer explain {}", names.join(", observer explain ")))
}

/// A causal link.
pub(crate) fn link(link: &Link) -> String {
    let Link { cause, effect, lag_s, mechanism } = link;
    format!("{cause} -> {effect}, {} later: {}", duration(*lag_s), mechanism.trim())
}

/// The name of a resource in words.
pub(crate) fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn listing(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}

/// The first few of many.
pub(crate) fn some_of(names: &[&str]) -> String {
    const SHOWN: usize = 3;
    match names.get(..SHOWN).filter(|_| names.len() > SHOWN + 1) {
        Some(shown) => format!("{} and {} more", shown.join(", "), names.len() - SHOWN),
        None => listing(names),
    }
}

/// In order, each once.
pub(crate) fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

//! The wording about the run and the observing itself.

use std::collections::BTreeMap;

use super::{
    numbers::{bytes, count, duration, percent, plural},
    sentence::{listing, some_of, unique},
};
use crate::core::{
    compare::Comparison,
    frame::{SignalCoverage, Tier},
    time::from_rfc3339,
    verdict::{Coverage, OwnCost, Run, Verdict},
};

/// How much of what one would like to see could be seen.
pub(super) fn coverage(coverage: &Coverage) -> String {
    let signals = &coverage.signals;
    let on = |wanted: fn(Tier) -> bool| signals.iter().filter(move |it| wanted(it.tier));
    let probes = on(Tier::is_probe).count();
    let counters = on(|tier| tier == Tier::Counter).count();
    let absent = unique(on(|tier| tier == Tier::Absent).map(|it| it.signal.name()));
    let parts: Vec<String> = [
        (probes, "came from probes in the kernel".to_owned()),
        (counters, "came from the kernel's counters".to_owned()),
        (absent.len(), format!("could not be had ({})", some_of(&absent))),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, how)| if number == signals.len() { how } else { format!("{number} {how}") })
    .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let all = plural(signals.len(), "signal", "signals");
    let mut words = match parts.as_slice() {
        [] => "No signal was looked for.".to_owned(),
        [how] => format!("All {all} {how}."),
        parts => format!("Of {all}, {}.", listing(parts)),
    };
    for (why, names) in degraded(signals) {
        words += &format!(" Degraded because {why}: {}.", some_of(&names));
    }
    let lost = match lost(&coverage.events_lost) {
        lost if lost.is_empty() => "none lost".to_owned(),
        lost => format!("lost: {lost}"),
    };
    if probes > 0 || coverage.events_seen > 0 || lost != "none lost" {
        words += &format!(" {} events counted, {lost}.", count(coverage.events_seen));
    }
    if coverage.ticks_late > 0 {
        words += &format!(" {} began late.", plural(coverage.ticks_late as usize, "tick", "ticks"));
    }
    words
}

/// What is missing from the counts, by reason; nothing where nothing is.
pub(super) fn lost(events_lost: &BTreeMap<String, u64>) -> String {
    let lost = events_lost.iter().filter(|(_, lost)| **lost > 0);
    lost.map(|(reason, lost)| loss(reason, *lost)).collect::<Vec<_>>().join(", ")
}

/// What is missing, and why.
fn loss(reason: &str, lost: u64) -> String {
    let (kind, of) = reason.split_once(':').unwrap_or((reason, ""));
    let lost = count(lost);
    match kind {
        "map_full" => format!("{lost} of {of}, for want of room in a map"),
        "ring_full" => format!("{lost} first occurrences, for want of room in the ring"),
        "recursion" => format!("{lost} runs of {of} that the kernel skipped, being in it already"),
        "unseen" => format!("{lost} {of} that the kernel counted and no probe saw"),
        _ => format!("{lost} to {reason}"),
    }
}

/// The signals that are not had on their best tier, by what stands in the way.
fn degraded(signals: &[SignalCoverage]) -> Vec<(&str, Vec<&str>)> {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for coverage in signals {
        let Some(why) = &coverage.why_degraded else { continue };
        match reasons.iter_mut().find(|(known, _)| known == why) {
            Some((_, names)) => names.push(coverage.signal.name()),
            None => reasons.push((why, vec![coverage.signal.name()])),
        }
    }
    reasons
}

/// What observing cost.
pub(super) fn own_cost(cost: &OwnCost, run: &Run) -> String {
    let OwnCost { cpu_seconds, peak_rss_bytes } = cost;
    let share = length_of(run)
        .map(|length| length + run.pre_roll_s)
        .filter(|length| *length > 0.0)
        .map_or(String::new(), |length| format!(" ({} of one core)", percent(cpu_seconds / length)));
    format!(
        "Observing took {} of CPU time{share} and {} of memory.",
        duration(*cpu_seconds),
        bytes(*peak_rss_bytes)
    )
}

/// The run in a sentence.
pub(super) fn run(run: &Run) -> String {
    let what = run.command.as_ref().map_or("No command".to_owned(), |command| shell(command));
    let exit = run.exit_status.map_or(String::new(), |status| format!(", exit status {status}"));
    let length = length_of(run).map_or(String::new(), |length| format!(" ({})", duration(length)));
    let Run { id, host, kernel, started, ended, .. } = run;
    format!("{what}{exit}; on {host} with kernel {kernel}, from {started} to {ended}{length}; run {id}.")
}

/// Who says so.
pub(super) fn made_by(verdict: &Verdict) -> String {
    format!(
        "observer {}, run {}. This page asks nothing of any network.",
        verdict.observer_version, verdict.run.id
    )
}

/// Who compared.
pub(super) fn compared_by(comparison: &Comparison) -> String {
    let Comparison { observer_version, before, after, .. } = comparison;
    format!(
        "observer {observer_version}, run {} against run {}. This page asks nothing of any network.",
        after.run, before.run
    )
}

/// How long the run took, in seconds.
pub(super) fn length_of(run: &Run) -> Option<f64> {
    let length = from_rfc3339(&run.ended)?.checked_sub(from_rfc3339(&run.started)?)?;
    Some(length as f64 / 1e9)
}

/// A command as one would type it.
pub(super) fn shell(command: &[String]) -> String {
    let plain = |word: &str| {
        !word.is_empty() && word.chars().all(|it| it.is_alphanumeric() || "-_./:=,@%+".contains(it))
    };
    let words: Vec<String> = command
        .iter()
        .map(|word| if plain(word) { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) })
        .collect();
    words.join(" ")
}

//! Two runs of the same test side by side: what moved after a change, and what breaks first now.
//!
//! A pure function of two verdicts. Unknown is `null`, never 0. The order of fields here is the order of
//! the JSON, `observer.comparison/1`.

mod hits;
mod limits;
mod place;

use std::collections::BTreeMap;

use observer_common::Signal;
use serde::Serialize;

use super::{
    frame::{Tier, signal_name},
    time::from_rfc3339,
    verdict::{Hit, HitSubject, Load, Outcome, Verdict},
};

/// Name and version of the comparison's form.
pub const SCHEMA: &str = "observer.comparison/1";

/// A load that differs by less than this share is called the same: no two runs of a test are alike.
const SAME_LOAD: f64 = 0.1;

/// What two runs have and have not in common.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Always [`SCHEMA`].
    pub schema: &'static str,
    /// Version of observer that compared.
    pub observer_version: &'static str,
    /// The run to compare against.
    pub before: Side,
    /// The run that is compared.
    pub after: Side,
    /// What became of the first fault line.
    pub first: FirstChange,
    /// What became of each hit in scope: what is hit now in onset order, then what no longer is.
    pub fault_lines: Vec<LineChange>,
    /// How close the resources came to their limits, closest now first.
    pub headroom: Vec<HeadroomChange>,
    /// Sysctls and limits whose values are not the same.
    pub limits: Vec<LimitChange>,
    /// Signals that were not had on the same tier.
    pub coverage: Vec<TierChange>,
    /// What makes the two runs less comparable.
    pub differs: Vec<Difference>,
}

/// One of the two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// The recording, as the user named it.
    pub recording: String,
    /// Id of the run.
    pub run: String,
    /// RFC 3339, UTC.
    pub started: String,
    /// How long it took.
    pub length_s: Option<f64>,
    /// Name of the host.
    pub host: String,
    /// Release of the kernel.
    pub kernel: String,
    /// The observed command; `null` without one.
    pub command: Option<Vec<String>>,
    /// Its exit status; `null` while unknown.
    pub exit_status: Option<i32>,
    /// How it ended.
    pub outcome: Outcome,
    /// What broke first.
    pub first: Option<Moment>,
    /// What cannot be told apart from it.
    pub co_first: Vec<Moment>,
    /// The highest load of any phase, and at any onset.
    pub load_reached: Load,
    /// Occurrences counted by probes.
    pub events_seen: u64,
    /// Occurrences known to be missing from the counts, by reason.
    pub events_lost: BTreeMap<String, u64>,
    /// Ticks that began more than one tick late.
    pub ticks_late: u64,
}

/// A hit, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moment {
    /// Id of the fault line.
    pub fault_line: String,
    /// Where.
    pub subject: HitSubject,
    /// Seconds since the start of its run.
    pub onset_s: f64,
    /// The onset is not earlier than this.
    pub onset_lo_s: f64,
    /// The onset is not later than this.
    pub onset_hi_s: f64,
    /// The phase it fell into.
    pub phase: Option<String>,
    /// The load at that moment.
    pub load: Load,
    /// Occurrences in the run.
    pub count: u64,
    /// The fault line that caused it.
    pub explained_by: Option<String>,
    /// One plain sentence a person can act on.
    pub because: String,
}

/// What became of the first fault line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstChange {
    /// Nothing broke in either run.
    None,
    /// Something broke before, and nothing does now.
    Gone,
    /// Nothing broke before.
    Appeared,
    /// The same one breaks first.
    Same,
    /// Another one breaks first.
    Replaced,
}

/// What became of one hit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LineChange {
    /// Id of the fault line.
    pub fault_line: String,
    /// What became of it.
    pub change: Change,
    /// The hit before; `null` without one.
    pub before: Option<Moment>,
    /// The hit now; `null` without one.
    pub after: Option<Moment>,
    /// Later by this much; negative when earlier.
    pub onset_moved_s: Option<f64>,
    /// The load at the onset now, in units of the load at the onset before.
    pub load_ratio: Option<f64>,
    /// Whether the run without the hit got at least as much load as the other had at the onset. Where it
    /// did not, a hit that is gone proves nothing.
    pub load_reached: Option<bool>,
    /// Why the run without the hit cannot tell.
    pub why_unknown: Option<String>,
}

/// How a hit moved between two runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Hit before, looked for and not hit now.
    Gone,
    /// Looked for and not hit before, hit now.
    New,
    /// Hit later in the run than before.
    Later,
    /// Hit earlier in the run than before.
    Earlier,
    /// Hit at about the same time.
    Same,
    /// Hit in one run, and the other one cannot tell.
    Unknown,
}

/// How close a resource came to its limit in both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeadroomChange {
    /// Name of the resource.
    pub resource: String,
    /// Where; as the later run calls it, if it knows it.
    pub subject: HitSubject,
    /// Before; `null` when it was not among the closest.
    pub before: Option<Peak>,
    /// Now; `null` when it was not among the closest.
    pub after: Option<Peak>,
}

/// A resource at its fullest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Peak {
    /// Highest use seen; of an accept queue, where it was fullest.
    pub peak_used: u64,
    /// The limit.
    pub limit: u64,
    /// `peak_used / limit`.
    pub ratio: f64,
}

/// A sysctl or limit that is not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitChange {
    /// Its name.
    pub name: String,
    /// What it is a limit of, without the numbers that are new in each run: `host`, `netns`, `pid (nginx)`.
    #[serde(rename = "where")]
    pub place: String,
    /// Its values before; several when places of that kind differ, none when it was not seen.
    pub before: Vec<String>,
    /// Its values now.
    pub after: Vec<String>,
}

/// A signal that was not had on the same tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TierChange {
    /// The signal.
    #[serde(with = "signal_name")]
    pub signal: Signal,
    /// Before; `null` when that run did not look for it.
    pub before: Option<Tier>,
    /// Now; `null` when this run did not look for it.
    pub after: Option<Tier>,
}

/// What makes two runs less comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    /// The run before began after the other one: are they the wrong way round?
    Order,
    /// Another host.
    Host,
    /// Another kernel.
    Kernel,
    /// Another command.
    Command,
    /// The load did not get as high as before.
    Load,
    /// Not the same could be seen.
    Coverage,
    /// Events or ticks were lost in one of them.
    Losses,
}

/// A verdict and the name of the recording that it was judged from.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// As the user named it.
    pub recording: &'a str,
    /// The verdict.
    pub verdict: &'a Verdict,
}

/// Compares a run with the one before it.
pub fn compare(before: Judged, after: Judged) -> Comparison {
    let (earlier, later) = (side(before), side(after));
    let fault_lines = hits::changes(before.verdict, after.verdict);
    let coverage = coverage(before.verdict, after.verdict);
    Comparison {
        schema: SCHEMA,
        observer_version: env!("CARGO_PKG_VERSION"),
        first: hits::first(before.verdict, after.verdict),
        headroom: limits::headroom(before.verdict, after.verdict),
        limits: limits::changes(before.verdict, after.verdict),
        differs: differences(&earlier, &later, &coverage),
        before: earlier,
        after: later,
        fault_lines,
        coverage,
    }
}

fn side(judged: Judged) -> Side {
    let Verdict { run, coverage, first, co_first, outcome, .. } = judged.verdict;
    Side {
        recording: judged.recording.to_owned(),
        run: run.id.clone(),
        started: run.started.clone(),
        length_s: length_s(&run.started, &run.ended),
        host: run.host.clone(),
        kernel: run.kernel.clone(),
        command: run.command.clone(),
        exit_status: run.exit_status,
        outcome: *outcome,
        first: first.as_ref().map(moment),
        co_first: co_first.iter().map(moment).collect(),
        load_reached: load_reached(judged.verdict),
        events_seen: coverage.events_seen,
        events_lost: coverage.events_lost.clone(),
        ticks_late: coverage.ticks_late,
    }
}

fn length_s(started: &str, ended: &str) -> Option<f64> {
    let length_ns = from_rfc3339(ended)?.checked_sub(from_rfc3339(started)?)?;
    Some(length_ns as f64 / 1e9)
}

fn moment(hit: &Hit) -> Moment {
    Moment {
        fault_line: hit.fault_line.clone(),
        subject: hit.subject.clone(),
        onset_s: hit.onset_s,
        onset_lo_s: hit.onset_lo_s,
        onset_hi_s: hit.onset_hi_s,
        phase: hit.phase.clone(),
        load: hit.load,
        count: hit.spells.iter().map(|spell| spell.count).sum(),
        explained_by: hit.explained_by.clone(),
        because: hit.because.clone(),
    }
}

/// Each measure of the load at its highest.
fn load_reached(verdict: &Verdict) -> Load {
    let loads =
        || verdict.phases.iter().map(|phase| &phase.load).chain(verdict.hits.iter().map(|it| &it.load));
    let highest = |of: fn(&Load) -> Option<f64>| loads().filter_map(of).reduce(f64::max);
    Load {
        connections_per_s: highest(|load| load.connections_per_s),
        requests_per_s: highest(|load| load.requests_per_s),
        virtual_users: highest(|load| load.virtual_users),
        concurrency: highest(|load| load.concurrency),
        error_ratio: None,
    }
}

/// One load in units of another, by the measure that both know: the user's own first.
fn load_ratio(before: &Load, after: &Load) -> Option<f64> {
    let measures: [fn(&Load) -> Option<f64>; 4] = [
        |load| load.virtual_users,
        |load| load.requests_per_s,
        |load| load.connections_per_s,
        |load| load.concurrency,
    ];
    measures.iter().find_map(|of| {
        let (before, after) = (of(before)?, of(after)?);
        (before > 0.0 && after.is_finite()).then(|| after / before)
    })
}

/// Whether a load got as high as another, as far as two runs are ever alike.
fn reaches(wanted: &Load, got: &Load) -> Option<bool> {
    load_ratio(wanted, got).map(|ratio| ratio >= 1.0 - SAME_LOAD)
}

fn coverage(before: &Verdict, after: &Verdict) -> Vec<TierChange> {
    let tier = |verdict: &Verdict, signal: Signal| {
        // One that is had in several ways is had on its best.
        let had = verdict.coverage.signals.iter().filter(|it| it.signal == signal);
        had.map(|it| it.tier).min()
    };
    let both = |signal: &Signal| TierChange {
        signal: *signal,
        before: tier(before, *signal),
        after: tier(after, *signal),
    };
    Signal::ALL.iter().map(both).filter(|change| change.before != change.after).collect()
}

fn differences(before: &Side, after: &Side, coverage: &[TierChange]) -> Vec<Difference> {
    let lost = |side: &Side| side.ticks_late > 0 || side.events_lost.values().any(|lost| *lost > 0);
    [
        (Difference::Order, before.started > after.started),
        (Difference::Host, before.host != after.host),
        (Difference::Kernel, before.kernel != after.kernel),
        (Difference::Command, before.command != after.command),
        (Difference::Load, reaches(&before.load_reached, &after.load_reached) == Some(false)),
        (Difference::Coverage, !coverage.is_empty()),
        (Difference::Losses, lost(before) || lost(after)),
    ]
    .into_iter()
    .filter_map(|(difference, is_so)| is_so.then_some(difference))
    .collect()
}

#[cfg(test)]
mod tests;

//! What a report says about two runs, and in which order.

use std::collections::BTreeMap;

use super::{
    about::{self, shell},
    document::{Block, Table, Tone, left},
    numbers::{decimal, duration, percent},
    sentence::{self, load_words, place},
};
use crate::core::{
    compare::{
        Change, Comparison, Difference, FirstChange, HeadroomChange, LineChange, Moment, Peak, Side,
        TierChange,
    },
    frame::Tier,
    verdict::Outcome,
};

/// How many resources are worth a line.
const CLOSEST: usize = 8;

/// The whole comparison.
pub(crate) fn document(comparison: &Comparison) -> Vec<Block> {
    let mut blocks = vec![Block::Headline(tone(comparison), headline(comparison))];
    let why = comparison.after.first.as_ref().map(|first| sentence::full_stop(&first.because));
    blocks.extend(why.filter(|why| !why.is_empty()).map(Block::Paragraph));
    section(&mut blocks, "Mind when you compare", caveats(comparison));
    blocks.push(Block::Heading("The two runs".into()));
    blocks.push(Block::Table(runs(&comparison.before, &comparison.after)));
    let moved = comparison.fault_lines.iter().map(line).collect();
    section(&mut blocks, "What became of each fault line", moved);
    table(&mut blocks, "Closest to their limits", headroom(&comparison.headroom));
    table(&mut blocks, "Limits that differ", limits(comparison));
    section(&mut blocks, "Signals that were not had in the same way", coverage(&comparison.coverage));
    blocks
}

fn section(blocks: &mut Vec<Block>, heading: &str, points: Vec<String>) {
    if !points.is_empty() {
        blocks.push(Block::Heading(heading.to_owned()));
        blocks.push(Block::List(points));
    }
}

fn table(blocks: &mut Vec<Block>, heading: &str, table: Table) {
    if !table.rows.is_empty() {
        blocks.push(Block::Heading(heading.to_owned()));
        blocks.push(Block::Table(table));
    }
}

fn tone(comparison: &Comparison) -> Tone {
    let sides = [&comparison.before, &comparison.after];
    if sides.iter().any(|side| side.outcome == Outcome::Inconclusive) || is_untested(comparison) {
        return Tone::Unsure;
    }
    match comparison.first {
        FirstChange::None | FirstChange::Gone => Tone::Good,
        FirstChange::Appeared | FirstChange::Replaced => Tone::Bad,
        FirstChange::Same => match first_line(comparison).map(|line| line.change) {
            Some(Change::Later) => Tone::Good,
            _ => Tone::Bad,
        },
    }
}

/// Whether nothing broke now only because the load did not get there.
fn is_untested(comparison: &Comparison) -> bool {
    let untested = |line: &LineChange| line.change == Change::Gone && line.load_reached == Some(false);
    comparison.first == FirstChange::Gone && comparison.fault_lines.iter().any(untested)
}

/// What became of the fault line that breaks first now.
fn first_line(comparison: &Comparison) -> Option<&LineChange> {
    let first = comparison.after.first.as_ref()?;
    comparison.fault_lines.iter().find(|line| line.after.as_ref() == Some(first))
}

/// What became of the fault line that broke first before.
fn former_line(comparison: &Comparison) -> Option<&LineChange> {
    let first = comparison.before.first.as_ref()?;
    comparison.fault_lines.iter().find(|line| line.before.as_ref() == Some(first))
}

fn headline(comparison: &Comparison) -> String {
    let Comparison { before, after, .. } = comparison;
    match (comparison.first, &before.first, &after.first) {
        (FirstChange::Same, Some(then), Some(now)) => still(then, now, first_line(comparison)),
        (FirstChange::Replaced, Some(then), Some(now)) => {
            let fate = former_line(comparison).map_or(String::new(), fate);
            let (then, now) = (at(then), at(now));
            format!("{} breaks first now, {now}. Before, {} did, {then}{fate}.", names(after), names(before))
        }
        (FirstChange::Gone, Some(then), _) => {
            let now = match after.outcome {
                Outcome::Inconclusive => {
                    "Now nothing was seen to break, but too little could be seen to be sure"
                }
                _ => "Nothing breaks any more",
            };
            format!("{now}{}. Before, {} broke first, {}.", up_to(after), names(before), at(then))
        }
        (FirstChange::Appeared, _, Some(now)) => {
            let then = match before.outcome {
                Outcome::Inconclusive => {
                    "Before, nothing was seen to break, but too little could be seen to be sure"
                }
                _ => "Before, nothing broke",
            };
            format!("{} breaks first now, {}. {then}{}.", names(after), at(now), up_to(before))
        }
        _ => neither(before, after),
    }
}

fn still(then: &Moment, now: &Moment, line: Option<&LineChange>) -> String {
    let how = match line.map(|line| line.change) {
        Some(Change::Later) => ", but later",
        Some(Change::Earlier) => ", and earlier",
        _ => "",
    };
    format!("{} still breaks first{how}: now {}; before {}.", now.fault_line, at(now), at(then))
}

fn neither(before: &Side, after: &Side) -> String {
    let loads = match (load_words(&before.load_reached), load_words(&after.load_reached)) {
        (Some(then), Some(now)) => format!(", at up to {then} before and {now} now"),
        _ => String::new(),
    };
    let unsure = [before, after].iter().any(|side| side.outcome == Outcome::Inconclusive);
    let unsure = if unsure { " But too little could be seen to be sure." } else { "" };
    format!("Nothing broke in either run{loads}.{unsure}")
}

/// What became of the one that used to be first.
fn fate(line: &LineChange) -> String {
    match line.change {
        Change::Gone if line.load_reached == Some(false) => {
            "; that was not hit now, but the load did not get there".to_owned()
        }
        Change::Gone => "; that is gone".to_owned(),
        Change::Unknown => "; of that, this run cannot tell".to_owned(),
        _ => line.after.as_ref().map_or(String::new(), |now| format!("; that is hit {} now", at(now))),
    }
}

/// The first one, and what ties with it.
fn names(side: &Side) -> String {
    let all = side.first.iter().chain(&side.co_first).map(|hit| hit.fault_line.as_str());
    sentence::listing(&sentence::unique(all))
}

/// `at 3,412 connections/s, 4.2 s after the start`: the load comes first, for a change moves that.
fn at(hit: &Moment) -> String {
    let when = sentence::since_start(hit.onset_s);
    load_words(&hit.load).map_or(when.clone(), |load| format!("at {load}, {when}"))
}

fn up_to(side: &Side) -> String {
    load_words(&side.load_reached).map_or(String::new(), |load| format!(", at up to {load}"))
}

fn line(line: &LineChange) -> String {
    let LineChange { fault_line, change, before, after, .. } = line;
    let subject = after.as_ref().or(before.as_ref()).map_or(String::new(), |hit| place(&hit.subject));
    let then = before.as_ref().map_or(String::new(), at);
    let now = after.as_ref().map_or(String::new(), at);
    let what = match change {
        Change::Gone => match line.load_reached {
            Some(true) => format!("gone, under at least the load of then; it was hit {then}"),
            Some(false) => format!("not hit now, but the load did not get there; it was hit {then}"),
            None => format!("gone; it was hit {then}"),
        },
        Change::New => match line.load_reached {
            Some(true) => format!("new, and the load of before would have been enough; hit {now}"),
            Some(false) => format!("new, under a load that the run before did not reach; hit {now}"),
            None => format!("new; hit {now}"),
        },
        Change::Later => format!("later{}: {now}; before {then}", load_change(line)),
        Change::Earlier => format!("earlier{}: {now}; before {then}", load_change(line)),
        Change::Same => format!("at about the same time{}: {now}; before {then}", load_change(line)),
        Change::Unknown => unknown(line, &then, &now),
    };
    let moved = moved_place(line).map_or(String::new(), |from| format!(" (before: {from})"));
    format!("{fault_line} at {subject}{moved}: {what}")
}

fn unknown(line: &LineChange, then: &str, now: &str) -> String {
    let why = line.why_unknown.as_deref().unwrap_or("unknown");
    if line.after.is_some() {
        format!("hit {now}; the run before cannot tell: {why}")
    } else {
        format!("hit before, {then}; this run cannot tell: {why}")
    }
}

/// The place that a hit had before, where it goes by another name now.
fn moved_place(line: &LineChange) -> Option<String> {
    let (before, after) = (line.before.as_ref()?, line.after.as_ref()?);
    let (from, to) = (place(&before.subject), place(&after.subject));
    // A new process id is no news.
    let is_news = before.subject.pid.is_none() || before.subject.listener != after.subject.listener;
    (from != to && is_news).then_some(from)
}

/// How much more load it took.
fn load_change(line: &LineChange) -> String {
    match line.load_ratio {
        Some(ratio) if (0.9..=1.1).contains(&ratio) => ", under about the same load".to_owned(),
        Some(ratio) => format!(", under {} times the load", decimal(ratio)),
        None => String::new(),
    }
}

fn runs(before: &Side, after: &Side) -> Table {
    let row = |name: &str, of: fn(&Side) -> String| vec![name.to_owned(), of(before), of(after)];
    let rows = vec![
        row("recording", |side| side.recording.clone()),
        row("started", |side| side.started.clone()),
        row("length", |side| side.length_s.map(duration).unwrap_or_default()),
        row("outcome", |side| outcome(side.outcome).to_owned()),
        row("broke first", names),
        row("onset", |side| {
            side.first.as_ref().map(|it| sentence::since_start(it.onset_s)).unwrap_or_default()
        }),
        row("load then", |side| side.first.as_ref().and_then(|it| load_words(&it.load)).unwrap_or_default()),
        row("highest load", |side| load_words(&side.load_reached).unwrap_or_default()),
        row("open at once", |side| side.load_reached.concurrency.map(decimal).unwrap_or_default()),
        row("events lost", |side| match about::lost(&side.events_lost) {
            lost if lost.is_empty() => "none".to_owned(),
            lost => lost,
        }),
    ];
    Table::new(vec![left("the run"), left("before"), left("after")], rows)
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Hit => "something broke",
        Outcome::Clear => "nothing broke",
        Outcome::Inconclusive => "inconclusive",
    }
}

fn headroom(changes: &[HeadroomChange]) -> Table {
    let peak = |resource: &str, peak: &Option<Peak>| {
        peak.map_or("not among the closest".to_owned(), |it| {
            let (used, limit) =
                (sentence::amount(resource, it.peak_used), sentence::limit(resource, it.limit));
            format!("{} ({used} of {limit})", percent(it.ratio))
        })
    };
    let rows = changes
        .iter()
        .take(CLOSEST)
        .map(|it| {
            let (before, after) = (peak(&it.resource, &it.before), peak(&it.resource, &it.after));
            vec![sentence::words(&it.resource), place(&it.subject), before, after]
        })
        .collect();
    Table::new(vec![left("resource"), left("where"), left("peak before"), left("peak after")], rows)
}

fn limits(comparison: &Comparison) -> Table {
    let values = |values: &[String]| match values {
        [] => "not seen".to_owned(),
        values => values.join(", "),
    };
    let rows = comparison
        .limits
        .iter()
        .map(|it| vec![it.name.clone(), it.place.clone(), values(&it.before), values(&it.after)])
        .collect();
    Table::new(vec![left("limit"), left("where"), left("before"), left("after")], rows)
}

/// The signals by how they were had before and are now.
fn coverage(changes: &[TierChange]) -> Vec<String> {
    let tier = |tier: Option<Tier>| tier.map_or("not looked for", Tier::name);
    let mut groups: BTreeMap<(Option<Tier>, Option<Tier>), Vec<&str>> = BTreeMap::new();
    for change in changes {
        groups.entry((change.before, change.after)).or_default().push(change.signal.name());
    }
    let words = |((before, after), names): (_, Vec<&str>)| {
        format!("{} before, {} now: {}", tier(before), tier(after), names.join(", "))
    };
    groups.into_iter().map(words).collect()
}

fn caveats(comparison: &Comparison) -> Vec<String> {
    let Comparison { before, after, .. } = comparison;
    let command = |side: &Side| side.command.as_ref().map_or("no command".to_owned(), |words| shell(words));
    let load = |side: &Side| load_words(&side.load_reached).unwrap_or_default();
    let sentence = |difference: &Difference| match difference {
        Difference::Order => {
            "The run given as BEFORE began after the other one. Are they the wrong way round? It is \
             `observer report AFTER --against BEFORE`."
                .to_owned()
        }
        Difference::Host => format!("The hosts differ: {} before, {} after.", before.host, after.host),
        Difference::Kernel => {
            format!("The kernels differ: {} before, {} after.", before.kernel, after.kernel)
        }
        Difference::Command => {
            format!("The commands differ: {} before, {} after.", command(before), command(after))
        }
        Difference::Load => {
            format!("The load did not get as high: {} before, {} after.", load(before), load(after))
        }
        Difference::Coverage => format!(
            "Not the same could be seen in both runs ({} differ): an onset or a fault line may differ only by that.",
            super::numbers::plural(comparison.coverage.len(), "signal", "signals")
        ),
        Difference::Losses => "Not everything was counted: events were lost, or ticks were late.".to_owned(),
    };
    comparison.differs.iter().map(sentence).collect()
}

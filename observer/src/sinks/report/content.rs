//! What a report says about a verdict, and in which order.

use super::{
    about,
    document::{Block, Table, Tone, left, right},
    numbers::{count, decimal, duration, instant, percent},
    sentence,
    timeline::{Course, Timeline},
};
use crate::core::verdict::{Hit, Outcome, Phase, Verdict};

/// How many resources that came close to their limits are worth a line.
const CLOSEST: usize = 5;

/// How much is said about what is neither first nor closest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// As much as a screen or a ticket holds.
    Brief,
    /// Everything.
    Full,
}

/// The whole report. The course of the run is for those who can draw it.
pub(super) fn document(verdict: &Verdict, extent: Extent, course: Option<Course>) -> Vec<Block> {
    let mut blocks = Vec::new();
    opening(&mut blocks, verdict);
    timeline(&mut blocks, verdict, course);
    list(&mut blocks, "What led to what", verdict.chain.iter().map(sentence::link));
    if let Some(first) = &verdict.first {
        evidence(&mut blocks, first);
        for hit in &verdict.co_first {
            evidence(&mut blocks, hit);
        }
    }
    list(&mut blocks, "Also hit", later(verdict).map(sentence::also));
    match extent {
        Extent::Brief => blocks.extend(sentence::more_on(later(verdict)).map(Block::Paragraph)),
        Extent::Full => later(verdict).for_each(|hit| evidence(&mut blocks, hit)),
    }
    list(
        &mut blocks,
        "Hit elsewhere on this host, not part of this test",
        verdict.elsewhere.iter().map(sentence::also),
    );
    list(&mut blocks, "Already so before the run began", verdict.pre_existing.iter().map(sentence::also));
    headroom(&mut blocks, verdict, extent);
    latency(&mut blocks, verdict);
    judged(&mut blocks, verdict);
    closing(&mut blocks, verdict);
    blocks
}

/// The hits that are neither first nor tied with it.
fn later(verdict: &Verdict) -> impl Iterator<Item = &Hit> {
    let told = |hit: &&Hit| verdict.first.as_ref() != Some(hit) && !verdict.co_first.contains(hit);
    verdict.hits.iter().filter(told)
}

fn opening(blocks: &mut Vec<Block>, verdict: &Verdict) {
    let (tone, headline) = match verdict.outcome {
        Outcome::Hit => (Tone::Bad, sentence::broke_first(verdict)),
        Outcome::Clear => (Tone::Good, sentence::nothing_broke(verdict)),
        Outcome::Inconclusive => (Tone::Unsure, sentence::inconclusive(verdict)),
    };
    blocks.push(Block::Headline(tone, headline));
    let because = verdict.first.as_ref().map(sentence::because).filter(|because| !because.is_empty());
    blocks.extend(because.map(Block::Paragraph));
}

fn timeline(blocks: &mut Vec<Block>, verdict: &Verdict, course: Option<Course>) {
    let Some(timeline) = Timeline::of(verdict, course) else { return };
    blocks.push(Block::Heading("Timeline".into()));
    blocks.push(Block::Timeline(timeline));
    table(
        blocks,
        vec![right("#"), right("onset"), right("±"), left("fault line"), left("where"), left("")],
        (1..).zip(&verdict.hits).map(|(number, hit)| hit_row(verdict, number, hit)).collect(),
    );
    let columns = vec![
        left("phase"),
        left("by"),
        right("from"),
        right("to"),
        right("connections/s"),
        right("requests/s"),
        right("users"),
        right("open"),
        right("errors"),
    ];
    table(blocks, columns, verdict.phases.iter().map(phase_row).collect());
}

fn hit_row(verdict: &Verdict, number: usize, hit: &Hit) -> Vec<String> {
    let note = match &hit.explained_by {
        _ if verdict.first.as_ref() == Some(hit) => "first".to_owned(),
        _ if verdict.co_first.contains(hit) => "first too".to_owned(),
        Some(cause) => format!("caused by {cause}"),
        None => String::new(),
    };
    vec![
        number.to_string(),
        duration(hit.onset_s),
        sentence::margin(hit).unwrap_or_default(),
        hit.fault_line.clone(),
        sentence::place(&hit.subject),
        note,
    ]
}

fn phase_row(phase: &Phase) -> Vec<String> {
    let source = serde_json::to_value(phase.source).ok();
    let known = |value: Option<f64>| value.map(decimal).unwrap_or_default();
    vec![
        phase.name.clone(),
        source.as_ref().and_then(|it| it.as_str()).unwrap_or_default().to_owned(),
        duration(phase.start_s),
        duration(phase.end_s),
        known(phase.load.connections_per_s),
        known(phase.load.requests_per_s),
        phase.load.virtual_users.map(|users| decimal(users.round())).unwrap_or_default(),
        phase.load.concurrency.map(|open| decimal(open.round())).unwrap_or_default(),
        phase.load.error_ratio.map(percent).unwrap_or_default(),
    ]
}

/// Evidence, how to verify and what to change, for one hit.
fn evidence(blocks: &mut Vec<Block>, hit: &Hit) {
    blocks.push(Block::Heading(format!("Evidence for {}", hit.fault_line)));
    let mut points = vec![sentence::place_in_full(&hit.subject)];
    points.extend(hit.usage.as_ref().map(sentence::usage));
    points.extend(sentence::spells(&hit.spells));
    points.extend(hit.log.iter().map(sentence::log));
    blocks.push(Block::List(points));
    let columns = vec![
        left("signal"),
        right("count"),
        right("first"),
        right("last"),
        right("rate"),
        right("rate before"),
        left("why"),
    ];
    let rate = |per_s: f64| format!("{}/s", decimal(per_s));
    let row = |it: &crate::core::verdict::Evidence| {
        vec![
            it.signal.name().to_owned(),
            count(it.count),
            it.first_s.map(instant).unwrap_or_default(),
            it.last_s.map(instant).unwrap_or_default(),
            it.rate_per_s.map(rate).unwrap_or_default(),
            it.baseline_per_s.map(rate).unwrap_or_default(),
            it.reasons.as_ref().map(sentence::reasons).unwrap_or_default(),
        ]
    };
    table(blocks, columns, hit.evidence.iter().map(row).collect());
    if !hit.verify.is_empty() {
        blocks.push(Block::Subheading("Verify it by hand".into()));
        blocks.push(Block::Commands(hit.verify.clone()));
    }
    if !hit.remedy.is_empty() {
        blocks.push(Block::Subheading("What to change".into()));
        blocks.push(Block::List(hit.remedy.clone()));
    }
}

fn headroom(blocks: &mut Vec<Block>, verdict: &Verdict, extent: Extent) {
    let shown = if extent == Extent::Full { usize::MAX } else { CLOSEST };
    let rows: Vec<_> = verdict
        .headroom
        .iter()
        .take(shown)
        .map(|it| {
            vec![
                sentence::words(&it.resource),
                sentence::place(&it.subject),
                sentence::amount(&it.resource, it.peak_used),
                sentence::limit(&it.resource, it.limit),
                percent(it.ratio),
                it.forecast_s.map(duration).unwrap_or_default(),
            ]
        })
        .collect();
    if !rows.is_empty() {
        blocks.push(Block::Heading("Closest to their limits".into()));
    }
    let columns =
        vec![left("resource"), left("where"), right("peak"), right("limit"), right("used"), right("full in")];
    table(blocks, columns, rows);
}

fn latency(blocks: &mut Vec<Block>, verdict: &Verdict) {
    let known = |value: Option<f64>| value.map(duration).unwrap_or_default();
    let rows: Vec<_> = verdict
        .latency
        .iter()
        .map(|it| {
            vec![
                it.listener.to_string(),
                known(it.p50_s),
                known(it.p90_s),
                known(it.p99_s),
                known(it.accept_wait_p99_s),
            ]
        })
        .collect();
    if !rows.is_empty() {
        blocks.push(Block::Heading("Latency".into()));
    }
    let columns = vec![left("listener"), right("p50"), right("p90"), right("p99"), right("accept wait p99")];
    table(blocks, columns, rows);
}

/// What was ruled out, and what could not be judged.
fn judged(blocks: &mut Vec<Block>, verdict: &Verdict) {
    let ruled_out = sentence::unique(verdict.ruled_out.iter().map(|note| note.fault_line.as_str()));
    if !ruled_out.is_empty() {
        blocks.push(Block::Heading("Ruled out".into()));
        blocks.push(Block::Paragraph(ruled_out.join(", ")));
    }
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for note in &verdict.not_measurable {
        match reasons.iter_mut().find(|(why, _)| *why == note.why) {
            Some((_, names)) => names.push(&note.fault_line),
            None => reasons.push((&note.why, vec![&note.fault_line])),
        }
    }
    let points = reasons.into_iter().map(|(why, names)| format!("{}: {why}", names.join(", ")));
    list(blocks, "Could not be judged", points);
}

fn closing(blocks: &mut Vec<Block>, verdict: &Verdict) {
    let own_cost = verdict.coverage.observer.map(|cost| about::own_cost(&cost, &verdict.run));
    blocks.push(Block::Heading("What could be seen".into()));
    blocks.push(Block::Paragraph(
        [about::coverage(&verdict.coverage)].into_iter().chain(own_cost).collect::<Vec<_>>().join(" "),
    ));
    blocks.push(Block::Heading("Run".into()));
    blocks.push(Block::Paragraph(about::run(&verdict.run)));
    let rows: Vec<_> = verdict
        .run
        .limits
        .iter()
        .map(|limit| vec![limit.name.clone(), limit.value.clone(), limit.place.clone()])
        .collect();
    if !rows.is_empty() {
        let table = Table::new(vec![left("limit"), right("value"), left("where")], rows);
        blocks.push(Block::Appendix("Limits in force at the start".into(), table));
    }
}

/// A section with points, unless there are none.
fn list(blocks: &mut Vec<Block>, heading: &str, points: impl Iterator<Item = String>) {
    let points: Vec<String> = points.collect();
    if !points.is_empty() {
        blocks.push(Block::Heading(heading.to_owned()));
        blocks.push(Block::List(points));
    }
}

/// A table, unless it is empty.
fn table(blocks: &mut Vec<Block>, columns: Vec<super::document::Column>, rows: Vec<Vec<String>>) {
    if !rows.is_empty() {
        blocks.push(Block::Table(Table::new(columns, rows)));
    }
}

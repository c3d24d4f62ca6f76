//! The rows of the run as a whole: what was known before it, and the verdict on it.

use super::{
    SCHEMA,
    row::{At, HitList, HitRow, Planned, Row, RunRow, What},
};
use crate::core::{
    frame::RunHeader,
    verdict::{Clock, Hit, Verdict},
};

/// The first row.
pub(super) fn run(header: &RunHeader, origin: Clock) -> Row<'_> {
    Row {
        at: At::in_run(origin, 0.0),
        what: What::Run(RunRow {
            schema: SCHEMA,
            id: &header.id,
            observer_version: &header.observer_version,
            host: &header.host,
            kernel: &header.kernel,
            netns: header.netns,
            command: Some(&*header.command).filter(|command| !command.is_empty()),
            targets: header.targets.iter().map(ToString::to_string).collect(),
            ignored: &header.ignore,
            plan: header
                .plan
                .iter()
                .map(|(name, length_ns)| Planned { name, length_s: *length_ns as f64 / 1e9 })
                .collect(),
            coverage: &header.coverage,
            clock: origin,
        }),
    }
}

/// The last rows: phases, hits, and the verdict itself, given `seen_s` after the run began.
pub(super) fn rows(verdict: &Verdict, origin: Clock, seen_s: f64) -> Vec<Row<'_>> {
    // A verdict counts from the start of its own episode, which need not be the first.
    let later_s = verdict.run.clock.mono_ns.saturating_sub(origin.mono_ns) as f64 / 1e9;
    let at = |at_s: f64| At::in_run(origin, at_s + later_s);
    let mut rows: Vec<Row<'_>> = Vec::new();
    rows.extend(verdict.phases.iter().map(|phase| Row { at: at(phase.start_s), what: What::Phase(phase) }));
    let lists = [
        (HitList::Hits, &verdict.hits),
        (HitList::Elsewhere, &verdict.elsewhere),
        (HitList::PreExisting, &verdict.pre_existing),
    ];
    for (list, hits) in lists {
        let is_first = |hit: &Hit| list == HitList::Hits && verdict.first.as_ref() == Some(hit);
        rows.extend(hits.iter().map(|hit| Row {
            at: at(hit.onset_s),
            what: What::Hit(HitRow { list, is_first: is_first(hit), hit }),
        }));
    }
    rows.push(Row { at: At::in_run(origin, seen_s), what: What::Verdict(verdict) });
    rows
}

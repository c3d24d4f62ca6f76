use super::{Change, Comparison, Difference, FirstChange, Judged, compare};
use crate::core::{
    engine::Engine,
    frame::RunHeader,
    subject::Role,
    verdict::{Hit, HitSubject, Kind, Load, Note, Outcome, Verdict},
};

fn hit(fault_line: &str, port: u16, onset_s: f64, connections_per_s: f64) -> Hit {
    Hit {
        fault_line: fault_line.into(),
        role: Role::Target,
        onset_s,
        onset: String::new(),
        onset_lo_s: onset_s,
        onset_hi_s: onset_s,
        phase: None,
        load: Load { connections_per_s: Some(connections_per_s), ..Load::default() },
        kind: Kind::Resource,
        subject: HitSubject { listener: Some(([10, 0, 0, 1], port).into()), ..HitSubject::default() },
        spells: Vec::new(),
        evidence: Vec::new(),
        log: Vec::new(),
        usage: None,
        confidence: None,
        explained_by: None,
        because: String::new(),
        verify: Vec::new(),
        remedy: Vec::new(),
    }
}

/// A verdict with these hits, on everything else that was looked for.
fn verdict(hits: &[Hit]) -> Verdict {
    let header = RunHeader {
        id: String::new(),
        observer_version: String::new(),
        host: String::new(),
        kernel: String::new(),
        netns: None,
        command: Vec::new(),
        targets: Vec::new(),
        ignore: Vec::new(),
        plan: Vec::new(),
        coverage: Vec::new(),
    };
    let mut verdict = Engine::new(header).verdict(None);
    verdict.outcome = if hits.is_empty() { Outcome::Clear } else { Outcome::Hit };
    verdict.first = hits.first().cloned();
    verdict.hits = hits.to_vec();
    let note = |id: &str| Note { fault_line: id.into(), why: "no failure".into() };
    verdict.not_measurable.clear();
    verdict.ruled_out = ["overflow", "ports"].map(note).into();
    verdict.ruled_out.retain(|note| hits.iter().all(|hit| hit.fault_line != note.fault_line));
    verdict
}

fn compared(before: &Verdict, after: &Verdict) -> Comparison {
    let judged = |verdict| Judged { recording: "file", verdict };
    compare(judged(before), judged(after))
}

fn changes(before: &[Hit], after: &[Hit]) -> Vec<Change> {
    let lines = compared(&verdict(before), &verdict(after)).fault_lines;
    lines.into_iter().map(|line| line.change).collect()
}

#[test]
fn an_onset_moves_only_by_more_than_two_runs_differ() {
    let at = |onset_s| [hit("overflow", 80, onset_s, 100.0)];
    assert_eq!(changes(&at(4.0), &at(4.4)), [Change::Same]);
    assert_eq!(changes(&at(4.0), &at(9.0)), [Change::Later]);
    assert_eq!(changes(&at(9.0), &at(4.0)), [Change::Earlier]);
    assert_eq!(changes(&at(100.0), &at(104.0)), [Change::Same]);
    let mut vague = at(9.0);
    vague[0].onset_lo_s = 3.0;
    assert_eq!(changes(&at(4.0), &vague), [Change::Same]);
}

#[test]
fn a_hit_is_the_same_at_the_same_place_or_where_only_one_is_left() {
    let overflow = |port| hit("overflow", port, 1.0, 100.0);
    assert_eq!(changes(&[overflow(80)], &[overflow(81)]), [Change::Same]);
    assert_eq!(changes(&[overflow(80), overflow(81)], &[overflow(81)]), [Change::Same, Change::Gone]);
    let apart = changes(&[overflow(80), overflow(81)], &[overflow(90), overflow(91)]);
    assert_eq!(apart, [Change::New, Change::New, Change::Gone, Change::Gone]);
}

#[test]
fn what_is_gone_says_whether_the_load_got_there() {
    let reached = |connections_per_s| {
        let (before, mut after) = (verdict(&[hit("overflow", 80, 1.0, 400.0)]), verdict(&[]));
        let phase = crate::core::verdict::Phase {
            name: "plateau".into(),
            source: crate::core::frame::PhaseSource::Auto,
            start_s: 0.0,
            end_s: 9.0,
            load: Load { connections_per_s, ..Load::default() },
        };
        after.phases = vec![phase];
        let comparison = compared(&before, &after);
        assert_eq!(comparison.first, FirstChange::Gone);
        (comparison.fault_lines[0].load_reached, comparison.differs.contains(&Difference::Load))
    };
    assert_eq!(reached(Some(399.0)), (Some(true), false));
    assert_eq!(reached(Some(200.0)), (Some(false), true));
    assert_eq!(reached(None), (None, false));
}

#[test]
fn what_was_not_looked_for_is_neither_gone_nor_new() {
    let before = verdict(&[hit("overflow", 80, 1.0, 400.0)]);
    let why = |change: &dyn Fn(&mut Verdict)| {
        let mut after = verdict(&[]);
        change(&mut after);
        let line = compared(&before, &after).fault_lines.remove(0);
        assert_eq!(line.change, Change::Unknown);
        line.why_unknown
    };
    let note = Note { fault_line: "overflow".into(), why: "no probes".into() };
    assert_eq!(why(&|after| after.not_measurable = vec![note.clone()]).as_deref(), Some("no probes"));
    assert!(why(&|after| after.ruled_out.clear()).is_some());
    assert!(why(&|after| after.pre_existing = before.hits.clone()).is_some());
    assert!(why(&|after| after.elsewhere = before.hits.clone()).is_some());
}

#[test]
fn another_first_is_told_from_the_same() {
    let (overflow, ports) = (hit("overflow", 80, 1.0, 400.0), hit("ports", 80, 3.0, 900.0));
    let first = |before: &[&Hit], after: &[&Hit]| {
        let of = |hits: &[&Hit]| verdict(&hits.iter().map(|hit| (*hit).clone()).collect::<Vec<_>>());
        compared(&of(before), &of(after)).first
    };
    assert_eq!(first(&[&overflow, &ports], &[&overflow]), FirstChange::Same);
    assert_eq!(first(&[&overflow], &[&ports]), FirstChange::Replaced);
    assert_eq!(first(&[], &[&ports]), FirstChange::Appeared);
    assert_eq!(first(&[], &[]), FirstChange::None);
    let mut tie = verdict(&[ports, overflow.clone()]);
    tie.co_first = vec![overflow.clone()];
    assert_eq!(compared(&verdict(&[overflow]), &tie).first, FirstChange::Same);
}

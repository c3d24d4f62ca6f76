//! Every recording, in every form.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::{Export, Format, SCHEMA, origin};
use crate::{
    core::{
        engine::{Engine, Update},
        frame::{Frame, Mark, RunHeader},
        verdict::{Clock, Verdict},
    },
    recording::tests::{frames as sample, header as sample_header, strategy},
};

/// The export of these frames as the engine judges them, and the verdict in it.
fn export(header: &RunHeader, frames: &[Frame], format: Format) -> (Vec<u8>, Verdict) {
    let mut engine = Engine::new(header.clone());
    let updates: Vec<Update> = frames.iter().map(|frame| engine.step(frame)).collect();
    let verdict = engine.verdict(None);
    (rows(header, frames.iter().zip(&updates), &verdict, format), verdict)
}

/// The export of frames that no host has ever seen, under a verdict on others.
fn export_anything(header: &RunHeader, frames: &[Frame], verdict: &Verdict, format: Format) -> Vec<u8> {
    let update = Update::default();
    rows(header, frames.iter().map(|frame| (frame, &update)), verdict, format)
}

fn rows<'f>(
    header: &RunHeader,
    frames: impl Iterator<Item = (&'f Frame, &'f Update)> + Clone,
    verdict: &Verdict,
    format: Format,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let clock = origin::<()>(frames.clone().map(|(frame, _)| Ok(frame.clone()))).unwrap();
    let clock = clock.unwrap_or(Clock { mono_ns: 0, real_ns: 0 });
    let mut export = Export::begin(&mut bytes, format, header, clock).unwrap();
    frames.for_each(|(frame, update)| export.frame(frame, update).unwrap());
    export.end(verdict).unwrap();
    bytes
}

fn clock(frames: &[Frame]) -> Clock {
    let found = origin::<()>(frames.iter().cloned().map(Ok)).unwrap();
    found.unwrap_or(Clock { mono_ns: 0, real_ns: 0 })
}

fn objects(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// How many rows there are of each kind.
fn census<'a>(records: impl Iterator<Item = &'a str>) -> BTreeMap<String, usize> {
    let mut census = BTreeMap::new();
    records.for_each(|record| *census.entry(record.to_owned()).or_default() += 1);
    census
}

/// How many rows of each kind these frames and this verdict make, without the onsets.
fn expected(frames: &[Frame], verdict: &Verdict) -> BTreeMap<String, usize> {
    let sum = |count: fn(&Frame) -> usize| frames.iter().map(count).sum();
    let hits = [&verdict.hits, &verdict.elsewhere, &verdict.pre_existing];
    let counts = [
        ("run", 1),
        ("frame", frames.len()),
        ("mark", sum(|frame| frame.marks.len())),
        ("fact", sum(|frame| frame.facts.len())),
        ("signal", sum(|frame| frame.signals.len())),
        ("usage", sum(|frame| frame.usages.len())),
        ("source", sum(|frame| frame.sources.len())),
        ("loss", sum(|frame| frame.losses.len())),
        ("phase", verdict.phases.len()),
        ("hit", hits.iter().map(|list| list.len()).sum()),
        ("verdict", 1),
    ];
    counts.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name.into(), count)).collect()
}

/// The rows of one kind.
fn of<'a>(rows: &'a [Value], record: &'static str) -> impl Iterator<Item = &'a Value> {
    rows.iter().filter(move |row| row["record"] == record)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_recorded_makes_rows_that_can_be_read(
        header in strategy::header(), frames in strategy::frames()
    ) {
        let (_, verdict) = export(&sample_header(), &sample(40), Format::Csv);
        let bytes = export_anything(&header, &frames, &verdict, Format::Jsonl);
        let rows = objects(&bytes);
        let found = census(rows.iter().map(|row| row["record"].as_str().unwrap()));
        prop_assert_eq!(&found, &expected(&frames, &verdict));
        for row in &rows {
            prop_assert!(row["at_s"].is_number() && row["mono_ns"].is_u64() && row["time"].is_string());
        }

        let bytes = export_anything(&header, &frames, &verdict, Format::Csv);
        let mut table = csv::Reader::from_reader(&*bytes);
        let columns = table.headers().unwrap().len();
        // The reader refuses lines of another width.
        let lines: Vec<_> = table.records().collect::<Result<_, _>>().unwrap();
        prop_assert!(lines.iter().all(|line| line.len() == columns));
        let found = census(lines.iter().map(|line| &line[0]));
        prop_assert_eq!(&found, &expected(&frames, &verdict));
    }
}

#[test]
fn the_first_row_tells_of_the_run_and_the_last_is_the_verdict() {
    let (bytes, verdict) = export(&sample_header(), &sample(10), Format::Jsonl);
    let rows = objects(&bytes);
    let (run, last) = (&rows[0], &rows[rows.len() - 1]);
    assert_eq!((&run["record"], &run["schema"]), (&"run".into(), &SCHEMA.into()));
    assert_eq!(run["targets"], serde_json::json!([":8080", "pid:4711", "cgroup:/nginx"]));
    assert_eq!(run["plan"], serde_json::json!([{"name": "ramp_up", "length_s": 120.0}]));
    assert_eq!(last["record"], "verdict");
    assert_eq!(serde_json::from_value::<Verdict>(last.clone()).unwrap(), verdict);
    assert_eq!(run["clock"]["mono_ns"], verdict.run.clock.mono_ns);
    assert_eq!(last["at_s"], 0.899_999_999);
}

#[test]
fn seconds_count_from_the_start_of_the_command_to_the_nanosecond() {
    let (bytes, _) = export(&sample_header(), &sample(10), Format::Jsonl);
    let rows = objects(&bytes);
    // The command was started 1 ns after the first frame began.
    let first = of(&rows, "frame").next().unwrap();
    assert_eq!((&first["at_s"], &first["seq"]), (&(-1e-9).into(), &0.into()));
    let mark = of(&rows, "mark").next().unwrap();
    assert_eq!((&mark["at_s"], &mark["mark"]), (&0.0.into(), &"command_started".into()));
    assert_eq!(mark["time"], "2026-03-01T12:00:00.000Z");
}

#[test]
fn a_run_without_a_command_counts_from_its_first_frame() {
    let mut frames = sample(3);
    frames[0].marks.clear();
    assert_eq!(clock(&frames), Clock { mono_ns: frames[0].mono_ns, real_ns: frames[0].real_ns });
}

#[test]
fn the_origin_is_found_before_the_damage_or_the_damage_is_told() {
    let good = sample(1).remove(0);
    assert!(matches!(good.marks[0], Mark::CommandStarted { .. }));
    assert_eq!(origin([Err("damaged"), Ok(good.clone())].into_iter()), Err("damaged"));
    let idle = Frame { marks: Vec::new(), ..good };
    let found = origin([Ok(idle.clone()), Err("damaged")].into_iter()).unwrap().unwrap();
    assert_eq!(found.mono_ns, idle.mono_ns);
    assert_eq!(origin::<()>(std::iter::empty()), Ok(None));
}

#[test]
fn counts_come_with_difference_rate_and_names() {
    let (bytes, _) = export(&sample_header(), &sample(10), Format::Jsonl);
    let rows = objects(&bytes);
    let arrivals: Vec<_> = of(&rows, "signal").filter(|row| row["signal"] == "syn_arrival").collect();
    assert_eq!((&arrivals[0]["delta"], &arrivals[3]["delta"]), (&0.into(), &340.into()));
    assert_eq!(arrivals[3]["rate_per_s"], 3400.0);
    assert_eq!(arrivals[3]["subject"]["cgroup"], "/system.slice/nginx.service");
    assert_eq!(arrivals[3]["subject"]["listener"], "0.0.0.0:8080");
    let usage = of(&rows, "usage").find(|row| row["resource"] == "descriptors").unwrap();
    assert_eq!((&usage["subject"]["comm"], &usage["ratio"]), (&"nginx".into(), &0.0117.into()));
}

#[test]
fn the_first_read_of_a_counter_of_the_kernels_has_no_difference() {
    let mut frames = sample(3);
    frames.iter_mut().flat_map(|frame| &mut frame.signals).for_each(|sample| {
        sample.tier = crate::core::frame::Tier::Counter;
    });
    let (bytes, _) = export(&sample_header(), &frames, Format::Jsonl);
    let rows = objects(&bytes);
    let deltas: Vec<_> = of(&rows, "signal").filter(|row| row["signal"] == "syn_arrival").collect();
    assert_eq!((&deltas[0]["delta"], &deltas[0]["rate_per_s"]), (&Value::Null, &Value::Null));
    assert_eq!(deltas[1]["delta"], 340);
}

#[test]
fn an_onset_is_told_when_it_is_found_and_again_in_the_verdict() {
    let (bytes, verdict) = export(&sample_header(), &sample(40), Format::Jsonl);
    let rows = objects(&bytes);
    let onset = of(&rows, "onset").next().expect("an overflow");
    assert_eq!(onset["fault_line"], "accept_queue_overflow");
    assert!(onset["onset_lo_s"].as_f64() <= onset["onset_hi_s"].as_f64());
    assert!(onset["onset_hi_s"].as_f64() <= onset["found_s"].as_f64());
    let hit = of(&rows, "hit").next().unwrap();
    assert_eq!((&hit["is_first"], &hit["list"]), (&true.into(), &"hits".into()));
    assert_eq!(hit["because"], verdict.first.unwrap().because);
}

#[test]
fn missing_frames_are_counted() {
    let mut frames = sample(6);
    frames.drain(2..5);
    let (bytes, _) = export(&sample_header(), &frames, Format::Jsonl);
    let rows = objects(&bytes);
    let missing: Vec<_> = of(&rows, "frame").map(|row| row["missing_before"].as_u64().unwrap()).collect();
    assert_eq!(missing, [0, 0, 3]);
}

#[test]
fn without_a_verdict_the_last_row_is_missing() {
    let mut bytes = Vec::new();
    let frames = sample(2);
    let export = Export::begin(&mut bytes, Format::Jsonl, &sample_header(), clock(&frames)).unwrap();
    export.cut().unwrap();
    assert_eq!(objects(&bytes).len(), 1);
}

/// docs/export.md names every field and every column.
#[test]
fn everything_that_is_written_is_documented() {
    const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/export.md"));
    let documented = |name: &str| assert!(DOCUMENT.contains(&format!("`{name}`")), "{name}");
    let (bytes, _) = export(&sample_header(), &sample(40), Format::Jsonl);
    for row in objects(&bytes) {
        documented(row["record"].as_str().unwrap());
        // The verdict and its parts are the contract's, which has a place of its own.
        if ["verdict", "hit", "phase", "fact", "mark"].contains(&row["record"].as_str().unwrap()) {
            continue;
        }
        row.as_object().unwrap().keys().for_each(|key| documented(key));
        row["subject"].as_object().into_iter().flatten().for_each(|(key, _)| documented(key));
    }
    let (bytes, _) = export(&sample_header(), &sample(1), Format::Csv);
    csv::Reader::from_reader(&*bytes).headers().unwrap().iter().for_each(documented);
}

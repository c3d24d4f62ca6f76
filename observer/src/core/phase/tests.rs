//! Synthetic loads of known shape: what a person would call their phases has to come out.

mod shapes;

use proptest::prelude::*;

use self::shapes::{Noise, Random, Shape};
use super::*;

const SECOND_NS: u64 = 1_000_000_000;
/// The run does not begin on the grid of the bins.
const START_NS: u64 = 1_234_567_890_123;
/// Shapes of each kind.
const SHAPES: u32 = 40;
/// How far a boundary may be off.
const TOLERANCE_S: f64 = 2.0;

/// Phases as (name, seconds at which it ends).
fn found(levels: &[Level], window: &Window) -> Vec<(String, f64)> {
    let seconds = |at_ns: u64| (at_ns - window.start_ns) as f64 / SECOND_NS as f64;
    let spans = segment(levels, window);
    assert_eq!(spans.first().map(|span| span.start_ns), Some(window.start_ns), "{spans:?}");
    assert_eq!(spans.last().map(|span| span.end_ns), Some(window.end_ns), "{spans:?}");
    assert!(spans.windows(2).all(|pair| pair[0].end_ns == pair[1].start_ns), "{spans:?}");
    assert!(spans.iter().all(|span| span.start_ns < span.end_ns), "{spans:?}");
    spans.into_iter().map(|span| (span.name, seconds(span.end_ns))).collect()
}

fn phases_of(shape: &Shape, noise: Noise, random: &mut Random) -> Vec<(String, f64)> {
    let window = shape.window();
    let levels = shape.levels(noise, &window, random);
    found(&levels, &window)
}

/// Why the phases found are not those of the shape, if they are not: each true boundary has to be met
/// within the tolerance with the right names on both sides, and one boundary too many is forgiven.
fn wrong(shape: &Shape, found: &[(String, f64)]) -> Option<String> {
    let truth = shape.phases();
    for pair in truth.windows(2) {
        let ((before, at), (after, _)) = (&pair[0], &pair[1]);
        let met = found
            .windows(2)
            .any(|cut| (cut[0].1 - at).abs() <= TOLERANCE_S && cut[0].0 == *before && cut[1].0 == *after);
        if !met {
            return Some(format!("no {before}|{after} at {at:.1} s"));
        }
    }
    (found.len() > truth.len() + 1).then(|| format!("{} boundaries too many", found.len() - truth.len()))
}

/// Makes shapes of one kind.
type Maker = fn(&mut Random) -> Shape;

/// Share of shapes whose phases are found, in percent.
fn score(kind: Maker, noise: Noise) -> f64 {
    let mut random = Random::new(7);
    let right = (0..SHAPES).filter(|_| {
        let shape = kind(&mut random);
        wrong(&shape, &phases_of(&shape, noise, &mut random)).is_none()
    });
    100.0 * right.count() as f64 / f64::from(SHAPES)
}

#[test]
fn nine_in_ten_shapes_are_found() {
    let kinds: [(&str, Maker); 4] = [
        ("ramp", Shape::ramp),
        ("step", Shape::step),
        ("spike", Shape::spike),
        ("ramp that can be told", Shape::tellable_ramp),
    ];
    let mut of_all = Vec::new();
    for (name, kind) in kinds {
        let scores = Noise::ALL.map(|noise| score(kind, noise));
        println!("{name}: {scores:.0?} % with {:?}", Noise::ALL);
        // Some ramps are too long and too weak for anybody to say where they bend.
        assert!(name == "ramp" || scores.iter().all(|score| *score >= 90.0), "{name}: {scores:?}");
        of_all.extend(scores);
    }
    let all = of_all[..15].iter().sum::<f64>() / 15.0;
    println!("ramps, steps and spikes: {all:.1} %");
    assert!(all >= 90.0, "only {all:.1} % of all shapes are found");
}

fn names(found: &[(String, f64)]) -> Vec<&str> {
    found.iter().map(|(name, _)| name.as_str()).collect()
}

/// Levels from what arrived and what was open in each bin.
fn levels(arrived: &[u64], open: impl Fn(usize) -> Option<f64>) -> (Vec<Level>, Window) {
    let first_ns = START_NS / BIN_NS * BIN_NS;
    let level = |(bin, count): (usize, &u64)| Level {
        start_ns: first_ns + bin as u64 * BIN_NS,
        connections: Some(*count),
        concurrency: open(bin),
    };
    let end_ns = first_ns + arrived.len() as u64 * BIN_NS;
    let window = Window { start_ns: first_ns, end_ns, load_end_ns: None };
    (arrived.iter().enumerate().map(level).collect(), window)
}

#[test]
fn a_constant_load_is_one_plateau_whatever_its_rate_and_noise() {
    let mut random = Random::new(3);
    let (mut plain, mut all) = (0, 0);
    for noise in Noise::ALL {
        for rate in [5.0, 50.0, 500.0, 5000.0] {
            for seconds in [2.0, 5.0, 15.0, 60.0, 300.0] {
                let shape = Shape::of(&[("plateau", rate, rate, seconds)]);
                let found = phases_of(&shape, noise, &mut random);
                plain += u32::from(names(&found) == ["plateau"]);
                if names(&found) != ["plateau"] {
                    println!("{noise:?} {rate}/s for {seconds} s: {found:?}");
                }
                all += 1;
            }
        }
    }
    assert!(plain * 100 >= all * 95, "{plain} of {all}");
}

#[test]
fn ten_times_the_load_has_the_same_phases() {
    let mut random = Random::new(5);
    for kind in [Shape::tellable_ramp as Maker, Shape::step, Shape::spike] {
        for _ in 0..10 {
            let shape = kind(&mut random);
            let window = shape.window();
            let levels = shape.levels(Noise::Random, &window, &mut random);
            let tenfold =
                |level: &Level| Level { connections: level.connections.map(|it| it * 10), ..*level };
            let more: Vec<Level> = levels.iter().map(tenfold).collect();
            let (few, many) = (found(&levels, &window), found(&more, &window));
            assert_eq!(names(&few), names(&many), "{shape:?}");
            assert!(few.iter().zip(&many).all(|(a, b)| (a.1 - b.1).abs() < 1.0), "{few:?} {many:?}");
        }
    }
}

#[test]
fn no_load_is_idle_and_nothing_is_nothing() {
    let (levels, window) = levels(&[0; 50], |_| None);
    assert_eq!(names(&found(&levels, &window)), ["idle"]);
    assert!(segment(&[], &Window { end_ns: window.start_ns, ..window }).is_empty());
}

#[test]
fn what_follows_the_command_is_recovery() {
    let (levels, window) = levels(&[50; 100], |_| None);
    let load_end_ns = window.start_ns + 7 * SECOND_NS + 1;
    let window = Window { load_end_ns: Some(load_end_ns), ..window };
    let spans = segment(&levels, &window);
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["plateau", "recovery"]);
    assert_eq!(spans[0].end_ns, load_end_ns);
}

#[test]
fn a_command_that_is_over_at_once_was_one_phase() {
    let (levels, window) = levels(&[3; 20], |_| None);
    for length_ns in [1, BIN_NS / 2, BIN_NS, 2 * BIN_NS + 1] {
        let start_ns = window.start_ns + BIN_NS / 3;
        let window = Window { start_ns, load_end_ns: Some(start_ns + length_ns), ..window };
        let spans = segment(&levels, &window);
        let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, ["plateau", "recovery"]);
        assert_eq!((spans[0].start_ns, spans[0].end_ns), (start_ns, start_ns + length_ns));
    }
}

#[test]
fn kept_connections_are_counted_while_they_are_open() {
    // A hundred clients come over ten seconds, stay for twenty and go over ten.
    let clients = |bin: usize| bin.min(100).min(400_usize.saturating_sub(bin)) as f64;
    let arrived: Vec<u64> = (0..400).map(|bin| u64::from(bin < 100)).collect();
    let (levels, window) = levels(&arrived, |bin| Some(clients(bin + 1)));
    let found = found(&levels, &window);
    assert_eq!(names(&found), ["ramp_up", "plateau", "ramp_down"]);
    assert!((found[0].1 - 10.0).abs() < 1.0 && (found[1].1 - 30.0).abs() < 1.0, "{found:?}");
}

#[test]
fn a_service_that_stalls_is_not_idle() {
    let arrived: Vec<u64> = (0..300).map(|bin| if bin < 150 { 100 } else { 0 }).collect();
    let stalled = levels(&arrived, |bin| Some(if bin < 150 { 20.0 } else { 64.0 }));
    assert_eq!(names(&found(&stalled.0, &stalled.1)), ["plateau", "plateau"]);
    let over = levels(&arrived, |bin| Some(if bin < 150 { 20.0 } else { 0.0 }));
    assert_eq!(names(&found(&over.0, &over.1)), ["plateau", "idle"]);
}

#[test]
fn a_storm_of_first_connections_hides_nothing() {
    let mut arrived = vec![30; 300];
    arrived[0] = 1000;
    let (levels, window) = levels(&arrived, |_| None);
    assert_eq!(names(&found(&levels, &window)), ["plateau"]);
}

#[test]
fn clients_that_are_added_by_the_second_are_a_ramp() {
    let arrived: Vec<u64> = (0..400).map(|bin| 5 * (bin / 10).min(20)).collect();
    let (levels, window) = levels(&arrived, |_| None);
    let found = found(&levels, &window);
    assert!(names(&found).ends_with(&["ramp_up", "plateau"]), "{found:?}");
    assert!((found[found.len() - 2].1 - 20.0).abs() < 2.0, "{found:?}");
}

#[test]
fn a_run_of_two_seconds_and_one_of_ten_hours_have_phases() {
    let mut random = Random::new(11);
    let short = Shape::of(&[("plateau", 500.0, 500.0, 2.0)]);
    assert_eq!(names(&phases_of(&short, Noise::Random, &mut random)), ["plateau"]);
    let hour = 3600.0;
    let long = Shape::of(&[
        ("ramp_up", 0.0, 300.0, hour),
        ("plateau", 300.0, 300.0, 8.0 * hour),
        ("ramp_down", 300.0, 0.0, hour),
    ]);
    let found = phases_of(&long, Noise::Random, &mut random);
    assert_eq!(names(&found), ["ramp_up", "plateau", "ramp_down"]);
    assert!((found[0].1 - hour).abs() < 60.0 && (found[1].1 - 9.0 * hour).abs() < 60.0, "{found:?}");
}

proptest! {
    /// Whatever arrives, the phases tile the run (which `found` holds them to).
    #[test]
    fn phases_follow_each_other_without_a_gap(
        arrived in prop::collection::vec(prop_oneof![Just(0), 0..10_u64, any::<u32>().prop_map(u64::from)], 1..120),
        open in any::<Option<u16>>(),
    ) {
        let (levels, window) = levels(&arrived, |bin| open.map(|open| f64::from(open) * (bin % 7) as f64));
        found(&levels, &window);
    }
}

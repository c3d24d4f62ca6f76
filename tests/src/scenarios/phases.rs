//! Loads of known shape: the verdict names their phases, and knows when each began.

use anyhow::{Result, bail, ensure};

use super::Scenario;
use crate::{
    check::{Ending, check_clear},
    report::Report,
    roles::{
        Role,
        serve::Serve,
        shape::{Part, Shape},
    },
    stage::Stage,
    verdict::Verdict,
};

pub const RAMP: Scenario = Scenario {
    name: "phases_ramp",
    about: "a load that rises, stays and falls: ramp_up, plateau, ramp_down",
    play: |stage| {
        play(stage, &[("ramp_up", 0, 120, 4000), ("plateau", 120, 120, 6000), ("ramp_down", 120, 0, 4000)])
    },
};

pub const STEP: Scenario = Scenario {
    name: "phases_step",
    about: "a load in three steps: a plateau each",
    play: |stage| {
        play(stage, &[("plateau", 15, 15, 4500), ("plateau", 50, 50, 4500), ("plateau", 120, 120, 4500)])
    },
};

pub const SPIKE: Scenario = Scenario {
    name: "phases_spike",
    about: "a load with a short top: plateau, spike, plateau",
    play: |stage| {
        play(stage, &[("plateau", 25, 25, 5000), ("spike", 120, 120, 3000), ("plateau", 25, 25, 5000)])
    },
};

/// A port of its own: a clear run must not be taken for another lab's on the same host, whose service has
/// the same address in another namespace.
const PORT: u16 = 8090;
/// A load that falls behind by this much has lost its shape.
const LATEST_MS: u64 = 500;
/// How far a boundary may be off.
const TOLERANCE_S: f64 = 2.0;

/// A part of the load: the phase that it is, connections per second at its beginning and end,
/// milliseconds.
type Phase = (&'static str, u32, u32, u32);

fn play(stage: &Stage, shape: &[Phase]) -> Result<Ending> {
    let service = stage.serve("service", Serve { threads: 2, ..Serve::on(PORT) })?;
    let load = stage.observe(
        &[],
        &Role::Shape(Shape {
            to: service.address(),
            netns_of: Some(service.pid),
            part: shape.iter().map(|&(_, from, to, ms)| Part { from, to, ms }).collect(),
        }),
    )?;
    let (ends_ns, late_ns) = loop {
        if let Report::Shaped { ends_ns, late_ns } = load.report()? {
            break (ends_ns, late_ns);
        }
    };
    let finished = load.finish()?;
    ensure!(finished.tally.errnos.is_empty(), "not healthy: {:?}", finished.tally);
    let late_ms = late_ns / 1_000_000;
    println!("  the load was at most {late_ms} ms late");
    ensure!(
        late_ms < LATEST_MS,
        "this host is too busy to play a load of known shape: a connection was {late_ms} ms late"
    );
    if let Some(verdict) = &finished.verdict {
        // What follows the command is the recovery, for as long as observer settles.
        let names = shape.iter().map(|phase| phase.0).chain(["recovery"]);
        check(&names.collect::<Vec<_>>(), &ends_ns, verdict)?;
    }
    check_clear(&finished)
}

/// Holds the phases of the verdict against the true ones and the instants between them.
fn check(names: &[&str], ends_ns: &[u64], verdict: &Verdict) -> Result<()> {
    let found: Vec<&str> = verdict.phases.iter().map(|phase| phase.name.as_str()).collect();
    let shown: Vec<String> = verdict.phases.iter().map(ToString::to_string).collect();
    println!("  phases: {}", shown.join(", "));
    if found != names {
        bail!("the phases are {found:?}, not {names:?}");
    }
    for (pair, end_ns) in verdict.phases.windows(2).zip(ends_ns) {
        let (before, after) = (&pair[0], &pair[1]);
        ensure!(before.end_s == after.start_s, "there is a gap between {before} and {after}");
        let off_s = verdict.since_start_s(*end_ns) - before.end_s;
        println!("  {} -> {}: {:+.2} s from the truth", before.name, after.name, -off_s);
        ensure!(
            off_s.abs() <= TOLERANCE_S,
            "{} ends {:+.2} s from the truth, more than {TOLERANCE_S} s",
            before.name,
            -off_s
        );
    }
    Ok(())
}

//! Whether observer stays as it is: its memory and its ticks over a long time under a moderate load.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{
    Bench, Budget, Plan,
    paired::Spread,
    served::Served,
    ticks::LATE,
    traffic::Own,
    user_space::{MEMORY, SHARE},
};
use crate::stage::Stage;

pub const BENCH: Bench =
    Bench { name: "soak", about: "memory and late ticks over a long time under a moderate load", play };

/// The median of the last quarter against that of the second; in the first, all that is kept for a while is collected.
const FLAT: Budget = Budget::AtMost(1.02);
/// Some hundred connections a second, which leave most of the machine to others.
const CLIENTS: u32 = 8;
const CLIENTS_REST: Duration = Duration::from_millis(20);
/// Time between two looks at the memory, and how many there are at least.
const PERIOD: Duration = Duration::from_secs(5);
const LEAST_SAMPLES: u32 = 40;

fn play(stage: &Stage, plan: &Plan) -> Result<()> {
    let own = Own::start(stage)?;
    let observer = Served::start(stage)?;
    let loading = observer.peak_bytes()? as f64 / 1e6;
    observer.forget_peak()?;
    let mut load = own.begin(CLIENTS, CLIENTS_REST, plan.soak * 2)?;
    let (ticks, cost) = (observer.ticks()?, observer.cost()?);
    let resident = resident_mb(&observer, plan.soak)?;
    let late = observer.ticks()?.late_since(ticks);
    let share = observer.used_since(cost)?.share;
    let highest = observer.peak_bytes()? as f64 / 1e6;
    let connections = Own::stop(&mut load)? / plan.soak.as_secs_f64();

    let when = format!("{} min", plan.soak.as_secs() / 60);
    let when = when.as_str();
    let quarter = resident.len() / 4;
    let second = Spread::of(resident[quarter..2 * quarter].to_vec());
    let last = Spread::of(resident[3 * quarter..].to_vec());
    BENCH.tell("connections of the load", when, "per second", connections, None)?;
    BENCH.tell("resident memory, last quarter", when, "MB", last, Some(MEMORY))?;
    let growth = last.median / second.median;
    BENCH.tell("resident memory, last quarter over second", when, "ratio", growth, Some(FLAT))?;
    BENCH.tell("resident memory, at its highest", "while the probes are loaded", "MB", loading, None)?;
    BENCH.tell("resident memory, at its highest", when, "MB", highest, Some(MEMORY))?;
    BENCH.tell("late ticks", when, "of all", late, Some(LATE))?;
    BENCH.tell("CPU time of observer", when, "of a core", share, Some(SHARE))
}

/// Resident memory, again and again.
fn resident_mb(observer: &Served, length: Duration) -> Result<Vec<f64>> {
    let period = PERIOD.min(length / LEAST_SAMPLES);
    let begun = Instant::now();
    let mut samples = Vec::new();
    while begun.elapsed() < length {
        thread::sleep(period);
        samples.push(observer.resident_bytes()? as f64 / 1e6);
    }
    ensure!(samples.len() >= 4, "{length:?} is too short for quarters");
    Ok(samples)
}

//! observer beside what one would use instead, where 100,000 sockets are open.

use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike as _,
};

use super::{
    Bench, Budget, Plan, crowds,
    paired::{Spread, take_turns},
    rivals::Rival,
    row::With,
    served::Served,
    web::{Load, Web},
};
use crate::{netns, programs::installed, stage::Stage};

pub const BENCH: Bench = Bench {
    name: "crowded",
    about: "with 100,000 sockets: CPU time of observer over that of ss, and what is left of nginx's requests/s",
    play,
};

const SOCKETS: u32 = 100_000;
/// How often `ss` looks.
const EVERY: Duration = Duration::from_secs(1);
/// Less than `ss -tan` every second.
const LESS: Budget = Budget::AtMost(1.0);

fn play(stage: &Stage, plan: &Plan) -> Result<()> {
    let web = Web::start(stage)?;
    // Where nginx is: `ss` sees one network namespace, and it is to see all of them.
    let _crowd = crowds::sockets(stage, SOCKETS, Some(web.inside()))?;
    if installed("ss").is_some() {
        cpu_time(stage, plan, web.inside())?;
    } else {
        println!("  skip CPU time of ss: it is not installed");
    }
    let is_asked = |rival: &Rival| !matches!(rival, Rival::SsSummary | Rival::Empty);
    let rivals: Vec<Rival> = Rival::all().into_iter().filter(is_asked).collect();
    let ratios = take_turns(stage, plan, &rivals, Some(web.inside()), || {
        Ok(vec![web.turn(Load::ConnectionPerRequest, plan)?.requests_per_s])
    })?;
    for ratios in ratios {
        for spread in ratios.quantities {
            BENCH.tell("requests/s, 100,000 sockets open", ratios.rival.name(), "on/off", spread, None)?;
        }
    }
    Ok(())
}

/// Turns of observer and of `ss`, one after the other.
fn cpu_time(stage: &Stage, plan: &Plan, inside: u32) -> Result<()> {
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let observer = Served::start(stage)?;
        // What is new is looked at once more closely.
        thread::sleep(plan.turn);
        let before = observer.cost()?;
        thread::sleep(plan.turn);
        let our = observer.used_since(before)?.share;
        drop(observer);
        let their = share_of_ss(inside, plan.turn)?;
        ours.push(our);
        theirs.push(their);
        ratios.push(our / their);
    }
    let with = |name| With::many(SOCKETS, name);
    let what = "CPU time";
    BENCH.tell(what, with("sockets, observer"), "of a core", Spread::of(ours), None)?;
    BENCH.tell(what, with("sockets, ss -tan every second"), "of a core", Spread::of(theirs), None)?;
    let what = "CPU time of observer over that of ss -tan every second";
    BENCH.tell(what, with("sockets"), "ratio", Spread::of(ratios), Some(LESS))
}

/// The share of a core that `ss -tan` every second takes in a network namespace.
fn share_of_ss(inside: u32, turn: Duration) -> Result<f64> {
    // What it starts is in the namespace that the thread has joined.
    let looking = thread::spawn(move || -> Result<f64> {
        netns::join(inside)?;
        let (begun, before_ns) = (Instant::now(), children_ns()?);
        while begun.elapsed() < turn {
            let next = Instant::now() + EVERY;
            let status = Command::new("ss").arg("-tan").stdout(Stdio::null()).status();
            ensure!(status.context("cannot run ss")?.success(), "ss -tan failed");
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok((children_ns()? - before_ns) / begun.elapsed().as_nanos() as f64)
    });
    looking.join().map_err(|_| anyhow!("whoever ran ss died"))?
}

/// CPU time of all children that have ended and were waited for.
fn children_ns() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok((usage.user_time() + usage.system_time()).num_nanoseconds() as f64)
}

//! What observer itself takes: CPU time and memory, when nothing goes on and under load.

use std::thread;

use anyhow::Result;

use super::{
    Bench, Budget, Plan,
    paired::Spread,
    served::Served,
    web::{Load, Web},
};
use crate::stage::Stage;

pub const BENCH: Bench = Bench {
    name: "user_space",
    about: "CPU time and resident memory of observer, idle and under load",
    play,
};

/// Of one core, and in MB: the budgets.
pub const SHARE: Budget = Budget::AtMost(0.005);
pub const MEMORY: Budget = Budget::AtMost(25.0);

fn play(stage: &Stage, plan: &Plan) -> Result<()> {
    let web = Web::start(stage)?;
    let observer = Served::start(stage)?;
    told(&observer, plan, "idle", || {
        thread::sleep(plan.turn);
        Ok(())
    })?;
    told(&observer, plan, "under a connection per request", || {
        web.turn(Load::ConnectionPerRequest, plan).map(drop)
    })
}

fn told(observer: &Served, plan: &Plan, when: &str, turn: impl Fn() -> Result<()>) -> Result<()> {
    let mut shares = Vec::new();
    for _ in 0..plan.rounds {
        let before = observer.cost()?;
        turn()?;
        shares.push(observer.used_since(before)?.share);
    }
    BENCH.tell("CPU time of observer", when, "of a core", Spread::of(shares), Some(SHARE))?;
    let memory = observer.resident_bytes()? as f64 / 1e6;
    BENCH.tell("resident memory of observer", when, "MB", memory, Some(MEMORY))
}

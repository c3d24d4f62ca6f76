//! What observer itself takes: CPU time and memory, when nothing goes on and under load.

use std::thread;

use anyhow::Result;

use super::{
    Bench, Budget, Plan, Row,
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
const SHARE: Budget = Budget::AtMost(0.005);
const MEMORY: Budget = Budget::AtMost(25.0);

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
    let share = Spread::of(shares);
    let row = Row {
        bench: BENCH.name,
        what: "CPU time of observer",
        with: when,
        unit: "of a core",
        value: share.median,
        low: Some(share.low),
        high: Some(share.high),
        budget: Some(SHARE),
    };
    row.tell()?;
    let memory = observer.resident_bytes()? as f64 / 1e6;
    let what = "resident memory of observer";
    Row {
        bench: BENCH.name,
        what,
        with: when,
        unit: "MB",
        value: memory,
        low: None,
        high: None,
        budget: Some(MEMORY),
    }
    .tell()
}

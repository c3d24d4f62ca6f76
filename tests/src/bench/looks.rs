//! What the looks alone take from others: observer looks, or is stopped, in quick turns. The programs stay attached and
//! count in both; what they cost is told by `attached` and `programs`.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};

use super::{
    Bench, Budget, Plan,
    clients::Clients,
    loops::calls_per_s,
    paired::{Quantity, quick_turns},
    served::Served,
    web::{Load, Web},
};
use crate::stage::Stage;

pub const BENCH: Bench = Bench {
    name: "looks",
    about: "what the looks alone take: p99 and requests/s of nginx, and a getppid loop, looking over stopped",
    play,
};

/// Long enough for two looks, and so short that what else goes on on the machine is in the turns on either side as well.
const TURN: Duration = Duration::from_millis(200);
/// The look that a stop delayed comes before a turn, which then has as many as any other time.
const SETTLED: Duration = Duration::from_millis(20);
/// Observer does not have to begin anew for a turn, so there can be many.
const TURNS_A_ROUND: usize = 40;

fn play(stage: &Stage, plan: &Plan) -> Result<()> {
    let web = Web::start(stage)?;
    for load in [Load::KeepAlive, Load::ConnectionPerRequest] {
        let named = |what, budget| Quantity { what: format!("{what}, {}", load.name()), budget };
        let quantities = [named("p99", Budget::AtMost(1.02)), named("requests/s", Budget::AtLeast(0.99))];
        let mut clients = Clients::start(web.inside(), load);
        measure(stage, plan, &quantities, || {
            clients.turn(TURN).map(|answered| vec![answered.p99_ms, answered.requests_per_s])
        })?;
    }
    drop(web);
    let calls = Quantity { what: "getppid calls/s".into(), budget: Budget::AtLeast(1.0 / 1.01) };
    measure(stage, plan, &[calls], || Ok(vec![calls_per_s(TURN)]))
}

fn measure(
    stage: &Stage,
    plan: &Plan,
    quantities: &[Quantity],
    mut turn: impl FnMut() -> Result<Vec<f64>>,
) -> Result<()> {
    let observer = Served::start(stage)?;
    let (ticks, turns) = (observer.ticks()?, plan.rounds * TURNS_A_ROUND);
    let of_each = quick_turns(turns, &[("the looks", ())], |looks| {
        observer.let_go_on(looks.is_some())?;
        thread::sleep(SETTLED);
        turn()
    })?;
    observer.let_go_on(true)?;
    let looked = observer.ticks()?.since(ticks) / turns as f64;
    ensure!(looked >= 2.0, "observer looked {looked} times in a turn of {TURN:?}");
    of_each.tell(&BENCH, quantities)
}

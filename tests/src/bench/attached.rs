//! What the programs take from a service, by the clock: they are attached, and observer, after its first looks, is stopped.

use std::{thread, time::Duration};

use anyhow::Result;

use super::{
    Bench, Budget, Plan,
    clients::Clients,
    paired::{CLEARED, Quantity, quick_turns},
    served::Served,
    web::{Load, Web},
};
use crate::stage::Stage;

pub const BENCH: Bench = Bench {
    name: "attached",
    about: "what the programs take, by the clock: requests/s and p99 of nginx with a connection per request",
    play,
};

const TURN: Duration = Duration::from_millis(300);
/// The first looks give the busiest places their slots, in which counting costs a tenth.
const SETTLED: Duration = Duration::from_secs(1);
const TURNS_A_ROUND: usize = 30;

fn play(stage: &Stage, plan: &Plan) -> Result<()> {
    let web = Web::start(stage)?;
    let mut clients = Clients::start(web.inside(), Load::ConnectionPerRequest);
    let of_each = quick_turns(plan.rounds * TURNS_A_ROUND, |attached| {
        let observer = attached.then(|| attach(stage)).transpose()?;
        let answered = clients.turn(TURN)?;
        if observer.is_some() {
            drop(observer);
            thread::sleep(CLEARED);
        }
        Ok(vec![answered.requests_per_s, answered.p99_ms])
    })?;
    let named =
        |what, budget| Quantity { what: format!("{what}, {}", Load::ConnectionPerRequest.name()), budget };
    let quantities = [named("requests/s", Budget::AtLeast(0.99)), named("p99", Budget::AtMost(1.02))];
    of_each.tell(&BENCH, "the programs", &quantities)
}

/// An observer whose programs are at work, and that looks no more.
fn attach(stage: &Stage) -> Result<Served> {
    let observer = Served::begin(stage)?;
    thread::sleep(SETTLED);
    observer.let_go_on(false)?;
    Ok(observer)
}

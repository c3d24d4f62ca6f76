//! What the programs take from a service, by the clock: they are attached, and observer, after its first looks, is stopped. An
//! empty program beside them says what of that the kernel takes on the way to any program.

use std::{thread, time::Duration};

use anyhow::Result;

use super::{
    Bench, Budget, Plan,
    clients::Clients,
    paired::{CLEARED, Quantity, quick_turns},
    programs::BUSIEST,
    served::Served,
    web::{Load, Web},
};
use crate::{bpf::Empty, stage::Stage};

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
    let things = [("the programs", Thing::Programs), ("an empty program", Thing::Empty)];
    let of_each = quick_turns(plan.rounds * TURNS_A_ROUND, &things, |thing| {
        let attached = thing.map(|thing| thing.attach(stage)).transpose()?;
        let answered = clients.turn(TURN)?;
        if attached.is_some() {
            drop(attached);
            thread::sleep(CLEARED);
        }
        Ok(vec![answered.requests_per_s, answered.p99_ms])
    })?;
    let named =
        |what, budget| Quantity { what: format!("{what}, {}", Load::ConnectionPerRequest.name()), budget };
    let quantities = [named("requests/s", Budget::AtLeast(0.99)), named("p99", Budget::AtMost(1.02))];
    of_each.tell(&BENCH, &quantities)
}

/// What can be attached.
#[derive(Clone, Copy)]
enum Thing {
    /// All of observer's programs.
    Programs,
    /// One program that does nothing, where a connection comes by most often.
    Empty,
}

/// What is attached; dropping it ends it.
enum Attached {
    Programs(#[allow(dead_code, reason = "ends with this")] Served),
    Empty(#[allow(dead_code, reason = "ends with this")] Empty),
}

impl Thing {
    fn attach(self, stage: &Stage) -> Result<Attached> {
        match self {
            Self::Programs => {
                let observer = Served::begin(stage)?;
                thread::sleep(SETTLED);
                observer.let_go_on(false)?;
                Ok(Attached::Programs(observer))
            }
            Self::Empty => Empty::attach(BUSIEST).map(Attached::Empty),
        }
    }
}

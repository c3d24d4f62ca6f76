//! What is left of a service's requests and of its latency.

use anyhow::Result;

use super::{
    Bench, Budget, Plan,
    paired::{Ratios, take_turns},
    rivals::Rival,
    web::{Load, Web},
};
use crate::stage::Stage;

pub const BENCH: Bench = Bench {
    name: "requests",
    about: "requests/s and p99 of nginx under wrk, on over off: observer, an empty program, bpftrace, ss",
    play,
};

fn play(stage: &Stage, plan: &Plan) -> Result<()> {
    let web = Web::start(stage)?;
    let inside = Some(web.inside());
    for load in [Load::ConnectionPerRequest, Load::KeepAlive] {
        let mut flow = web.flow(load)?;
        let rates =
            take_turns(stage, plan, &in_turn(), inside, || Ok(vec![flow.requests_per_s(plan.turn)?]))?;
        drop(flow);
        tell("requests/s", load, &rates, Budget::AtLeast(0.99))?;
        let latencies =
            take_turns(stage, plan, &in_turn(), inside, || Ok(vec![web.turn(load, plan)?.p99_ms]))?;
        tell("p99", load, &latencies, Budget::AtMost(1.02))?;
    }
    Ok(())
}

/// Observer, and what any program costs there, beside each of the others: the budgets are one and two hundredths, and the
/// scatter of two turns is more.
fn in_turn() -> Vec<Rival> {
    let others = Rival::all().into_iter().filter(|rival| !matches!(rival, Rival::Observer | Rival::Empty));
    others.flat_map(|rival| [Rival::Observer, Rival::Empty, rival]).collect()
}

fn tell(quantity: &str, load: Load, of_each: &[Ratios], budget: Budget) -> Result<()> {
    let what = format!("{quantity}, {}", load.name());
    for Ratios { rival, quantities } in of_each {
        let budget = Some(budget).filter(|_| *rival == Rival::Observer);
        for spread in quantities {
            BENCH.tell(&what, rival.name(), "on/off", *spread, budget)?;
        }
    }
    Ok(())
}

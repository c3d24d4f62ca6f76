//! What is left of a service's requests and of its latency.

use anyhow::Result;

use super::{
    Bench, Budget, Plan,
    paired::take_turns,
    rivals::Rival,
    web::{Load, Web},
};
use crate::stage::Stage;

pub const BENCH: Bench = Bench {
    name: "requests",
    about: "requests/s and p99 of nginx under wrk, on over off: observer, bpftrace, ss",
    play,
};

fn play(stage: &Stage, plan: &Plan) -> Result<()> {
    let web = Web::start(stage)?;
    for load in [Load::ConnectionPerRequest, Load::KeepAlive] {
        let ratios = take_turns(stage, plan, &Rival::all(), Some(web.inside()), || {
            let answered = web.turn(load, plan)?;
            Ok(vec![answered.requests_per_s, answered.p99_ms])
        })?;
        for ratios in ratios {
            let budgets = [Budget::AtLeast(0.99), Budget::AtMost(1.02)].map(Some);
            let is_ours = ratios.rival == Rival::Observer;
            for ((quantity, budget), spread) in
                ["requests/s", "p99"].iter().zip(budgets).zip(ratios.quantities)
            {
                let what = format!("{quantity}, {}", load.name());
                let budget = budget.filter(|_| is_ours);
                BENCH.tell(&what, ratios.rival.name(), "on/off", spread, budget)?;
            }
        }
    }
    Ok(())
}

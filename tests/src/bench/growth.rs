//! How the cost of a tick grows with what there is to be seen: sockets, listeners, namespaces.

use std::{iter, thread};

use anyhow::{Context as _, Result};

use super::{Bench, Budget, Plan, Row, paired::Spread, served::Served};
use crate::{
    children::Running,
    report::Report,
    roles::{Role, crowd::Crowd},
    stage::Stage,
};

pub const BENCH: Bench = Bench {
    name: "growth",
    about: "CPU time per tick with more and more sockets, listeners and namespaces",
    play,
};

/// Descriptors are limited per process, so a large crowd is several.
const SOCKETS_OF_ONE: u32 = 16_000;

/// What there is more and more of.
#[derive(Clone, Copy)]
enum Many {
    Sockets,
    Listeners,
    Namespaces,
}

impl Many {
    const ALL: [(Self, &'static str, &'static [u32]); 3] = [
        (Self::Sockets, "sockets", &[1_000, 10_000, 100_000]),
        (Self::Listeners, "listeners", &[1, 10, 100, 1_000]),
        (Self::Namespaces, "network namespaces", &[1, 10, 100]),
    ];

    /// Starts as many.
    fn start(self, stage: &Stage, count: u32) -> Result<Vec<Running>> {
        let crowds: Vec<Crowd> = match self {
            Self::Sockets => {
                let full = count / SOCKETS_OF_ONE;
                let rest = count % SOCKETS_OF_ONE;
                let sizes = iter::repeat_n(SOCKETS_OF_ONE, full as usize).chain((rest > 0).then_some(rest));
                sizes.map(|sockets| Crowd { listeners: 1, connections: sockets / 2 }).collect()
            }
            Self::Listeners => vec![Crowd { listeners: count, connections: 0 }],
            Self::Namespaces => vec![Crowd { listeners: 1, connections: 0 }; count as usize],
        };
        crowds.into_iter().map(|crowd| holding(stage, crowd)).collect()
    }
}

fn holding(stage: &Stage, crowd: Crowd) -> Result<Running> {
    let running = stage.prepare("crowd", &Role::Crowd(crowd))?;
    while running.report().context("the crowd does not gather")? != Report::Holding {}
    Ok(running)
}

fn play(stage: &Stage, plan: &Plan) -> Result<()> {
    let observer = Served::start(stage)?;
    for (many, name, sizes) in Many::ALL {
        let mut smallest = None;
        for size in iter::once(0).chain(sizes.iter().copied()) {
            let crowd = many.start(stage, size)?;
            let per_tick = per_tick(&observer, plan)?;
            drop(crowd);
            let with = format!("{size} {name}");
            tell("CPU time per tick", &with, "us", per_tick.median / 1e3, None)?;
            let base = *smallest.get_or_insert(per_tick.median);
            if size == 100_000 {
                let ratio = per_tick.median / base;
                tell(
                    "CPU time per tick, over that with none",
                    &with,
                    "ratio",
                    ratio,
                    Some(Budget::AtMost(1.2)),
                )?;
            }
        }
    }
    Ok(())
}

fn tell(what: &str, with: &str, unit: &str, value: f64, budget: Option<Budget>) -> Result<()> {
    Row { bench: BENCH.name, what, with, unit, value, low: None, high: None, budget }.tell()
}

fn per_tick(observer: &Served, plan: &Plan) -> Result<Spread> {
    // What is new is looked at once more closely.
    thread::sleep(plan.turn);
    let mut ticks = Vec::new();
    for _ in 0..plan.rounds {
        let before = observer.cost()?;
        thread::sleep(plan.turn);
        ticks.push(observer.used_since(before)?.per_tick_ns);
    }
    Ok(Spread::of(ticks))
}

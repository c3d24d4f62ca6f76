//! How the cost of a tick grows with what there is to be seen: sockets, listeners, namespaces, cgroups.

use std::{iter, thread, time::Duration};

use anyhow::Result;

use super::{
    Bench, Budget, Plan,
    crowds::{self, SETTLING},
    paired::Spread,
    row::With,
    served::Served,
};
use crate::{
    cgroup::{Cgroup, Controller},
    children::Running,
    stage::Stage,
};

pub const BENCH: Bench = Bench {
    name: "growth",
    about: "CPU time per tick with more and more sockets, listeners, namespaces and cgroups",
    play,
};

/// The most sockets, and what a tick may take with them against one with none.
const MOST_SOCKETS: u32 = 100_000;
const WITH_MOST_SOCKETS: Budget = Budget::AtMost(1.2);
/// That is held over so long, as a dump of so many sockets comes once in minutes, and everybody is looked through for those who
/// hold the listeners of others once in ten,
const WITH_MOST_FOR: Duration = Duration::from_secs(600);
/// against so long before and after, from [`SETTLING`] after they came or went.
const WITH_NONE_FOR: Duration = Duration::from_secs(120);
/// So much that it never runs out; a cgroup with a limit is one that is worth watching.
const QUOTA_US: u64 = 100_000;

/// What there is more and more of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Many {
    Sockets,
    Listeners,
    Namespaces,
    Cgroups,
}

/// What is there as long as this lives.
enum There {
    Processes(#[allow(dead_code, reason = "they end with this")] Vec<Running>),
    Cgroups(#[allow(dead_code, reason = "they end with this")] Vec<Cgroup>),
}

impl Many {
    const ALL: [(Self, &'static str, &'static [u32]); 4] = [
        (Self::Sockets, "sockets", &[1_000, 10_000, MOST_SOCKETS]),
        (Self::Listeners, "listeners", &[1, 10, 100, 1_000]),
        (Self::Namespaces, "namespaces", &[1, 10, 100]),
        (Self::Cgroups, "cgroups", &[1, 10, 100, 1_000]),
    ];

    /// Makes as many; none of them is all the rest of it.
    fn make(self, stage: &Stage, count: u32) -> Result<There> {
        let processes = match self {
            Self::Sockets => crowds::sockets(stage, count, None)?,
            Self::Listeners => crowds::listeners(stage, count)?,
            Self::Namespaces => crowds::namespaces(stage, count)?,
            Self::Cgroups => return cgroups(count).map(There::Cgroups),
        };
        Ok(There::Processes(processes))
    }
}

fn cgroups(count: u32) -> Result<Vec<Cgroup>> {
    let limited = |number| {
        let cgroup = Cgroup::make(Controller::Cpu, &format!("many-{number}"))?;
        cgroup.limit_cpu(QUOTA_US)?;
        Ok(cgroup)
    };
    (0..count).map(limited).collect()
}

fn play(stage: &Stage, plan: &Plan) -> Result<()> {
    for (many, name, sizes) in Many::ALL {
        // Nothing of what was there before.
        let observer = Served::start(stage)?;
        let per_tick_us = |size: u32| {
            let _there = many.make(stage, size)?;
            per_tick_us(&observer, plan)
        };
        for size in iter::once(0).chain(sizes.iter().copied()) {
            BENCH.tell("CPU time per tick", With::many(size, name), "us", per_tick_us(size)?, None)?;
        }
        if many == Many::Sockets {
            let ratio = with_most_sockets(stage, &observer)?;
            let what = "CPU time per tick over minutes, over that with none";
            BENCH.tell(what, With::many(MOST_SOCKETS, name), "ratio", ratio, Some(WITH_MOST_SOCKETS))?;
        }
    }
    Ok(())
}

/// What a tick takes with the most sockets over what it takes with none. None before and after: what else the machine does
/// may have changed meanwhile.
fn with_most_sockets(stage: &Stage, observer: &Served) -> Result<f64> {
    let per_tick_ns = |size: u32, time: Duration| {
        let _there = Many::Sockets.make(stage, size)?;
        thread::sleep(SETTLING);
        let before = observer.cost()?;
        thread::sleep(time);
        Ok::<_, anyhow::Error>(observer.used_since(before)?.per_tick_ns)
    };
    let before = per_tick_ns(0, WITH_NONE_FOR)?;
    let most = per_tick_ns(MOST_SOCKETS, WITH_MOST_FOR)?;
    let after = per_tick_ns(0, WITH_NONE_FOR)?;
    Ok(most / f64::midpoint(before, after))
}

fn per_tick_us(observer: &Served, plan: &Plan) -> Result<Spread> {
    // What is new is looked at once more closely.
    thread::sleep(plan.turn);
    let mut ticks = Vec::new();
    for _ in 0..plan.rounds {
        let before = observer.cost()?;
        thread::sleep(plan.turn);
        ticks.push(observer.used_since(before)?.per_tick_ns / 1e3);
    }
    Ok(Spread::of(ticks))
}

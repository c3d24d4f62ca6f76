//! What the probes cost each request, by arithmetic: runs per request, nanoseconds per run, and both together over the CPU
//! time of a request.
//!
//! The kernel takes the time of every run (`BPF_ENABLE_STATS`), which costs more than some programs do; what an empty
//! program on the busiest hook is said to take is what taking the time takes.

use std::fs;

use anyhow::{Context as _, Result};

use super::{
    Bench, Budget, Plan, Row,
    paired::Spread,
    served::Served,
    web::{Load, Web},
};
use crate::{
    bpf::{self, Empty, Runs, Timed},
    stage::Stage,
};

pub const BENCH: Bench = Bench {
    name: "programs",
    about: "runs and nanoseconds of each probe under a connection per request",
    play,
};

/// The hook that a connection passes most often.
const BUSIEST: &str = "inet_sock_set_state";

fn play(stage: &Stage, plan: &Plan) -> Result<()> {
    let web = Web::start(stage)?;
    let request_ns = request_ns(&web, plan)?;
    let tell = |what: &str, with: &str, unit: &str, value: f64, budget: Option<Budget>| {
        Row { bench: BENCH.name, what, with, unit, value, low: None, high: None, budget }.tell()
    };
    tell("CPU time of a request", "nothing on", "ns", request_ns, None)?;

    let strangers = bpf::runs()?;
    let _observer = Served::start(stage)?;
    let _empty = Empty::attach(BUSIEST)?;
    let _timed = Timed::start()?;
    let before = bpf::runs()?;
    let requests = web.turn(Load::ConnectionPerRequest, plan)?.requests;
    let after = bpf::runs()?;

    let ran = |(id, after): (&u32, &Runs)| {
        let before = before.get(id).filter(|_| !strangers.contains_key(id))?;
        let runs = after.count.checked_sub(before.count).filter(|runs| *runs > 0)? as f64;
        Some((after.name.clone(), runs, (after.time_ns - before.time_ns) as f64 / runs))
    };
    let (empty, probes): (Vec<_>, Vec<_>) =
        after.iter().filter_map(ran).partition(|(name, ..)| name == Empty::NAME);
    let empty_ns = empty.first().context("the empty program did not run")?.2;
    let what = "an empty program on the busiest hook, with taking the time";
    tell(what, "observer", "ns per run", empty_ns, None)?;
    let mut sum_ns = 0.0;
    for (name, runs, ns) in probes {
        let (runs, ns) = (runs / requests, (ns - empty_ns).max(0.0));
        sum_ns += runs * ns;
        tell(&format!("{name}: runs"), "observer", "per request", runs, None)?;
        tell(&format!("{name}: time above an empty program's"), "observer", "ns per run", ns, None)?;
    }
    tell("all probes", "observer", "ns per request", sum_ns, None)?;
    let share = sum_ns / request_ns;
    tell("all probes, of the CPU time of a request", "observer", "ratio", share, Some(Budget::AtMost(0.01)))
}

/// CPU time that the whole machine spends per request, with nothing on.
fn request_ns(web: &Web<'_>, plan: &Plan) -> Result<f64> {
    let mut turns = Vec::new();
    for _ in 0..plan.rounds {
        let before_ns = busy_ns()?;
        let requests = web.turn(Load::ConnectionPerRequest, plan)?.requests;
        turns.push((busy_ns()? - before_ns) / requests);
    }
    Ok(Spread::of(turns).low)
}

/// CPU time of all CPUs so far, but for idling and waiting.
fn busy_ns() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("/proc/stat is empty")?;
    let fields: Vec<f64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, then idle and iowait, then irq and softirq.
    let ticks: f64 = fields.iter().take(3).chain(fields.iter().skip(5).take(2)).sum();
    Ok(ticks * 1e9 / 100.0)
}

//! What the probes cost each request, by arithmetic: runs per request, nanoseconds per run, and both together over the CPU
//! time of a request.
//!
//! The kernel takes the time of every run (`BPF_ENABLE_STATS`), which costs more than some programs do; what an empty
//! program on the busiest hook is said to take is what taking the time takes.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result};

use super::{Bench, Budget, Plan, served::Served, traffic::Busy};
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
pub const BUSIEST: &str = "inet_sock_set_state";

/// What runs less often per request is left out of the table, and not of the sum.
const RARELY: f64 = 0.01;

/// How one program ran while requests came.
struct Ran {
    name: String,
    per_request: f64,
    /// Nanoseconds of a run, with what taking the time takes.
    ns: f64,
}

fn play(stage: &Stage, plan: &Plan) -> Result<()> {
    let busy = Busy::start(stage)?;
    let request_ns = request_ns(&busy, plan)?;
    BENCH.tell(&format!("CPU time of a request, {}", busy.name()), "nothing on", "ns", request_ns, None)?;
    let strangers = bpf::runs()?;
    let observer = Served::start(stage)?;
    let with = if observer.has_fexit()? { "observer, with fexit" } else { "observer, without fexit" };
    let ran = ran(&busy, plan, &strangers)?;
    let (empty, probes): (Vec<Ran>, Vec<Ran>) = ran.into_iter().partition(|ran| ran.name == Empty::NAME);
    let empty_ns = empty.first().context("the empty program did not run")?.ns;
    let what = "an empty program on the busiest hook, with taking the time";
    BENCH.tell(what, with, "ns per run", empty_ns, None)?;
    let (mut sum_ns, mut told) = (0.0, BTreeMap::<String, u32>::new());
    for Ran { name, per_request, ns } in probes {
        let above_ns = (ns - empty_ns).max(0.0);
        sum_ns += per_request * above_ns;
        if per_request >= RARELY {
            // The kernel cuts names off, and then several have the same.
            let of_name = told.entry(name.clone()).or_default();
            *of_name += 1;
            let name = if *of_name > 1 { format!("{name} ({of_name})") } else { name };
            BENCH.tell(&name, with, "runs per request", per_request, None)?;
            BENCH.tell(&name, with, "ns per run above an empty program", above_ns, None)?;
            BENCH.tell(&name, with, "times an empty program", ns / empty_ns, None)?;
        }
    }
    BENCH.tell("inside all probes", with, "ns per request", sum_ns, None)?;
    let share = sum_ns / request_ns;
    let what = "inside all probes, of the CPU time of a request";
    BENCH.tell(what, with, "ratio", share, Some(Budget::AtMost(0.01)))
}

/// One turn under load; programs that were there before are not observer's.
fn ran(busy: &Busy<'_>, plan: &Plan, strangers: &BTreeMap<u32, Runs>) -> Result<Vec<Ran>> {
    let _empty = Empty::attach(BUSIEST)?;
    let _timed = Timed::start()?;
    let before = bpf::runs()?;
    let requests = busy.requests(plan)?;
    let after = bpf::runs()?;
    let ran = |(id, after): (u32, Runs)| {
        let before = before.get(&id).filter(|_| !strangers.contains_key(&id))?;
        let runs = after.count.checked_sub(before.count).filter(|runs| *runs > 0)? as f64;
        let ns = after.time_ns.saturating_sub(before.time_ns) as f64 / runs;
        Some(Ran { name: after.name, per_request: runs / requests, ns })
    };
    Ok(after.into_iter().filter_map(ran).collect())
}

/// CPU time that the whole machine spends per request, with nothing on: of a good turn, so that the share of the probes is
/// not made small by what else the machine did.
fn request_ns(busy: &Busy<'_>, plan: &Plan) -> Result<f64> {
    let mut turns = Vec::new();
    for _ in 0..plan.rounds {
        let before_ns = busy_ns()?;
        let requests = busy.requests(plan)?;
        turns.push((busy_ns()? - before_ns) / requests);
    }
    turns.sort_by(f64::total_cmp);
    Ok(turns[turns.len() / 4])
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

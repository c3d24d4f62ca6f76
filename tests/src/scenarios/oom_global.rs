//! The whole host runs out of memory, because of a process that no cgroup limits.

use std::{env, fs, path::Path};

use anyhow::{Context, Result, ensure};

use super::{
    PORT, Scenario,
    file_table_full::OWN_MACHINE,
    oom_kill::{OOM_KILL, comm, steady_load},
};
use crate::{
    check::{Count, Ending, Expect, Place, Truth},
    cleanup::Guard,
    report::Order,
    roles::{Role, serve::Serve, strain::Hog},
    stage::{PATIENCE, Stage},
    watch::{Gauge, Watch},
};

pub const SCENARIO: Scenario = Scenario {
    name: "oom_global",
    about: "the whole host runs out of memory and a process is killed: role path, constraint none",
    play,
};

const HOST: Expect = Expect { role: "path", ..OOM_KILL };
const READINESS: &str = "/proc/self/oom_score_adj";
/// What lab, observer, service and load inherit, so that the kernel chooses among the others.
const PROTECTED: &str = "-900";
const FIRST_TO_DIE: i16 = 1000;
const MIB_PER_S: u32 = 400;
const CONSTRAINT: &str = "CONSTRAINT_NONE";
const UNDER_WAY: u64 = 50;
const AND_ON: u64 = 100;

fn play(stage: &Stage) -> Result<Ending> {
    if env::var_os(OWN_MACHINE).is_none() {
        return Ok(Ending::Skip("it takes the whole host's memory; needs a machine of its own".into()));
    }
    let _readiness = Guard::setting(Path::new(READINESS))?;
    fs::write(READINESS, PROTECTED).with_context(|| format!("cannot set {READINESS}"))?;
    let service = stage.serve("service", Serve::on(PORT))?;
    let hog = Hog { cgroup: Vec::new(), oom_score_adj: Some(FIRST_TO_DIE), mib_per_s: MIB_PER_S };
    let mut hog = stage.prepare("hog", &Role::Hog(hog))?;
    let kills = Watch::start(Gauge::field(Path::new("/proc/vmstat"), "oom_kill"))?;
    let mut load = stage.observe(&[], &steady_load(&service))?;
    load.wait_for_done(UNDER_WAY)?;
    hog.order(Order::Resume)?;
    kills.wait_for(1, PATIENCE)?;
    load.wait_for_done(UNDER_WAY + AND_ON)?;
    let finished = load.finish()?;

    ensure!(kills.count() == 1, "{} processes were killed, not one", kills.count());
    let truth = Truth {
        onset: kills.onset()?,
        place: Place { pid: Some(hog.pid()), comm: Some(comm()?), ..Place::default() },
        counts: vec![Count::of(&["oom_kill"]).kernel_says("oom_kill", kills.count())],
    };
    let ending = HOST.check_first(&truth, &finished)?;
    let (Ending::Ok, Some(verdict)) = (&ending, &finished.verdict) else { return Ok(ending) };
    let evidence = verdict.first.iter().flat_map(|first| &first.evidence);
    let reasons: Vec<_> =
        evidence.filter_map(|entry| entry.reasons.as_ref()).flat_map(|of| of.keys()).collect();
    ensure!(
        reasons.iter().any(|reason| *reason == CONSTRAINT),
        "the reason is {reasons:?}, not {CONSTRAINT}"
    );
    Ok(ending)
}

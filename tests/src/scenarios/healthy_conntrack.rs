//! Tracked connections at eighty per cent of nf_conntrack_max.

use std::{fs, thread, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{
    EIGHTY_PER_CENT, PORT, Scenario,
    conntrack::{limit_entries, missing},
};
use crate::{
    check::{Ending, check_clear},
    counters::Counter,
    explain::check_headroom,
    label::Labeller,
    netns,
    roles::{Role, load::Load, serve::Serve},
    stage::{Service, Stage},
};

pub const SCENARIO: Scenario = Scenario {
    name: "healthy_80_conntrack",
    about: "tracked connections at 80 % of nf_conntrack_max: clear",
    play,
};

const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
const ENTRIES: u32 = 100;
/// Eighty connections, whose entries stay for two minutes.
const WORKERS: u32 = 8;
const REQUESTS: u64 = 10;
/// How long they stay under observation.
const STEADY: Duration = Duration::from_secs(3);

fn play(stage: &Stage) -> Result<Ending> {
    if let Some(skip) = missing() {
        return Ok(skip);
    }
    let service = stage.serve("service", Serve { track_connections: true, threads: 4, ..Serve::on(PORT) })?;
    let labeller = Labeller::start(service.pid)?;
    let limit = limit_entries(ENTRIES)?;
    let mut load = stage.observe(
        &[],
        &Role::Load(Load {
            netns_of: Some(service.pid),
            workers: WORKERS,
            think_ms: 50,
            requests: Some(REQUESTS),
            ..Load::to(service.address())
        }),
    )?;
    load.wait_for_done(u64::from(WORKERS) * REQUESTS)?;
    thread::sleep(STEADY);
    check_entries(&service)?;
    let finished = load.finish()?;
    drop(limit);

    let labels = labeller.finish();
    let lost = [Counter::ConntrackDrop, Counter::ConntrackEarlyDrop].map(|counter| labels.count(counter));
    ensure!(lost == [0, 0], "the table was full: {labels:?}");
    ensure!(finished.tally.errnos.is_empty(), "not healthy: {:?}", finished.tally);
    let ending = check_clear(&finished)?;
    if let Some(verdict) = &finished.verdict {
        check_headroom("conntrack", EIGHTY_PER_CENT, verdict)?;
    }
    Ok(ending)
}

/// Checks that the table of the service's namespace is as full as it is to be, by the kernel's own count.
fn check_entries(service: &Service) -> Result<()> {
    netns::inside(service.pid, || {
        let text = fs::read_to_string(COUNT).with_context(|| format!("cannot read {COUNT}"))?;
        let entries: f64 = text.trim().parse()?;
        println!("  truth {entries} tracked connections of {ENTRIES}");
        let ratio = entries / f64::from(ENTRIES);
        ensure!(EIGHTY_PER_CENT.contains(&ratio), "the table was not at 80 %: {entries} of {ENTRIES}");
        Ok(())
    })
}

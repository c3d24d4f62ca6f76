//! A connection for every request, closed by the client, at eighty per cent of what the host can have: local
//! ports and TIME_WAIT sockets, and for a moment half-open connections.

use std::{thread, time::Duration};

use anyhow::{Result, bail, ensure};

use super::{EIGHTY_PER_CENT, PORT, Scenario, healthy_connections::refused};
use crate::{
    check::{Ending, check_clear},
    explain::check_headroom,
    label::Labeller,
    report::Report,
    roles::{Role, flood::Flood, load::Load, serve::Serve},
    stage::{Service, Stage},
};

pub const SCENARIO: Scenario = Scenario {
    name: "healthy_80_churn",
    about: "a connection per request at 80 % of ports, TIME_WAIT sockets and the SYN queue: clear",
    play,
};

const WORKERS: u32 = 8;
const REQUESTS: u64 = 20;
/// A hundred and sixty of two hundred, of each. Ports in TIME_WAIT are not to be used again.
const SYSCTLS: [&str; 3] = [
    "net/ipv4/ip_local_port_range=40000 40199",
    "net/ipv4/tcp_max_tw_buckets=200",
    "net/ipv4/tcp_tw_reuse=0",
];
const BACKLOG: u16 = 105;
const HALF_OPEN: u32 = 84;
/// Less than the second after which the first SYN-ACK is sent again.
const HALF_OPEN_MS: u64 = 600;
/// One after the other takes its place: asking for half-open connections is dear, and is not done often.
const VOLLEYS: u32 = 20;
/// How long the ports stay in TIME_WAIT under observation, beyond that: on a slow machine under load, one look at them
/// takes tens of milliseconds, and observer rests for a thousand times as long after one that finds a quarter in use.
const STEADY: Duration = Duration::from_secs(20);

fn play(stage: &Stage) -> Result<Ending> {
    let sysctl = SYSCTLS.map(str::to_owned).into();
    let service =
        stage.serve("service", Serve { backlog: BACKLOG, wait_close: true, sysctl, ..Serve::on(PORT) })?;
    let labeller = Labeller::start(service.pid)?;
    let mut load = stage.observe(
        &[],
        &Role::Load(Load {
            netns_of: Some(service.pid),
            workers: WORKERS,
            think_ms: 50,
            close_first: true,
            requests: Some(REQUESTS),
            ..Load::to(service.address())
        }),
    )?;
    load.wait_for_done(u64::from(WORKERS))?;
    half_open(stage, &service)?;
    load.wait_for_done(u64::from(WORKERS) * REQUESTS)?;
    thread::sleep(STEADY);
    let waiting = time_wait(&service)?;
    let finished = load.finish()?;

    let labels = labeller.finish();
    println!("  truth {waiting} in TIME_WAIT of 200, {} answers", finished.tally.done);
    ensure!((150..=170).contains(&waiting), "TIME_WAIT was not at 80 %: {waiting}");
    ensure!(refused(&labels) == 0, "not healthy: {labels:?}");
    ensure!(finished.tally.errnos.is_empty(), "not healthy: {:?}", finished.tally);
    let ending = check_clear(&finished)?;
    let Some(verdict) = &finished.verdict else { return Ok(ending) };
    for resource in ["ephemeral_ports", "time_wait", "syn_queue"] {
        check_headroom(resource, EIGHTY_PER_CENT, verdict)?;
    }
    Ok(ending)
}

/// Clients that begin to connect, wait, and change their minds.
fn half_open(stage: &Stage, service: &Service) -> Result<()> {
    let flood = stage.prepare(
        "half-open",
        &Role::Flood(Flood {
            netns_of: Some(service.pid),
            half_open: HALF_OPEN,
            volleys: VOLLEYS,
            interval_ms: HALF_OPEN_MS,
            reset: true,
            ..Flood::to(service.address())
        }),
    )?;
    match flood.report()? {
        Report::Packets { syns, .. } if syns == u64::from(HALF_OPEN * VOLLEYS) => Ok(()),
        other => bail!("{} SYNs were to be sent, but {other:?}", HALF_OPEN * VOLLEYS),
    }
}

/// TIME_WAIT sockets of the service's namespace, as the kernel counts them.
fn time_wait(service: &Service) -> Result<u64> {
    let path = format!("/proc/{}/net/sockstat", service.pid);
    let text = std::fs::read_to_string(&path)?;
    let count = text.split_whitespace().skip_while(|word| *word != "tw").nth(1);
    match count.and_then(|count| count.parse().ok()) {
        Some(count) => Ok(count),
        None => bail!("{path} has no count of TIME_WAIT sockets"),
    }
}

//! SYNs from sources that never answer fill a listener's SYN queue, beside an ordinary load.
//!
//! Without SYN cookies the kernel drops further SYNs, which is a hit. With cookies it answers them without
//! a place in the queue: pressure, and the load goes on.

use anyhow::{Context, Result, bail, ensure};

use super::{PORT, Scenario, listener};
use crate::{
    check::{Count, Ending, Expect, Truth, check_clear},
    counters::Counter,
    label::{Labeller, Labels},
    report::Report,
    roles::{Role, flood::Flood, serve::Serve},
    stage::{Finished, Service, Stage},
};

pub const DROP: Scenario = Scenario {
    name: "syn_queue_drop",
    about: "half-open connections fill the SYN queue, cookies are off; SYNs are dropped",
    play: drops,
};

pub const COOKIES: Scenario = Scenario {
    name: "syn_cookies",
    about: "half-open connections fill the SYN queue, cookies are on; pressure, not a hit",
    play: cookies,
};

const SYN_QUEUE_OVERFLOW: Expect =
    Expect { fault_line: "syn_queue_overflow", role: "target", deciding: &["syn_queue_drop"] };
const BACKLOG: u16 = 8;
const SYNS_PER_VOLLEY: u32 = 40;
const VOLLEYS: u32 = 6;

fn drops(stage: &Stage) -> Result<Ending> {
    let (service, labels, finished) = flood(stage, "net/ipv4/tcp_syncookies=0")?;
    let truth = Truth {
        onset: labels.onset(Counter::ReqQFullDrop).context("no SYN queue overflowed")?,
        place: listener(&service),
        counts: vec![Count::of(&["syn_queue_drop"]).kernel(Counter::ReqQFullDrop, &labels)],
    };
    ensure!(labels.count(Counter::ReqQFullDoCookies) == 0, "cookies were sent, though they are off");
    SYN_QUEUE_OVERFLOW.check_first(&truth, &finished)
}

fn cookies(stage: &Stage) -> Result<Ending> {
    let (_service, labels, finished) = flood(stage, "net/ipv4/tcp_syncookies=1")?;
    let (cookies, drops) = (labels.count(Counter::ReqQFullDoCookies), labels.count(Counter::ReqQFullDrop));
    println!("  truth {cookies} cookies, {drops} drops, {} answers", finished.tally.done);
    ensure!(cookies > 0 && drops == 0, "cookies were to be sent and nothing dropped");
    check_clear(&finished)
}

fn flood(stage: &Stage, sysctl: &str) -> Result<(Service, Labels, Finished)> {
    let service = stage
        .serve("service", Serve { backlog: BACKLOG, sysctl: vec![sysctl.to_owned()], ..Serve::on(PORT) })?;
    let labeller = Labeller::start(service.pid)?;
    let target = format!(":{PORT}");
    let flood = stage.observe(
        &["--target", &target],
        &Role::Flood(Flood {
            netns_of: Some(service.pid),
            half_open: SYNS_PER_VOLLEY,
            volleys: VOLLEYS,
            side_workers: 2,
            ..Flood::to(service.address())
        }),
    )?;
    match flood.report()? {
        Report::Packets { syns, .. } if syns == u64::from(SYNS_PER_VOLLEY * VOLLEYS) => {}
        other => bail!("{} SYNs were to be sent, but {other:?}", SYNS_PER_VOLLEY * VOLLEYS),
    }
    flood.wait_holding()?;
    let finished = flood.finish()?;
    Ok((service, labeller.finish(), finished))
}

//! A connection per request, closed by the clients first: each leaves its port in TIME_WAIT. That is as it
//! should be, unless there is no room for more of them, or no port left.

use anyhow::{Context, Result, ensure};

use super::{PORT, Scenario, TIME_WAIT_OVERFLOW, errno_truth, port_exhaustion};
use crate::{
    check::{Count, Ending, Place, Truth, check_clear},
    counters::{self, Counter},
    label::{Labeller, Labels},
    roles::{Role, load::Load, serve::Serve},
    stage::{Observed, Service, Stage},
    verdict::Tier,
};

pub const OVERFLOW: Scenario = Scenario {
    name: "time_wait_overflow",
    about: "more connections than tcp_max_tw_buckets are to enter TIME_WAIT; the others are just closed",
    play: overflow,
};

pub const CHURN: Scenario = Scenario {
    name: "healthy_churn",
    about: "fifteen hundred connections in TIME_WAIT, which there is room for: clear",
    play: churn,
};

pub const PORTS: Scenario = Scenario {
    name: "cascade_churn_ports",
    about: "connections in TIME_WAIT hold every local port; connect fails with EADDRNOTAVAIL",
    play: ports,
};

const BUCKETS: u64 = 60;
const OVERFLOWING: u64 = 600;
const CHURNED: u64 = 1500;
/// None leaves TIME_WAIT early, so that all of them count: no port is taken over, and no reset ends it, which a
/// service that is kept waiting for its turn sends when the client answers a segment of a connection that is gone.
const STAY: [&str; 2] = ["net/ipv4/tcp_tw_reuse=0", "net/ipv4/tcp_rfc1337=1"];
/// Two hundred ports.
const RANGE: &str = "net/ipv4/ip_local_port_range=40000 40199";
/// Half a second's worth.
const REFUSALS: u64 = 400;
/// Where the function that makes the TIME_WAIT socket cannot be hooked, the end of the full socket is seen,
/// which comes whether there was room or not.
const ESTIMATE: &str = "closed by state change which includes overflows";

fn overflow(stage: &Stage) -> Result<Ending> {
    let buckets = format!("net/ipv4/tcp_max_tw_buckets={BUCKETS}");
    let (service, labeller, mut load) = start(stage, &[&STAY[..], &[&buckets]].concat())?;
    load.wait_for_done(OVERFLOWING)?;
    let finished = load.finish()?;
    let labels = labeller.finish();
    let overflows = labels.count(Counter::TimeWaitOverflow);
    let entered = counters::time_wait(service.pid)?;
    println!("  truth {entered} in TIME_WAIT, {overflows} overflows, {} answers", finished.tally.done);
    ensure!(entered + overflows == finished.tally.done, "each connection was to be closed by its client");
    let truth = Truth {
        onset: labels.onset(Counter::TimeWaitOverflow).context("there was room for all")?,
        place: Place { netns: Some(service.netns), ..Place::default() },
        counts: vec![
            Count::of(&["time_wait_overflow"]).kernel(Counter::TimeWaitOverflow, &labels),
            entered_count(entered, &labels),
        ],
    };
    TIME_WAIT_OVERFLOW.check_first(&truth, &finished)
}

fn churn(stage: &Stage) -> Result<Ending> {
    let (service, labeller, mut load) = start(stage, &[])?;
    load.wait_for_done(CHURNED)?;
    let finished = load.finish()?;
    let entered = counters::time_wait(service.pid)?;
    println!("  truth {entered} in TIME_WAIT, {} answers", finished.tally.done);
    ensure!(labeller.finish().count(Counter::TimeWaitOverflow) == 0, "there was no room for all");
    ensure!(finished.tally.errnos.is_empty(), "not healthy: {:?}", finished.tally);
    check_clear(&finished)
}

fn ports(stage: &Stage) -> Result<Ending> {
    let (service, labeller, mut load) = start(stage, &[&STAY[..], &[RANGE]].concat())?;
    load.wait_for_errno(libc::EADDRNOTAVAIL, REFUSALS)?;
    let finished = load.finish()?;
    let labels = labeller.finish();
    ensure!(labels.count(Counter::TimeWaitOverflow) == 0, "there was no room for all");
    let place =
        Place { destination_port: Some(service.port), netns: Some(service.netns), ..Place::default() };
    let mut truth = errno_truth(&finished, libc::EADDRNOTAVAIL, place, &["port_search_failed"])?;
    truth.counts.push(entered_count(counters::time_wait(service.pid)?, &labels).app(finished.tally.done));
    port_exhaustion::BY_CONNECT.check_first(&truth, &finished)
}

fn start(stage: &Stage, sysctl: &[&str]) -> Result<(Service, Labeller, Observed)> {
    let sysctl = sysctl.iter().map(|setting| (*setting).to_owned()).collect();
    let service =
        stage.serve("service", Serve { sysctl, wait_close: true, threads: 8, ..Serve::on(PORT) })?;
    let labeller = Labeller::start(service.pid)?;
    let load = stage.observe(
        &[],
        &Role::Load(Load {
            netns_of: Some(service.pid),
            workers: 8,
            close_first: true,
            ..Load::to(service.address())
        }),
    )?;
    Ok((service, labeller, load))
}

fn entered_count(entered: u64, labels: &Labels) -> Count {
    let overflows = labels.count(Counter::TimeWaitOverflow).cast_signed();
    Count::of(&["time_wait_entered"]).kernel_says("sockstat_tw", entered).explained(
        Tier::Tracepoint,
        overflows,
        ESTIMATE,
    )
}

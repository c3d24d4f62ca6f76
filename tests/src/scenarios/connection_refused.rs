//! Connects to a port on which nobody listens: the service is not there, or only at the other address of
//! its name.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use anyhow::{Context, Result, ensure};

use super::{CONNECTION_REFUSED, PORT, Scenario, errno_truth};
use crate::{
    check::{Count, Ending, Expect, Place, Truth, check_clear},
    counters::Counter,
    label::Labeller,
    netns,
    roles::{Role, flood::Flood, link::Link, load::Load, serve::Serve},
    stage::Stage,
    veth,
};

pub const REFUSED: Scenario = Scenario {
    name: "connection_refused",
    about: "half of the load goes to a port on which nobody listens; connect fails with ECONNREFUSED",
    play: refused,
};

pub const FROM_ELSEWHERE: Scenario = Scenario {
    name: "syn_refused",
    about: "SYNs from other hosts to a port on which nobody listens are answered with resets",
    play: from_elsewhere,
};

pub const UNREACHABLE: Scenario = Scenario {
    name: "connect_unreachable",
    about: "connects through a router that knows no way there: it answers with ICMP, and connect fails with ENETUNREACH",
    play: unreachable,
};

pub const FALLBACK: Scenario = Scenario {
    name: "healthy_fallback_address",
    about: "clients are refused at ::1 and then served at 127.0.0.1, as with localhost: clear",
    play: fallback,
};

const CLOSED_PORT: u16 = 8081;
/// A second's worth.
const REFUSALS: u64 = 300;
const SYNS_PER_VOLLEY: u32 = 20;
const VOLLEYS: u32 = 10;

fn refused(stage: &Stage) -> Result<Ending> {
    let service = stage.serve("service", Serve::on(PORT))?;
    let labeller = Labeller::start(service.pid)?;
    let closed = SocketAddrV4::new(*service.address().ip(), CLOSED_PORT);
    let mut load = stage.observe(
        &[],
        &Role::Load(Load {
            to: vec![service.address(), closed],
            netns_of: Some(service.pid),
            workers: 8,
            ..Load::to(closed)
        }),
    )?;
    load.wait_for_errno(libc::ECONNREFUSED, REFUSALS)?;
    let finished = load.finish()?;
    let labels = labeller.finish();
    let place = Place { destination_port: Some(CLOSED_PORT), netns: Some(service.netns), ..Place::default() };
    let mut truth = errno_truth(&finished, libc::ECONNREFUSED, place, &["connect_refused"])?;
    let refused = finished.tally.count(libc::ECONNREFUSED);
    truth.counts = vec![Count::of(&["connect_refused"]).kernel(Counter::AttemptFails, &labels).app(refused)];
    CONNECTION_REFUSED.check_first(&truth, &finished)
}

/// The clients are elsewhere: what is seen of them is their SYNs, and the kernel's answers.
fn from_elsewhere(stage: &Stage) -> Result<Ending> {
    let service = stage.serve("service", Serve::on(PORT))?;
    let labeller = Labeller::start(service.pid)?;
    let closed = SocketAddrV4::new(*service.address().ip(), CLOSED_PORT);
    let target = format!(":{CLOSED_PORT}");
    let flood = stage.observe(
        &["--target", &target],
        &Role::Flood(Flood {
            netns_of: Some(service.pid),
            half_open: SYNS_PER_VOLLEY,
            volleys: VOLLEYS,
            ..Flood::to(closed)
        }),
    )?;
    flood.wait_holding()?;
    let finished = flood.finish()?;
    let labels = labeller.finish();
    let truth = Truth {
        onset: labels.onset(Counter::OutRsts).context("nothing was refused")?,
        place: Place { listener_port: Some(CLOSED_PORT), netns: Some(service.netns), ..Place::default() },
        counts: vec![
            Count::of(&["syn_refused"])
                .kernel(Counter::OutRsts, &labels)
                .app(u64::from(SYNS_PER_VOLLEY * VOLLEYS)),
        ],
    };
    Expect { role: "target", deciding: &["syn_refused"], ..CONNECTION_REFUSED }.check_first(&truth, &finished)
}

/// Each is answered with an ICMP message; so few are a fault where nothing else was tried.
const MESSAGES: u32 = 5;

fn unreachable(stage: &Stage) -> Result<Ending> {
    let router = stage.prepare("router", &Role::Router)?;
    let clients = stage.prepare("clients", &Role::Link(Link { to: router.pid() }))?;
    let (pid, netns) = (clients.pid(), netns::inode(clients.pid())?);
    netns::inside(pid, || netns::route_spoofed_through(veth::FAR))?;
    let labeller = Labeller::start(pid)?;
    let nobody = SocketAddrV4::new(Ipv4Addr::from_bits(netns::SPOOFED.to_bits() + 1), PORT);
    let mut load = stage.observe(
        &[],
        &Role::Load(Load { netns_of: Some(pid), workers: MESSAGES, requests: Some(1), ..Load::to(nobody) }),
    )?;
    load.wait_for_errno(libc::ENETUNREACH, u64::from(MESSAGES))?;
    let finished = load.finish()?;
    let labels = labeller.finish();
    let place = Place { destination_port: Some(PORT), netns: Some(netns), ..Place::default() };
    let mut truth = errno_truth(&finished, libc::ENETUNREACH, place, &["connect_refused"])?;
    truth.counts =
        vec![Count::of(&["connect_refused"]).kernel(Counter::AttemptFails, &labels).app(u64::from(MESSAGES))];
    CONNECTION_REFUSED.check_first(&truth, &finished)
}

fn fallback(stage: &Stage) -> Result<Ending> {
    let service = stage.serve("service", Serve::on(PORT))?;
    let mut load = stage.observe(
        &[],
        &Role::Load(Load {
            netns_of: Some(service.pid),
            workers: 4,
            first_try: Some((Ipv6Addr::LOCALHOST, PORT).into()),
            ..Load::to(service.address())
        }),
    )?;
    load.wait_for_done(REFUSALS)?;
    let finished = load.finish()?;
    let (refused, done) = (finished.tally.count(libc::ECONNREFUSED), finished.tally.done);
    println!("  truth {refused} connects refused, {done} answers");
    ensure!(refused == done, "each answer was to follow a refusal");
    check_clear(&finished)
}

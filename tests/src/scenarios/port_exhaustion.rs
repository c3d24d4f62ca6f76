//! The generator takes every local port of a small range and holds them, until the kernel finds none.

use anyhow::Result;

use super::{PORT, Scenario, errno_truth};
use crate::{
    check::{Ending, Expect, Place},
    roles::{
        Role,
        ports::{How, Ports},
        serve::Serve,
    },
    stage::{Finished, Service, Stage},
};

pub const CONNECT: Scenario = Scenario {
    name: "port_exhaustion",
    about: "connections to one destination take every local port; connect fails with EADDRNOTAVAIL",
    play: connect,
};

pub const BIND: Scenario = Scenario {
    name: "bind_exhausted",
    about: "bind to port 0 takes every local port, and then fails with EADDRINUSE",
    play: bind,
};

pub const BY_CONNECT: Expect =
    Expect { fault_line: "port_exhaustion", role: "generator", deciding: &["port_search_failed"] };
const BY_BIND: Expect =
    Expect { fault_line: "port_exhaustion", role: "generator", deciding: &["bind_exhausted"] };
/// Thirty-two ports.
const RANGE: &str = "net/ipv4/ip_local_port_range=40000 40031";

fn connect(stage: &Stage) -> Result<Ending> {
    let (service, finished) = exhaust(stage, How::Connect)?;
    let place =
        Place { destination_port: Some(service.port), netns: Some(service.netns), ..Place::default() };
    let truth = errno_truth(&finished, libc::EADDRNOTAVAIL, place, &["port_search_failed"])?;
    BY_CONNECT.check_first(&truth, &finished)
}

fn bind(stage: &Stage) -> Result<Ending> {
    let (service, finished) = exhaust(stage, How::BindAny)?;
    let place = Place { netns: Some(service.netns), ..Place::default() };
    let truth = errno_truth(&finished, libc::EADDRINUSE, place, &["bind_exhausted"])?;
    BY_BIND.check_first(&truth, &finished)
}

fn exhaust(stage: &Stage, how: How) -> Result<(Service, Finished)> {
    let service =
        stage.serve("service", Serve { hold: true, sysctl: vec![RANGE.to_owned()], ..Serve::on(PORT) })?;
    let ports = stage.observe(
        &[],
        &Role::Ports(Ports { netns_of: Some(service.pid), how, ..Ports::to(service.address()) }),
    )?;
    ports.wait_holding()?;
    Ok((service, ports.finish()?))
}

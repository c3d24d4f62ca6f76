//! Connects to a port on which nobody listens: the service is not there, or only at the other address of
//! its name.

use std::net::{Ipv6Addr, SocketAddrV4};

use anyhow::{Result, ensure};

use super::{CONNECTION_REFUSED, PORT, Scenario, errno_truth};
use crate::{
    check::{Count, Ending, Place, check_clear},
    counters::Counter,
    label::Labeller,
    roles::{Role, load::Load, serve::Serve},
    stage::Stage,
};

pub const REFUSED: Scenario = Scenario {
    name: "connection_refused",
    about: "half of the load goes to a port on which nobody listens; connect fails with ECONNREFUSED",
    play: refused,
};

pub const FALLBACK: Scenario = Scenario {
    name: "healthy_fallback_address",
    about: "clients are refused at ::1 and then served at 127.0.0.1, as with localhost: clear",
    play: fallback,
};

const CLOSED_PORT: u16 = 8081;
/// A second's worth.
const REFUSALS: u64 = 300;

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
    truth.counts = [&["connect_refused"], &["syn_refused"]]
        .map(|signals| Count::of(signals).kernel(Counter::OutRsts, &labels).app(refused))
        .into();
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

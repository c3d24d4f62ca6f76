//! The generator binds a fixed port that the service already has.

use anyhow::Result;

use super::{PORT, Scenario, errno_truth};
use crate::{
    check::{Ending, Expect, Place},
    roles::{
        Role,
        ports::{How, Ports},
        serve::Serve,
    },
    stage::Stage,
};

pub const SCENARIO: Scenario = Scenario {
    name: "port_collision",
    about: "bind to a fixed port that is taken fails with EADDRINUSE",
    play,
};

const PORT_COLLISION: Expect =
    Expect { fault_line: "port_collision", role: "generator", deciding: &["bind_collision"] };

fn play(stage: &Stage) -> Result<Ending> {
    let service = stage.serve("service", Serve { hold: true, ..Serve::on(PORT) })?;
    let ports = stage.observe(
        &[],
        &Role::Ports(Ports {
            netns_of: Some(service.pid),
            how: How::BindFixed,
            ..Ports::to(service.address())
        }),
    )?;
    ports.wait_holding()?;
    let finished = ports.finish()?;
    let place = Place { listener_port: Some(service.port), netns: Some(service.netns), ..Place::default() };
    let truth = errno_truth(&finished, libc::EADDRINUSE, place, &["bind_collision"])?;
    PORT_COLLISION.check_first(&truth, &finished)
}

//! Errors that look like faults and are none: refused connections, EADDRNOTAVAIL for want of an address
//! (not of a port), EMFILE from inotify (not for want of a descriptor), a stray RST.

use anyhow::Result;

use super::{PORT, Scenario};
use crate::{
    check::{Ending, check_clear},
    roles::{Role, decoys::Decoys, serve::Serve},
    stage::Stage,
};

pub const SCENARIO: Scenario = Scenario {
    name: "healthy_decoys",
    about: "a light load beside errors that look like faults and are none: clear",
    play,
};

const WITHOUT_IPV6: &str = "net/ipv6/conf/lo/disable_ipv6=1";
const ANSWERS: u64 = 200;

fn play(stage: &Stage) -> Result<Ending> {
    let service =
        stage.serve("service", Serve { sysctl: vec![WITHOUT_IPV6.to_owned()], ..Serve::on(PORT) })?;
    let mut decoys =
        stage.observe(&[], &Role::Decoys(Decoys { to: service.address(), netns_of: Some(service.pid) }))?;
    decoys.wait_holding()?;
    decoys.wait_for_done(ANSWERS)?;
    check_clear(&decoys.finish()?)
}

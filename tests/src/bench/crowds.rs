//! Many of something, all of which are there and do nothing.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::{
    children::Running,
    report::Report,
    roles::{Role, crowd::Crowd},
    stage::Stage,
};

/// What is new is looked at more closely; from this time after it came it is not new any more.
pub const SETTLING: Duration = Duration::from_secs(60);

/// Connected sockets in one network namespace: that of the process `inside`, or a new one. Where they are none, the listener is
/// there with its process.
pub fn sockets(stage: &Stage, count: u32, inside: Option<u32>) -> Result<Vec<Running>> {
    Ok(vec![gather(stage, Crowd { listeners: 1, connections: count / 2, netns_of: inside })?])
}

/// Listeners in a new network namespace.
pub fn listeners(stage: &Stage, count: u32) -> Result<Vec<Running>> {
    Ok(vec![gather(stage, Crowd { listeners: count, connections: 0, netns_of: None })?])
}

/// Network namespaces with a listener in each.
pub fn namespaces(stage: &Stage, count: u32) -> Result<Vec<Running>> {
    let crowd = Crowd { listeners: 1, connections: 0, netns_of: None };
    (0..count).map(|_| gather(stage, crowd)).collect()
}

fn gather(stage: &Stage, crowd: Crowd) -> Result<Running> {
    let running = stage.prepare("crowd", &Role::Crowd(crowd))?;
    while running.report().context("the crowd does not gather")? != Report::Holding {}
    Ok(running)
}

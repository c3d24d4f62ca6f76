//! Many of something, all of which are there and do nothing.

use std::iter;

use anyhow::{Context as _, Result};

use crate::{
    children::Running,
    report::Report,
    roles::{Role, crowd::Crowd},
    stage::Stage,
};

/// Descriptors are limited per process, so a large crowd is several. A process near its limit is looked at more closely, which
/// the number of sockets is not to be mistaken for.
const SOCKETS_OF_ONE: u32 = 5_000;

/// Connected sockets in one network namespace: that of the process `inside`, or a new one. Where they are none, a crowd is
/// there with its listener.
pub fn sockets(stage: &Stage, count: u32, inside: Option<u32>) -> Result<Vec<Running>> {
    let full = iter::repeat_n(SOCKETS_OF_ONE, (count / SOCKETS_OF_ONE) as usize);
    let rest = count % SOCKETS_OF_ONE;
    let mut crowds: Vec<Running> = Vec::new();
    for sockets in full.chain((rest > 0 || count == 0).then_some(rest)) {
        let netns_of = inside.or_else(|| crowds.first().map(Running::pid));
        crowds.push(gather(stage, Crowd { listeners: 1, connections: sockets / 2, netns_of })?);
    }
    Ok(crowds)
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

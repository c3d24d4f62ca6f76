//! Where something was, with the names that the facts so far give to ids.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use serde::Serialize;

use crate::core::{
    frame::Fact,
    scope::container_id,
    subject::{Controller, Subject},
};

/// A subject by its ids and names. Unknown is `None`.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Place {
    pub(super) netns: Option<u32>,
    pub(super) listener: Option<SocketAddr>,
    pub(super) destination: Option<SocketAddr>,
    pub(super) source: Option<IpAddr>,
    /// Path of the cgroup.
    pub(super) cgroup: Option<String>,
    pub(super) cgroup_id: Option<u64>,
    /// Whose hierarchy the id is of.
    pub(super) controller: Option<Controller>,
    pub(super) container: Option<String>,
    pub(super) pid: Option<u32>,
    pub(super) comm: Option<String>,
}

/// The names of processes and cgroups, as far as they were told.
#[derive(Debug, Default)]
pub(super) struct Names {
    processes: HashMap<u32, String>,
    cgroups: HashMap<(Option<Controller>, u64), String>,
}

impl Names {
    /// Takes note of a name.
    pub(super) fn learn(&mut self, fact: &Fact) {
        match fact {
            // A probe names the thread that it met, and knows no parent: /proc knows better.
            Fact::Process { pid, parent: 0, comm, .. } => {
                self.processes.entry(*pid).or_insert_with(|| comm.clone());
            }
            Fact::Process { pid, comm, .. } => {
                self.processes.insert(*pid, comm.clone());
            }
            Fact::CgroupPath { id, controller, path } => {
                self.cgroups.insert((*controller, *id), path.clone());
            }
            _ => {}
        }
    }

    /// A subject with what is known of it.
    pub(super) fn place(&self, subject: &Subject) -> Place {
        let Subject { netns, listener, destination, source, cgroup, controller, pid } = *subject;
        let path = cgroup.and_then(|id| self.cgroups.get(&(controller, id)));
        Place {
            netns,
            listener,
            destination,
            source,
            cgroup: path.cloned(),
            cgroup_id: cgroup,
            controller,
            container: path.and_then(|path| container_id(path)).map(str::to_owned),
            pid,
            comm: pid.and_then(|pid| self.processes.get(&pid)).cloned(),
        }
    }
}

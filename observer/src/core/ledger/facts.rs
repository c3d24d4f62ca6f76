//! What is known of processes, listeners, cgroups and limits: facts are learnt, and asked for again.

use std::collections::btree_map::Entry;

use super::{Ledger, LogLine, Process, Victim};
use crate::core::{
    frame::Fact,
    scope::is_below,
    subject::{Controller, Subject},
    verdict::Limit,
};

impl Ledger {
    pub(super) fn learn(&mut self, fact: &Fact) {
        match fact {
            Fact::Process { pid, parent, comm, netns, cgroup, generator } => {
                let known = self.processes.get_mut(pid);
                let generator = *generator || known.as_ref().is_some_and(|known| known.generator);
                // A probe names the thread that it met, and knows no parent: /proc knows better.
                if let Some(known) = known.filter(|_| *parent == 0) {
                    known.generator = generator;
                    return;
                }
                let process = Process {
                    parent: *parent,
                    comm: comm.clone(),
                    cgroup: *cgroup,
                    netns: *netns,
                    generator,
                };
                self.processes.insert(*pid, process);
            }
            Fact::ListenerOwner { netns, listener, pid } => {
                self.owners.entry((*netns, *listener)).or_default().insert(*pid);
            }
            Fact::CgroupPath { id, controller, path } => {
                self.cgroup_paths.insert((*controller, *id), path.clone());
            }
            Fact::ProcessCgroup { pid, controller, cgroup } => {
                self.join_cgroup(*pid, *controller, *cgroup);
            }
            Fact::KernelLog { at_ns, about, text } => {
                self.log.push(LogLine { at_ns: *at_ns, about: *about, text: text.clone() });
            }
            Fact::OomVictim { at_ns: _, pid, comm, constraint, limit_owner, cgroup } => {
                let victim = Victim {
                    comm: comm.clone(),
                    constraint: constraint.clone(),
                    limit_owner: limit_owner.clone(),
                    cgroup: cgroup.clone(),
                };
                self.victims.insert(*pid, victim);
            }
            Fact::Limit { name, value, place } => {
                let limit = Limit { name: name.clone(), value: value.clone(), place: place.clone() };
                let key = (name.clone(), place.clone());
                // What was in force at the start stands; a later change is in the recording.
                match self.limits.entry(key) {
                    Entry::Vacant(entry) => _ = entry.insert(limit),
                    Entry::Occupied(entry) => _ = self.changed_limits.insert(entry.key().clone(), limit),
                }
            }
        }
    }

    /// A process that ends is shown in the root cgroup: what it was in before says more.
    fn join_cgroup(&mut self, pid: u32, controller: Controller, cgroup: u64) {
        let to_root = self.cgroup_paths.get(&(Some(controller), cgroup)).is_some_and(|path| path == "/");
        let known = self.process_cgroups.entry((pid, controller)).or_insert(cgroup);
        if !to_root {
            *known = cgroup;
        }
    }

    /// The path of a process's cgroup under a controller.
    pub fn cgroup_of_process(&self, pid: u32, controller: Controller) -> Option<&str> {
        let own_hierarchy = self.process_cgroups.get(&(pid, controller)).map(|id| (Some(controller), *id));
        let unified = || Some((None, self.processes.get(&pid)?.cgroup?));
        self.cgroup_paths.get(&own_hierarchy.or_else(unified)?).map(String::as_str)
    }

    /// Whether a process is in a cgroup or below it.
    pub fn is_in_cgroup(&self, pid: u32, cgroup: &Subject) -> bool {
        let (Some(controller), Some(id)) = (cgroup.controller, cgroup.cgroup) else { return false };
        let path = self.cgroup_paths.get(&(Some(controller), id));
        let own = self.process_cgroups.get(&(pid, controller)).copied();
        own == Some(id)
            || path
                .zip(self.cgroup_of_process(pid, controller))
                .is_some_and(|(path, of_process)| is_below(of_process, path))
    }
}

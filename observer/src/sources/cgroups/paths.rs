//! The paths of cgroups of version 2, which sockets and processes name by number: the inode of their folder.

use std::collections::{BTreeSet, HashSet};

use super::hierarchy::{Mount, Walk};
use crate::{
    core::frame::{Fact, Frame},
    sources::{Clock, Pace, Samples, Source, Stopwatch, error::SourceError, world::World},
};

/// Walks the cgroup2 file system when a sample names a cgroup that is not known yet.
#[derive(Debug)]
pub(in crate::sources) struct Paths {
    walk: Pace,
    /// Cgroups that a sample named.
    named: BTreeSet<u64>,
    /// Those that have been told, or that a walk did not find.
    done: HashSet<u64>,
}

impl Default for Paths {
    fn default() -> Self {
        let walk = Pace::every_ms(1_000).at_most_one_in(200);
        Self { walk, named: BTreeSet::new(), done: HashSet::new() }
    }
}

impl Paths {
    /// Takes note of the cgroups that this frame names as owners of a socket or process.
    pub(in crate::sources) fn note(&mut self, frame: &Frame) {
        let signals = frame.signals.iter().map(|sample| &sample.subject);
        let usages = frame.usages.iter().map(|sample| &sample.subject);
        let owners = signals.chain(usages).filter(|subject| subject.controller.is_none());
        let owners = owners.filter_map(|subject| subject.cgroup);
        let processes = frame.facts.iter().filter_map(|fact| match fact {
            Fact::Process { cgroup, .. } => *cgroup,
            _ => None,
        });
        self.named.extend(owners.chain(processes).filter(|id| !self.done.contains(id)));
    }
}

impl Source for Paths {
    fn name(&self) -> &'static str {
        "cgroups"
    }

    fn due(&self, now_ns: u64, _world: &World) -> bool {
        !self.named.is_empty() && self.walk.is_due(now_ns)
    }

    fn read(
        &mut self,
        world: &mut World,
        clock: Clock<'_>,
        out: &mut Samples<'_>,
    ) -> Result<(), SourceError> {
        let watch = Stopwatch::start(clock);
        if let Some(mount) = &world.cgroups.unified {
            for (id, path) in find(mount, &self.named) {
                out.fact(Fact::CgroupPath { id, controller: None, path });
            }
        }
        // What was not found has been removed already, or lies outside of what this mount shows.
        self.done.extend(&self.named);
        self.named.clear();
        self.walk.ran_at(watch.started_ns(), watch.cost(clock));
        Ok(())
    }
}

/// Walks the mount until all wanted cgroups are found.
fn find(mount: &Mount, wanted: &BTreeSet<u64>) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    mount.walk(|id, path| {
        if wanted.contains(&id) {
            found.push((id, mount.full_path(path)));
        }
        if found.len() == wanted.len() { Walk::Stop } else { Walk::On }
    });
    found
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt};

    use super::*;

    #[test]
    fn a_walk_finds_folders_by_inode() {
        let root = tempfile::tempdir().expect("a folder");
        let inner = root.path().join("system.slice/web.service");
        fs::create_dir_all(&inner).expect("folders");
        let id = fs::metadata(&inner).expect("metadata").ino();
        let top = fs::metadata(root.path()).expect("metadata").ino();
        let found = find(&Mount::whole(root.path()), &[id, top, u64::MAX].into());
        assert_eq!(found, [(top, "/".to_owned()), (id, "/system.slice/web.service".to_owned())]);
    }
}

//! The paths of cgroups, which the kernel names by number: the inode of their folder.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    os::unix::fs::{DirEntryExt, MetadataExt},
    path::PathBuf,
};

use procfs::{FromRead, process::MountInfos};

use super::{
    Clock, Pace, Samples, Source,
    error::SourceError,
    text,
    world::{CgroupMount, World},
};
use crate::core::frame::{Fact, Frame};

const MOUNTS: &str = "/proc/self/mountinfo";
/// Folders that one walk looks at, at most.
const MOST: usize = 20_000;

/// Walks the cgroup2 file system when a sample names a cgroup that is not known yet.
#[derive(Debug)]
pub(super) struct Cgroups {
    started: bool,
    walk: Pace,
    /// Cgroups that a sample named.
    named: BTreeSet<u64>,
    /// Those that have been told, or that a walk did not find.
    done: HashSet<u64>,
}

impl Default for Cgroups {
    fn default() -> Self {
        let walk = Pace::every_ms(1_000).at_most_one_in(200);
        Self { started: false, walk, named: BTreeSet::new(), done: HashSet::new() }
    }
}

impl Cgroups {
    /// Takes note of the cgroups that this frame names.
    pub(super) fn note(&mut self, frame: &Frame) {
        let signals = frame.signals.iter().filter_map(|sample| sample.subject.cgroup);
        let usages = frame.usages.iter().filter_map(|sample| sample.subject.cgroup);
        let processes = frame.facts.iter().filter_map(|fact| match fact {
            Fact::Process { cgroup, .. } => *cgroup,
            _ => None,
        });
        self.named.extend(signals.chain(usages).chain(processes).filter(|id| !self.done.contains(id)));
    }
}

impl Source for Cgroups {
    fn name(&self) -> &'static str {
        "cgroups"
    }

    fn due(&self, now_ns: u64, _world: &World) -> bool {
        !self.started || !self.named.is_empty() && self.walk.is_due(now_ns)
    }

    fn read(
        &mut self,
        world: &mut World,
        clock: Clock<'_>,
        out: &mut Samples<'_>,
    ) -> Result<(), SourceError> {
        if !self.started {
            self.started = true;
            world.cgroups = find_mount()?;
        }
        let started_ns = clock();
        if let Some(mount) = world.cgroups.as_ref().filter(|_| !self.named.is_empty()) {
            for (id, path) in find(mount, &self.named) {
                out.fact(Fact::CgroupPath { id, controller: None, path });
            }
        }
        // What was not found has been removed already, or lies outside of what this mount shows.
        self.done.extend(&self.named);
        self.named.clear();
        self.walk.ran(started_ns, clock().saturating_sub(started_ns));
        Ok(())
    }
}

/// Finds where the cgroup2 file system is mounted.
fn find_mount() -> Result<Option<CgroupMount>, SourceError> {
    let mut buffer = Vec::new();
    let text = text::read(MOUNTS, &mut buffer)?;
    parse_mounts(text).map_err(|problem| SourceError::malformed(MOUNTS, problem))
}

/// The mount that shows most of the cgroup2 file system.
fn parse_mounts(text: &str) -> Result<Option<CgroupMount>, String> {
    let mounts = MountInfos::from_read(text.as_bytes()).map_err(|error| error.to_string())?;
    let of_cgroups = mounts.0.into_iter().filter(|mount| mount.fs_type == "cgroup2");
    Ok(of_cgroups.min_by_key(|mount| mount.root.len()).map(|mount| CgroupMount {
        folder: mount.mount_point.to_string_lossy().into_owned(),
        root: mount.root.trim_end_matches('/').to_owned(),
    }))
}

/// Walks the folders, level by level, until all wanted cgroups are found.
fn find(mount: &CgroupMount, wanted: &BTreeSet<u64>) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    let named = |path: &str| if path.is_empty() { "/".to_owned() } else { path.to_owned() };
    if let Ok(folder) = fs::metadata(&mount.folder).as_ref().map(MetadataExt::ino)
        && wanted.contains(&folder)
    {
        found.push((folder, named(&mount.root)));
    }
    let mut level = vec![(PathBuf::from(&mount.folder), mount.root.clone())];
    let mut looked_at = 0;
    while let Some((folder, path)) = level.pop() {
        // A cgroup may be removed at any time; its parent is then simply without it.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let path = format!("{path}/{}", entry.file_name().to_string_lossy());
            if wanted.contains(&entry.ino()) {
                found.push((entry.ino(), path.clone()));
            }
            looked_at += 1;
            if found.len() == wanted.len() || looked_at == MOST {
                return found;
            }
            level.push((entry.path(), path));
        }
    }
    found
}

/// Id of the cgroup of a process, where it has one that can be seen from here.
pub(super) fn of_process(pid: u32, mount: &CgroupMount, buffer: &mut Vec<u8>) -> Option<u64> {
    let text = text::read(&format!("/proc/{pid}/cgroup"), buffer).ok()?;
    let path = parse_cgroup(text)?.strip_prefix(mount.root.as_str())?;
    fs::metadata(format!("{}{path}", mount.folder)).ok().map(|folder| folder.ino())
}

/// The path in the line `0::/path`. A cgroup outside of the reader's own cgroup namespace is shown with
/// `..`, and one that was removed with a note after it; neither can be found by its path.
fn parse_cgroup(text: &str) -> Option<&str> {
    let path = text.split_inclusive('\n').find_map(|line| line.strip_prefix("0::"))?.strip_suffix('\n')?;
    let hidden = path.split('/').any(|part| part == "..") || path.ends_with(" (deleted)");
    (path.starts_with('/') && !hidden).then_some(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOUNTINFO: &str = "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
        32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
        41 31 0:38 /below /mnt/part rw,relatime - cgroup2 cgroup2 rw\n\
        40 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn the_mount_that_shows_most_is_taken() {
        let expected = CgroupMount { folder: "/sys/fs/cgroup/unified".into(), root: String::new() };
        assert_eq!(parse_mounts(MOUNTINFO), Ok(Some(expected)));
        assert_eq!(parse_mounts(""), Ok(None));
        assert!(parse_mounts("40 31 0:38\n").is_err());
    }

    #[test]
    fn the_path_of_version_2_is_read() {
        assert_eq!(
            parse_cgroup("12:cpu:/a\n0::/system.slice/web.service\n"),
            Some("/system.slice/web.service")
        );
        for other in ["", "12:cpu:/a\n", "0::/../x\n", "0::/gone (deleted)\n", "0::/cut"] {
            assert_eq!(parse_cgroup(other), None, "{other}");
        }
    }

    #[test]
    fn a_walk_finds_folders_by_inode() {
        let root = tempfile::tempdir().expect("a folder");
        let inner = root.path().join("system.slice/web.service");
        fs::create_dir_all(&inner).expect("folders");
        let id = fs::metadata(&inner).expect("metadata").ino();
        let top = fs::metadata(root.path()).expect("metadata").ino();
        let mount = CgroupMount { folder: root.path().to_string_lossy().into_owned(), root: String::new() };
        let found = find(&mount, &[id, top, u64::MAX].into());
        assert_eq!(found, [(top, "/".to_owned()), (id, "/system.slice/web.service".to_owned())]);
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in "([ 0-9:/a-z,\n-]|\\PC){0,80}") {
            let _ = parse_mounts(&text);
            let _ = parse_cgroup(&text);
        }
    }
}

//! Where the cgroup file systems are, which of them has which controller, and how to walk one.
//!
//! Version 1 has one hierarchy per controller, or per few of them that are mounted together (`cpu,cpuacct`);
//! version 2 has one for all. Many hosts have both: a controller is then in one or the other.

use std::{fs, os::unix::fs::DirEntryExt, os::unix::fs::MetadataExt, path::PathBuf};

use procfs::{
    FromRead,
    process::{MountInfo, MountInfos},
};

use super::origin::{Origins, resolve};
use crate::{
    core::{frame::Fact, subject::Controller},
    sources::{Samples, error::SourceError, text},
};

const MOUNTS: &str = "/proc/self/mountinfo";
/// Folders that one walk looks at, at most.
const MOST: usize = 20_000;

/// Where a cgroup file system is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sources) struct Mount {
    /// The folder.
    pub(super) folder: String,
    /// Path of the cgroup that this folder shows; empty for the root.
    root: String,
    /// What the paths in procfs begin at: the root of our cgroup namespace.
    origin: String,
}

/// Which of the two interfaces a hierarchy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// The hierarchy that a controller is in. Its cgroups go by their path below the folder of the mount, which
/// is empty for the one at the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sources) struct Hierarchy {
    mount: Mount,
    pub(super) version: Version,
    controller: Controller,
}

/// The cgroup file systems that are mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::sources) struct CgroupMounts {
    /// Version 2, with or without controllers.
    pub(super) unified: Option<Mount>,
    /// Of the controllers, those that can be found.
    pub(in crate::sources) controllers: Vec<Hierarchy>,
}

impl CgroupMounts {
    /// Looks for them.
    pub(super) fn find() -> Result<Self, SourceError> {
        let mut buffer = Vec::new();
        let text = text::read(MOUNTS, &mut buffer)?;
        let mounts = parse_mounts(text).map_err(|problem| SourceError::malformed(MOUNTS, problem))?;
        let enabled = |folder: &str| fs::read_to_string(format!("{folder}/cgroup.controllers"));
        Ok(Self::of(&mounts, &Origins::find(), |folder| enabled(folder).unwrap_or_default()))
    }

    /// Sorts them out; `enabled` tells which controllers a folder of version 2 has.
    fn of(mounts: &[MountInfo], origins: &Origins, enabled: impl Fn(&str) -> String) -> Self {
        let unified = largest(mounts, origins.of(""), |mount| mount.fs_type == "cgroup2");
        let controllers = Controller::ALL.iter().filter_map(|controller| {
            let is_v1 = |mount: &MountInfo| {
                mount.fs_type == "cgroup" && mount.super_options.contains_key(controller.name())
            };
            let has = |mount: &&Mount| {
                enabled(&mount.folder).split_ascii_whitespace().any(|name| name == controller.name())
            };
            let (mount, version) = match largest(mounts, origins.of(controller.name()), is_v1) {
                Some(mount) => (mount, Version::One),
                None => (unified.as_ref().filter(has)?.clone(), Version::Two),
            };
            Some(Hierarchy { mount, version, controller: *controller })
        });
        Self { controllers: controllers.collect(), unified: unified.clone() }
    }
}

/// Of the mounts of one file system, the one that shows most of it.
fn largest(mounts: &[MountInfo], origin: &str, is_one: impl Fn(&MountInfo) -> bool) -> Option<Mount> {
    let mounts = mounts.iter().filter(|mount| is_one(mount)).map(|mount| Mount {
        folder: mount.mount_point.to_string_lossy().into_owned(),
        root: resolve(origin, &mount.root).unwrap_or_else(|| mount.root.clone()),
        origin: origin.to_owned(),
    });
    mounts.min_by_key(|mount| mount.root.len())
}

fn parse_mounts(text: &str) -> Result<Vec<MountInfo>, String> {
    MountInfos::from_read(text.as_bytes()).map(|mounts| mounts.0).map_err(|error| error.to_string())
}

impl Mount {
    /// A mount that shows a whole hierarchy.
    #[cfg(test)]
    pub(super) fn whole(folder: &std::path::Path) -> Self {
        Self { folder: folder.to_string_lossy().into_owned(), root: String::new(), origin: String::new() }
    }

    /// The path of a cgroup as below the root of its hierarchy, from its path below the folder.
    pub(super) fn full_path(&self, path: &str) -> String {
        let full = format!("{}{path}", self.root);
        if full.is_empty() { "/".to_owned() } else { full }
    }

    /// The path below the folder of what procfs calls `shown`; `None` if it is not there.
    fn below(&self, shown: &str) -> Option<String> {
        let full = resolve(&self.origin, shown)?;
        let path = full.strip_prefix(self.root.as_str())?;
        (path.is_empty() || path.starts_with('/')).then(|| path.to_owned())
    }

    /// Its id, if it is there.
    pub(super) fn id_of(&self, path: &str) -> Option<u64> {
        fs::metadata(format!("{}{path}", self.folder)).ok().map(|folder| folder.ino())
    }

    /// Hands each cgroup to `each`, by id and path below the folder, level by level, until that says to stop.
    /// Returns whether there were no more of them.
    pub(super) fn walk(&self, mut each: impl FnMut(u64, &str) -> Walk) -> bool {
        if let Some(top) = self.id_of("")
            && each(top, "") == Walk::Stop
        {
            return false;
        }
        let mut waiting = vec![(PathBuf::from(&self.folder), String::new())];
        let mut looked_at = 0;
        while let Some((folder, path)) = waiting.pop() {
            // A cgroup may be removed at any time; its parent is then simply without it.
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                let path = format!("{path}/{}", entry.file_name().to_string_lossy());
                looked_at += 1;
                if each(entry.ino(), &path) == Walk::Stop || looked_at == MOST {
                    return false;
                }
                waiting.push((entry.path(), path));
            }
        }
        true
    }
}

/// Whether to go on walking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walk {
    On,
    Stop,
}

impl Hierarchy {
    #[cfg(test)]
    pub(super) fn new(mount: Mount, version: Version, controller: Controller) -> Self {
        Self { mount, version, controller }
    }

    pub(in crate::sources) fn controller(&self) -> Controller {
        self.controller
    }

    pub(super) fn mount(&self) -> &Mount {
        &self.mount
    }

    /// Tells the path of a cgroup; in version 2, where a cgroup is one for everything, also without the
    /// controller.
    pub(super) fn tell_path(&self, id: u64, path: &str, out: &mut Samples<'_>) {
        let path = self.mount.full_path(path);
        if self.version == Version::Two {
            out.fact(Fact::CgroupPath { id, controller: None, path: path.clone() });
        }
        out.fact(Fact::CgroupPath { id, controller: Some(self.controller), path });
    }

    /// The folder of a cgroup.
    pub(super) fn folder(&self, path: &str) -> String {
        format!("{}{path}", self.mount.folder)
    }

    /// Out of `/proc/PID/cgroup`, the cgroup that acts on the process: in version 2 the nearest one that has
    /// the controller.
    pub(super) fn acting_on(&self, text: &str) -> Option<String> {
        let name = match self.version {
            Version::One => self.controller.name(),
            Version::Two => "",
        };
        let path = self.mount.below(path_of(text, name)?)?;
        let acting = lineage(&path).find(|path| self.version == Version::One || self.is_enabled(path));
        Some(acting.unwrap_or_default().to_owned())
    }

    /// Whether a cgroup of version 2 has the controller; the topmost one shows none of these files.
    fn is_enabled(&self, path: &str) -> bool {
        let file = match self.controller {
            Controller::Cpu => "cpu.max",
            Controller::Memory => "memory.events",
        };
        fs::metadata(format!("{}/{file}", self.folder(path))).is_ok()
    }
}

/// A cgroup and those above it, up to the topmost.
pub(super) fn lineage(path: &str) -> impl Iterator<Item = &str> {
    let path = path.trim_end_matches('/');
    std::iter::successors(Some(path), |path| path.rfind('/').and_then(|end| path.get(..end)))
}

/// Id of a process's cgroup of version 2, where it has one that can be seen from here.
pub(in crate::sources) fn of_process(pid: u32, mounts: &CgroupMounts, buffer: &mut Vec<u8>) -> Option<u64> {
    let mount = mounts.unified.as_ref()?;
    let text = text::read(&format!("/proc/{pid}/cgroup"), buffer).ok()?;
    mount.id_of(&mount.below(path_of(text, "")?)?)
}

/// The path in the line `4:cpu,cpuacct:/path` of a controller, or in that of version 2, `0::/path`, which
/// names none. A cgroup that was removed is shown with a note after it, and cannot be found by its path.
pub(super) fn path_of<'t>(text: &'t str, controller: &str) -> Option<&'t str> {
    let of_line = |line: &'t str| {
        let (_, rest) = line.split_once(':')?;
        let (names, path) = rest.split_once(':')?;
        names.split(',').any(|name| name == controller).then_some(path)
    };
    let path = text.split_inclusive('\n').find_map(of_line)?.strip_suffix('\n')?;
    (path.starts_with('/') && !path.ends_with(" (deleted)")).then(|| path.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    const HYBRID: &str = "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
        33 31 0:30 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n\
        41 31 0:38 /below /mnt/part rw,relatime - cgroup2 cgroup2 rw\n\
        40 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    fn mounts(text: &str, enabled: &str) -> CgroupMounts {
        CgroupMounts::of(&parse_mounts(text).expect("mounts"), &Origins::default(), |_| enabled.to_owned())
    }

    #[test]
    fn each_controller_is_found_where_it_is() {
        let unified = Mount::whole(Path::new("/sys/fs/cgroup/unified"));
        let cpu = Mount::whole(Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        let found = mounts(HYBRID, "cpuset memory io\n");
        assert_eq!(found.unified, Some(unified.clone()));
        let expected = [
            Hierarchy::new(cpu.clone(), Version::One, Controller::Cpu),
            Hierarchy::new(unified, Version::Two, Controller::Memory),
        ];
        assert_eq!(found.controllers, expected);
        let found = mounts(HYBRID, "");
        assert_eq!(found.controllers, [Hierarchy::new(cpu, Version::One, Controller::Cpu)]);
        assert_eq!(mounts("", "cpu"), CgroupMounts::default());
        assert!(parse_mounts("40 31 0:38\n").is_err());
    }

    #[test]
    fn the_path_of_each_controller_is_read() {
        let text = "12:cpu,cpuacct:/a:b\n11:cpuset:/c\n3:memory:/\n1:name=systemd:/s\n0::/system.slice/web.service\n";
        for (controller, path) in [
            ("cpu", Some("/a:b")),
            ("cpuacct", Some("/a:b")),
            ("memory", Some("")),
            ("pids", None),
            ("", Some("/system.slice/web.service")),
        ] {
            assert_eq!(path_of(text, controller), path, "{controller}");
        }
        for other in ["", "12:cpu:/a\n", "0::/gone (deleted)\n", "0::/cut"] {
            assert_eq!(path_of(other, ""), None, "{other}");
        }
    }

    #[test]
    fn the_cgroup_that_acts_is_the_nearest_with_the_controller() {
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(root.path().join("a/b/c")).expect("folders");
        fs::write(root.path().join("a/cpu.max"), "max 100000\n").expect("a file");
        let acting = |version, text| {
            Hierarchy::new(Mount::whole(root.path()), version, Controller::Cpu).acting_on(text)
        };
        assert_eq!(acting(Version::Two, "0::/a/b/c\n").as_deref(), Some("/a"));
        assert_eq!(acting(Version::Two, "0::/z\n").as_deref(), Some(""), "none has it: the topmost one");
        assert_eq!(acting(Version::One, "1:cpu:/a/b/c\n0::/z\n").as_deref(), Some("/a/b/c"));
        assert_eq!(acting(Version::One, "0::/a/b/c\n"), None);
    }

    #[test]
    fn a_part_shows_what_is_below_it_only() {
        let part = Mount { root: "/docker/a".into(), ..Mount::whole(Path::new("/mnt/part")) };
        assert_eq!(part.below("/docker/a/b").as_deref(), Some("/b"));
        assert_eq!(part.below("/docker/a").as_deref(), Some(""));
        assert_eq!(part.below("/docker/ab"), None);
        assert_eq!(part.below("/../docker/a"), None, "of another namespace, nobody knows where");
        assert_eq!(part.full_path("/b"), "/docker/a/b");
        assert_eq!(Mount { root: String::new(), ..part }.full_path(""), "/");
    }

    #[test]
    fn a_container_finds_the_cgroups_of_the_host() {
        // As runc leaves it: the cgroup of the container itself, and the host's folder on a path of its own.
        let text = "50 40 0:27 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n\
            51 40 0:27 /../../.. /host/cgroup ro - cgroup2 cgroup2 rw\n";
        let origin = "/kubepods/pod1/c1";
        let mount = largest(&parse_mounts(text).expect("mounts"), origin, |_| true).expect("a mount");
        assert_eq!((mount.folder.as_str(), mount.root.as_str()), ("/host/cgroup", ""));
        assert_eq!(mount.below("/../../../system.slice/web").as_deref(), Some("/system.slice/web"));
        assert_eq!(mount.below("/").as_deref(), Some(origin));
    }

    #[test]
    fn a_lineage_ends_at_the_top() {
        assert_eq!(lineage("/a/b").collect::<Vec<_>>(), ["/a/b", "/a", ""]);
        assert_eq!(lineage("/").collect::<Vec<_>>(), [""]);
    }

    #[test]
    fn a_walk_meets_every_folder_and_stops_when_told() {
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(root.path().join("a/b")).expect("folders");
        fs::create_dir_all(root.path().join("c")).expect("folders");
        fs::write(root.path().join("a/file"), "").expect("a file");
        let mount = Mount::whole(root.path());
        let mut met = Vec::new();
        let complete = mount.walk(|id, path| {
            assert_eq!(mount.id_of(path), Some(id));
            met.push(path.to_owned());
            Walk::On
        });
        met.sort();
        assert_eq!((met, complete), (vec![String::new(), "/a".into(), "/a/b".into(), "/c".into()], true));
        assert!(!mount.walk(|_, path| if path == "/c" { Walk::Stop } else { Walk::On }));
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in "([ 0-9:/a-z,\n-]|\\PC){0,80}") {
            let _ = parse_mounts(&text);
            let _ = path_of(&text, "cpu").map(|path| lineage(path).count());
        }
    }
}

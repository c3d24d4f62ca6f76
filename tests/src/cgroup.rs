//! Cgroups of the lab's own, under whichever version of the kernel's interface the host has.
//!
//! Their names carry the lab's process id, so that a later lab can remove what a killed one left behind.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

use crate::{cleanup::Guard, watch::Gauge};

const MOUNTS: &str = "/proc/self/mountinfo";
/// How the names of the lab's cgroups begin; its process id follows.
const PREFIX: &str = "observer-lab-";
/// The period of a CPU quota, the kernel's own default.
const PERIOD_US: u64 = 100_000;
/// How long the processes of a killed lab may take to die.
const SWEEP_DEADLINE: Duration = Duration::from_secs(3);

/// What a cgroup limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// CPU time.
    Cpu,
    /// Memory.
    Memory,
}

impl Controller {
    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }
}

/// The version of the kernel's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Each controller has a hierarchy of its own.
    One,
    /// All controllers share one.
    Two,
}

/// Where a hierarchy is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    folder: PathBuf,
    version: Version,
    /// The mount's own options: on version 1 the controllers are among them.
    options: String,
}

/// A cgroup that was made; it is removed when this is dropped.
#[derive(Debug)]
pub struct Cgroup {
    folder: PathBuf,
    version: Version,
    /// The innermost first: a folder with folders in it cannot be removed.
    _guards: Vec<Guard>,
}

impl Cgroup {
    /// Makes a cgroup for a controller. The parts of `name` after the first are folders within it.
    pub fn make(controller: Controller, name: &str) -> Result<Self> {
        let hierarchy = of_controller(&hierarchies()?, controller)
            .with_context(|| format!("this host has no cgroup controller {}", controller.name()))?;
        Self::make_in(&hierarchy, name)
    }

    /// Makes a cgroup of version 2, which owns sockets; `None` on a host where that is not what cgroups are.
    pub fn make_unified(name: &str) -> Result<Option<Self>> {
        let all = hierarchies()?;
        match of_controller(&all, Controller::Memory) {
            Some(hierarchy) if hierarchy.version == Version::Two => Self::make_in(&hierarchy, name).map(Some),
            _ => Ok(None),
        }
    }

    fn make_in(hierarchy: &Hierarchy, name: &str) -> Result<Self> {
        let mut folder = hierarchy.folder.clone();
        let mut guards = Vec::new();
        for part in format!("{PREFIX}{}-{name}", process::id()).split('/') {
            if !guards.is_empty() && hierarchy.version == Version::Two {
                set(&folder.join("cgroup.subtree_control"), "+cpu +memory")?;
            }
            folder.push(part);
            fs::create_dir(&folder)
                .with_context(|| format!("cannot make the cgroup {} (needs root)", folder.display()))?;
            guards.insert(0, Guard::cgroup(&folder));
        }
        Ok(Self { folder, version: hierarchy.version, _guards: guards })
    }

    /// Its folder, which roles enter it by.
    pub fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// The last part of its path.
    pub fn name(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The version of the interface that it was made under.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Inode number of its folder, by which the kernel names it.
    pub fn id(&self) -> Result<u64> {
        Ok(fs::metadata(&self.folder)?.ino())
    }

    /// Allows its processes this much CPU time in each tenth of a second, on all CPUs together.
    pub fn limit_cpu(&self, quota_us: u64) -> Result<()> {
        match self.version {
            Version::One => {
                set(&self.folder.join("cpu.cfs_period_us"), &PERIOD_US.to_string())?;
                set(&self.folder.join("cpu.cfs_quota_us"), &quota_us.to_string())
            }
            Version::Two => set(&self.folder.join("cpu.max"), &format!("{quota_us} {PERIOD_US}")),
        }
    }

    /// Allows its processes this much memory, and no swap.
    pub fn limit_memory(&self, bytes: u64) -> Result<()> {
        let (limit, swap) = match self.version {
            // Not memory.memsw.limit_in_bytes: were it as low as the limit of memory alone, the kernel would
            // run into it first, and memory.failcnt would count nothing.
            Version::One => ("memory.limit_in_bytes", "memory.swappiness"),
            Version::Two => ("memory.max", "memory.swap.max"),
        };
        set(&self.folder.join(limit), &bytes.to_string())?;
        let swap = self.folder.join(swap);
        // It is there only where the kernel counts swap.
        if swap.exists() { set(&swap, "0") } else { Ok(()) }
    }

    /// Bytes of memory in use.
    pub fn memory_bytes(&self) -> Result<u64> {
        let file = match self.version {
            Version::One => "memory.usage_in_bytes",
            Version::Two => "memory.current",
        };
        let path = self.folder.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        text.trim().parse().with_context(|| format!("{} holds {text:?}", path.display()))
    }

    /// Periods in which some of it was stopped.
    pub fn throttled_periods(&self) -> Gauge {
        Gauge::field(&self.folder.join("cpu.stat"), "nr_throttled")
    }

    /// Processes of it that were killed for want of memory.
    pub fn oom_kills(&self) -> Gauge {
        match self.version {
            Version::One => Gauge::field(&self.folder.join("memory.oom_control"), "oom_kill"),
            Version::Two => Gauge::field(&self.folder.join("memory.events"), "oom_kill"),
        }
    }

    /// How often it was at its memory limit.
    pub fn memory_max(&self) -> Gauge {
        match self.version {
            Version::One => Gauge::whole(&self.folder.join("memory.failcnt")),
            Version::Two => Gauge::field(&self.folder.join("memory.events"), "max"),
        }
    }
}

/// Puts the calling process into cgroups by their folders.
pub fn enter(cgroups: &[PathBuf]) -> Result<()> {
    // 0 is whoever writes it.
    cgroups.iter().try_for_each(|cgroup| set(&cgroup.join("cgroup.procs"), "0"))
}

/// Removes the cgroups of labs that no longer run.
pub fn sweep() -> Result<()> {
    for cgroup in of_labs(|pid| !is_alive(pid))? {
        match remove(&cgroup) {
            // Another lab may do the same at this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result.with_context(|| format!("cannot remove {}", cgroup.display()))?,
        }
    }
    Ok(())
}

/// The cgroups that the lab with this process id has made.
pub fn of_lab(lab: u32) -> Result<Vec<PathBuf>> {
    of_labs(|pid| pid.cast_unsigned() == lab)
}

fn of_labs(wanted: impl Fn(i32) -> bool) -> Result<Vec<PathBuf>> {
    let all = hierarchies()?;
    let of_use = [Controller::Cpu, Controller::Memory].map(|controller| of_controller(&all, controller));
    let folders: BTreeSet<_> = of_use.into_iter().flatten().map(|hierarchy| hierarchy.folder).collect();
    let mut found = Vec::new();
    for folder in folders {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let is_wanted =
            |entry: &fs::DirEntry| owner(&entry.file_name().to_string_lossy()).is_some_and(&wanted);
        found.extend(entries.flatten().filter(is_wanted).map(|entry| entry.path()));
    }
    Ok(found)
}

/// Whether there is a process with this id.
pub fn is_alive(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// The process id of the lab that made a cgroup of this name.
fn owner(name: &str) -> Option<i32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// Removes a cgroup and what is in it. Its processes are tied to a lab that is dead, and so soon are too.
fn remove(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    let deadline = Instant::now() + SWEEP_DEADLINE;
    loop {
        match fs::remove_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

fn set(path: &Path, value: &str) -> Result<()> {
    fs::write(path, value).with_context(|| format!("cannot write {value:?} to {}", path.display()))
}

fn hierarchies() -> Result<Vec<Hierarchy>> {
    let text = fs::read_to_string(MOUNTS).with_context(|| format!("cannot read {MOUNTS}"))?;
    Ok(parse(&text))
}

fn parse(mounts: &str) -> Vec<Hierarchy> {
    let hierarchy = |line: &str| {
        let (mount, kind) = line.split_once(" - ")?;
        let folder = PathBuf::from(mount.split(' ').nth(4)?);
        let mut kind = kind.split(' ');
        let version = match kind.next()? {
            "cgroup" => Version::One,
            "cgroup2" => Version::Two,
            _ => return None,
        };
        Some(Hierarchy { folder, version, options: kind.nth(1)?.to_owned() })
    };
    mounts.lines().filter_map(hierarchy).collect()
}

/// Where a controller is: in a hierarchy of version 1 of its own, or enabled below the root of version 2.
fn of_controller(all: &[Hierarchy], controller: Controller) -> Option<Hierarchy> {
    let is_listed = |text: &str, by: char| text.trim().split(by).any(|name| name == controller.name());
    let has = |hierarchy: &&Hierarchy| match hierarchy.version {
        Version::One => is_listed(&hierarchy.options, ','),
        Version::Two => fs::read_to_string(hierarchy.folder.join("cgroup.subtree_control"))
            .is_ok_and(|enabled| is_listed(&enabled, ' ')),
    };
    all.iter().find(has).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "22 27 0:21 / /proc rw,relatime - proc proc rw\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
        40 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn controllers_are_found_in_their_hierarchies() {
        let all = parse(MOUNTINFO);
        assert_eq!(all.len(), 2);
        let cpu = of_controller(&all, Controller::Cpu).expect("a hierarchy");
        assert_eq!((cpu.version, cpu.folder.to_str()), (Version::One, Some("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!(all[1].version, Version::Two);
        assert_eq!(of_controller(&all[..1], Controller::Memory), None);
    }

    #[test]
    fn the_name_of_a_cgroup_tells_whose_it_is() {
        assert_eq!(owner("observer-lab-17-service"), Some(17));
        assert_eq!(owner("observer-lab-17"), Some(17));
        for other in ["observer-lab-", "observer-lab-x-1", "system.slice"] {
            assert_eq!(owner(other), None, "{other}");
        }
    }
}

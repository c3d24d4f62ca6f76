//! What the paths of cgroups begin at.
//!
//! procfs shows them as seen from the root of the reader's cgroup namespace: from a container that has one of its own
//! (every container that is not privileged, under cgroup v2), the service next door is in `/../../system.slice/web`.
//! The first process, where it is the host's, lives in the host's namespace: seen from there, our root has a path, and
//! so has everything else.

use std::{
    fs::{self, File},
    io, thread,
};

use nix::sched::{CloneFlags, setns};

use super::hierarchy::path_of;

const OF_THE_FIRST: &str = "/proc/1/ns/cgroup";
const OWN: &str = "/proc/self/ns/cgroup";

/// This thread's cgroups, seen from its own namespace and from that of the first process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Origins {
    here: String,
    there: String,
}

impl Origins {
    /// Looks from there. Where that is not to be had, or is the same namespace, paths stay as they are shown.
    pub(super) fn find() -> Self {
        let (Ok(own), Ok(first)) = (fs::read_link(OWN), fs::read_link(OF_THE_FIRST)) else {
            return Self::default();
        };
        if own == first {
            return Self::default();
        }
        let (Ok(here), Ok(there)) = (read(), read_there()) else { return Self::default() };
        Self { here, there }
    }

    /// The path of our namespace's root in the hierarchy of a controller, or of version 2 if none is named; empty
    /// where it is the root of all.
    pub(super) fn of(&self, controller: &str) -> &str {
        let paths = path_of(&self.here, controller).zip(path_of(&self.there, controller));
        paths.and_then(|(here, there)| there.strip_suffix(here)).unwrap_or_default()
    }
}

fn read() -> io::Result<String> {
    fs::read_to_string("/proc/thread-self/cgroup")
}

/// A thread that ends with it: the namespace of observer's own threads never changes.
fn read_there() -> io::Result<String> {
    let namespace = File::open(OF_THE_FIRST)?;
    let visit = move || {
        setns(&namespace, CloneFlags::CLONE_NEWCGROUP)?;
        read()
    };
    let thread = thread::Builder::new().name("cgroup visit".into()).stack_size(256 * 1024).spawn(visit)?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the visiting thread failed")))
}

/// The path, from the root of all, of what is shown as `shown` from `origin`; both begin with a slash or are empty.
/// `None` if it lies outside of what is known.
pub(super) fn resolve(origin: &str, shown: &str) -> Option<String> {
    let mut parts: Vec<&str> = origin.split('/').filter(|part| !part.is_empty()).collect();
    for part in shown.split('/').filter(|part| !part.is_empty()) {
        match part {
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.iter().map(|part| format!("/{part}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_from_inside_has_a_path_from_the_root() {
        let pod = "/kubepods/pod1/c1";
        for (origin, shown, path) in [
            (pod, "/../../../system.slice/web", Some("/system.slice/web")),
            (pod, "/../c2", Some("/kubepods/pod1/c2")),
            (pod, "/inner", Some("/kubepods/pod1/c1/inner")),
            (pod, "/", Some(pod)),
            (pod, "/../../..", Some("")),
            (pod, "/../../../../outside", None),
            ("", "/system.slice/web", Some("/system.slice/web")),
            ("", "/", Some("")),
            ("", "/../elsewhere", None),
        ] {
            assert_eq!(resolve(origin, shown).as_deref(), path, "{shown} from {origin:?}");
        }
    }

    #[test]
    fn the_root_of_the_namespace_is_what_both_views_differ_by() {
        let origins = Origins {
            here: "4:memory:/\n0::/inner\n".into(),
            there: "4:memory:/docker/a\n0::/kubepods/pod1/inner\n".into(),
        };
        assert_eq!(
            [origins.of("memory"), origins.of(""), origins.of("cpu")],
            ["/docker/a", "/kubepods/pod1", ""]
        );
        assert_eq!(Origins::default().of("memory"), "");
    }
}

//! Which processes hold each listener open.
//!
//! The kernel names a listener by the inode of its socket, and the only way from there to a process is the
//! links of `/proc/PID/fd`. That is a lot to read, so it is read once per new listener, a little at each
//! tick, the likely processes first, and no further than needed. From then on the children of an owner are
//! followed, which is how servers of several processes come about.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    fs::{self, ReadDir},
    io,
    net::SocketAddr,
};

use super::{
    Clock, Pace, Samples, Source,
    error::{Problems, SourceError, is_gone},
    processes, text,
    world::World,
};
use crate::core::frame::Fact;

/// Reading links takes at most this long per tick.
const BUDGET_NS: u64 = 500_000;
/// A listener without a visible owner is looked for again after this long.
const RETRY_MS: u64 = 60_000;
/// Listeners are among the first descriptors of a process. When nobody is looked for, no more are read.
const ENOUGH: usize = 256;
/// No more than this are read of any process: what comes then are the connections of a server.
const MOST: usize = 8_192;
/// Owners whose children are followed.
const MOST_FOLLOWED: usize = 64;

/// Keeps [`World::owners`].
#[derive(Debug)]
pub(super) struct Owners {
    pace: Pace,
    retry: Pace,
    /// Every listener by the inode of its socket.
    listeners: HashMap<u32, (u32, SocketAddr)>,
    /// Those without a known owner that are being looked for.
    wanted: HashSet<u32>,
    /// Those that no visible process holds.
    given_up: HashSet<u32>,
    /// Kin of owners, which are looked at in any case.
    kin: VecDeque<u32>,
    /// The others, which are looked at for as long as somebody is looked for.
    others: VecDeque<u32>,
    /// Processes that were looked at since the set of listeners last changed.
    seen: HashSet<u32>,
    /// The folder that is being read.
    folder: Option<Folder>,
    listener_changes: u64,
    hidden: usize,
    buffer: Vec<u8>,
}

/// The descriptors of a process.
#[derive(Debug)]
struct Folder {
    pid: u32,
    links: ReadDir,
    read: usize,
}

impl Default for Owners {
    fn default() -> Self {
        Self {
            pace: Pace::every_ms(1_000),
            retry: Pace::every_ms(RETRY_MS),
            listeners: HashMap::new(),
            wanted: HashSet::new(),
            given_up: HashSet::new(),
            kin: VecDeque::new(),
            others: VecDeque::new(),
            seen: HashSet::new(),
            folder: None,
            listener_changes: 0,
            hidden: 0,
            buffer: Vec::new(),
        }
    }
}

impl Source for Owners {
    fn name(&self) -> &'static str {
        "owners"
    }

    fn due(&self, now_ns: u64, world: &World) -> bool {
        self.is_busy() || world.listener_changes != self.listener_changes || self.pace.is_due(now_ns)
    }

    fn read(
        &mut self,
        world: &mut World,
        clock: Clock<'_>,
        out: &mut Samples<'_>,
    ) -> Result<(), SourceError> {
        let mut problems = Problems::default();
        let began_ns = clock();
        let changed = self.listener_changes != world.listener_changes;
        if changed {
            self.listener_changes = world.listener_changes;
            self.take_in_listeners(world);
        }
        if changed || self.pace.is_due(began_ns) {
            self.pace.ran(began_ns);
            if self.retry.is_due(began_ns) {
                self.retry.ran(began_ns);
                self.given_up.clear();
            }
            self.forget(world, out);
            self.queue(world);
        }
        while clock().saturating_sub(began_ns) < BUDGET_NS {
            if !self.step(world, out) {
                break;
            }
        }
        if !self.is_busy() {
            self.given_up.extend(self.wanted.drain());
            if !self.given_up.is_empty() && self.hidden > 0 {
                problems.note(SourceError::Hidden { count: self.hidden, what: "descriptors" });
            }
        }
        problems.finish()
    }
}

impl Owners {
    fn is_busy(&self) -> bool {
        self.folder.is_some() || !self.kin.is_empty() || !self.others.is_empty()
    }

    fn take_in_listeners(&mut self, world: &World) {
        self.listeners.clear();
        for namespace in &world.namespaces {
            for (address, listener) in &namespace.listeners {
                let inodes = listener.inodes.iter();
                self.listeners.extend(inodes.map(|inode| (*inode, (namespace.id, *address))));
            }
        }
        self.given_up.retain(|inode| self.listeners.contains_key(inode));
        self.seen.clear();
    }

    /// Forgets owners that have ended, and listeners that were closed.
    fn forget(&self, world: &mut World, out: &mut Samples<'_>) {
        let held: HashSet<&(u32, SocketAddr)> = self.listeners.values().collect();
        world.owners.retain(|pid, listeners| {
            let ended = processes::has_ended(*pid);
            listeners.retain(|listener| {
                let keep = !ended && held.contains(listener);
                if !keep {
                    out.owner_ends(listener.0, listener.1, *pid);
                }
                keep
            });
            !listeners.is_empty()
        });
    }

    /// Queues the processes to look at: all of them while a listener has no owner, else the owners' children.
    fn queue(&mut self, world: &World) {
        let owned: HashSet<&(u32, SocketAddr)> = world.owners.values().flatten().collect();
        let without = self.listeners.iter().filter(|(_, listener)| !owned.contains(listener));
        let without: HashSet<u32> = without.map(|(inode, _)| *inode).collect();
        let news = without.difference(&self.given_up).any(|inode| !self.wanted.contains(inode));
        self.wanted = without.difference(&self.given_up).copied().collect();
        for pid in world.owners.keys().take(MOST_FOLLOWED) {
            self.queue_children(*pid);
        }
        if !news {
            return;
        }
        self.hidden = 0;
        let homes: HashSet<u32> =
            self.wanted.iter().filter_map(|inode| Some(self.listeners.get(inode)?.0)).collect();
        // A process may hold a listener of a namespace that it has left, so the others come too, but last.
        let is_home = |pid: &u32| {
            let process = world.processes.get(pid);
            process.is_some_and(|process| process.netns.is_some_and(|netns| homes.contains(&netns)))
        };
        let is_kernel = |pid: &u32| {
            let details = world.processes.get(pid).and_then(|process| process.details.as_ref());
            details.is_some_and(|details| details.kernel)
        };
        let mut others: Vec<u32> = world.processes.keys().copied().filter(|pid| !is_kernel(pid)).collect();
        // A load test's server is mostly younger than the rest of the host.
        others.sort_by_key(|pid| (!is_home(pid), std::cmp::Reverse(*pid)));
        let first: BTreeSet<u32> = world.processes_of_interest();
        self.others = first.into_iter().chain(others).collect();
        self.seen.clear();
    }

    /// Queues the children of a process that were not looked at yet.
    fn queue_children(&mut self, pid: u32) {
        // Not every kernel has this file, and the process may have ended.
        let Ok(text) = text::read(&format!("/proc/{pid}/task/{pid}/children"), &mut self.buffer) else {
            return;
        };
        for child in text.split_ascii_whitespace().filter_map(|word| word.parse().ok()) {
            if !self.seen.contains(&child) {
                self.kin.push_back(child);
            }
        }
    }

    /// Reads one link, or opens the next folder. `false` if there is nothing left to do.
    fn step(&mut self, world: &mut World, out: &mut Samples<'_>) -> bool {
        let Some(folder) = &mut self.folder else { return self.open_next() };
        let pid = folder.pid;
        folder.read += 1;
        let enough = folder.read > if self.wanted.is_empty() { ENOUGH } else { MOST };
        let Some(Ok(entry)) = folder.links.next().filter(|_| !enough) else {
            self.folder = None;
            return true;
        };
        let target = match fs::read_link(entry.path()) {
            Ok(target) => target,
            Err(error) => {
                if error.kind() == io::ErrorKind::PermissionDenied {
                    // The list of a process may be open to those for whom its links are not.
                    self.hidden += 1;
                    self.folder = None;
                }
                return true;
            }
        };
        let inode = socket_inode(&target.to_string_lossy());
        let Some((inode, listener)) = inode.and_then(|inode| Some((inode, *self.listeners.get(&inode)?)))
        else {
            return true;
        };
        self.wanted.remove(&inode);
        if world.owners.entry(pid).or_default().insert(listener) {
            let (netns, address) = listener;
            out.fact(Fact::ListenerOwner { netns, listener: address, pid });
            self.queue_children(pid);
            if let Ok(details) = processes::details(pid, &mut self.buffer) {
                self.kin.push_back(details.parent);
            }
        }
        true
    }

    /// Opens the folder of the next process. `false` if there is none.
    fn open_next(&mut self) -> bool {
        if self.wanted.is_empty() {
            self.others.clear();
        }
        let Some(pid) = self.kin.pop_front().or_else(|| self.others.pop_front()) else { return false };
        if !self.seen.insert(pid) {
            return true;
        }
        match fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(links) => self.folder = Some(Folder { pid, links, read: 0 }),
            Err(error) if is_gone(&error) => {}
            Err(_) => self.hidden += 1,
        }
        true
    }
}

/// The number in `socket:[4242]`.
fn socket_inode(target: &str) -> Option<u32> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::socket_inode;

    #[test]
    fn the_link_of_a_socket_names_its_inode() {
        assert_eq!(socket_inode("socket:[4242]"), Some(4_242));
        for other in ["/dev/null", "pipe:[4242]", "socket:[]", "socket:[-1]", "socket:[99999999999]", ""] {
            assert_eq!(socket_inode(other), None, "{other}");
        }
    }
}

//! Which processes hold each listener open.
//!
//! The kernel names a listener by the inode of its socket, and the only way from there to a process is the
//! links of `/proc/PID/fd`. That is a lot to read, so it is read once per new listener, a little at each
//! tick, the likely processes first, and no further than needed: a listener is opened before the connections
//! it accepts, so the first descriptors of every process come before the later ones of any, and these
//! trickle. From then on the children of an owner are followed, which is how servers of several processes
//! come about.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    fs::{self, ReadDir},
    io,
    net::SocketAddr,
    ops::Range,
    path::PathBuf,
};

use super::{
    Clock, Pace, Samples, Source, Stopwatch,
    error::{Problems, SourceError, is_gone},
    pace::Cost,
    processes, text,
    world::World,
};
use crate::core::frame::Fact;

/// Reading the first links of processes takes at most this long per tick.
const BUDGET_NS: u64 = 500_000;
/// Reading the later ones, which a listener is seldom found among, takes at most this long.
const LATER_BUDGET_NS: u64 = 25_000;
/// A listener without a visible owner is looked for again after this long,
const RETRY_MS: u64 = 60_000;
/// or later, so that to look for it takes at most one in this many of the time.
const RETRY_SHARE: u64 = 10_000;
/// Listeners are among the first descriptors of a process. When nobody is looked for, no more are read.
const ENOUGH: usize = 256;
/// While somebody is looked for, this many are read of each process before any more are of one. A runtime may
/// have some hundred libraries open by the time it listens.
const FIRST: usize = 1_024;
/// No more than this are read of any process: what comes then are the connections of a server.
const MOST: usize = 8_192;
/// Owners whose children are followed.
const MOST_FOLLOWED: usize = 64;

/// Keeps [`World::owners`].
#[derive(Debug)]
pub(super) struct Owners {
    pace: Pace,
    retry: Pace,
    /// What it has cost so far to look for those that are wanted.
    search: Cost,
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
    /// Those of them with more than [`FIRST`] descriptors, for when that was not enough.
    large: VecDeque<u32>,
    /// Processes that were looked at since the set of listeners last changed.
    seen: HashSet<u32>,
    /// The folder whose first links are being read.
    first: Option<Folder>,
    /// The folder whose later links are being read whenever there are no first ones to read.
    later: Option<Folder>,
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
    /// Which of its links are looked at.
    range: Range<usize>,
}

/// What comes next in a folder.
enum Next {
    Link(PathBuf),
    /// One that is not looked at.
    Skipped,
    End {
        /// There are links after those that are looked at.
        is_cut: bool,
    },
}

impl Folder {
    fn next(&mut self, most: usize) -> Next {
        let index = self.read;
        self.read += 1;
        match self.links.next() {
            Some(Ok(_)) if index >= self.range.end.min(most) => Next::End { is_cut: true },
            Some(Ok(_)) if index < self.range.start => Next::Skipped,
            Some(Ok(entry)) => Next::Link(entry.path()),
            Some(Err(_)) | None => Next::End { is_cut: false },
        }
    }
}

impl Default for Owners {
    fn default() -> Self {
        Self {
            pace: Pace::every_ms(1_000),
            retry: Pace::every_ms(RETRY_MS).at_most_one_in(RETRY_SHARE),
            search: Cost::default(),
            listeners: HashMap::new(),
            wanted: HashSet::new(),
            given_up: HashSet::new(),
            kin: VecDeque::new(),
            others: VecDeque::new(),
            large: VecDeque::new(),
            seen: HashSet::new(),
            first: None,
            later: None,
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
        let watch = Stopwatch::start(clock);
        let began_ns = watch.started_ns();
        let changed = self.listener_changes != world.listener_changes;
        if changed {
            self.listener_changes = world.listener_changes;
            self.take_in_listeners(world);
        }
        if changed || self.pace.is_due(began_ns) {
            self.pace.ran(began_ns);
            if self.retry.is_due(began_ns) {
                self.given_up.clear();
            }
            self.forget(world, out);
            self.queue(world);
        }
        while clock().saturating_sub(began_ns) < self.budget_ns() {
            if !self.step(world, out) {
                break;
            }
        }
        self.search =
            if self.wanted.is_empty() { Cost::default() } else { self.search.and(watch.cost(clock)) };
        if !self.is_busy() && !self.wanted.is_empty() {
            self.given_up.extend(self.wanted.drain());
            self.retry.ran_at(began_ns, std::mem::take(&mut self.search));
        }
        if !self.given_up.is_empty() && !self.is_busy() && self.hidden > 0 {
            problems.note(SourceError::Hidden { count: self.hidden, what: "descriptors" });
        }
        problems.finish()
    }
}

impl Owners {
    fn is_busy(&self) -> bool {
        self.has_first() || self.later.is_some() || !self.large.is_empty()
    }

    /// Whether there are first links to read.
    fn has_first(&self) -> bool {
        self.first.is_some() || !self.kin.is_empty() || !self.others.is_empty()
    }

    /// How long may be read at a tick, for what is being read.
    fn budget_ns(&self) -> u64 {
        if self.has_first() { BUDGET_NS } else { LATER_BUDGET_NS }
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
        self.large.clear();
        self.later = None;
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
        if self.first.is_none() && (self.has_first() || self.later.is_none()) {
            return self.open_next();
        }
        let folder = if self.first.is_some() { &mut self.first } else { &mut self.later };
        let Some(reading) = folder else { return false };
        let pid = reading.pid;
        let most = if self.wanted.is_empty() { ENOUGH } else { MOST };
        let link = match reading.next(most) {
            Next::Link(link) => link,
            Next::Skipped => return true,
            Next::End { is_cut } => {
                if is_cut && reading.range.end == FIRST {
                    self.large.push_back(pid);
                }
                *folder = None;
                return true;
            }
        };
        let target = match fs::read_link(link) {
            Ok(target) => target,
            Err(error) => {
                if error.kind() == io::ErrorKind::PermissionDenied {
                    // The list of a process may be open to those for whom its links are not.
                    self.hidden += 1;
                    *folder = None;
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
            self.large.clear();
        }
        if let Some(pid) = self.kin.pop_front().or_else(|| self.others.pop_front()) {
            if self.seen.insert(pid) {
                self.first = self.open(pid, 0..FIRST);
            }
        } else if let Some(pid) = self.large.pop_front() {
            self.later = self.open(pid, FIRST..MOST);
        } else {
            return false;
        }
        true
    }

    fn open(&mut self, pid: u32, range: Range<usize>) -> Option<Folder> {
        match fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(links) => return Some(Folder { pid, links, read: 0, range }),
            Err(error) if is_gone(&error) => {}
            Err(_) => self.hidden += 1,
        }
        None
    }
}

/// The number in `socket:[4242]`.
fn socket_inode(target: &str) -> Option<u32> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{fs::File, net::TcpListener, os::fd::AsFd as _, process};

    use nix::sys::{
        resource::{Resource, getrlimit, setrlimit},
        stat::fstat,
    };

    use super::*;
    use crate::{
        core::frame::Frame,
        sources::{changes::Changes, world::Process},
    };

    #[test]
    fn the_link_of_a_socket_names_its_inode() {
        assert_eq!(socket_inode("socket:[4242]"), Some(4_242));
        for other in ["/dev/null", "pipe:[4242]", "socket:[]", "socket:[-1]", "socket:[99999999999]", ""] {
            assert_eq!(socket_inode(other), None, "{other}");
        }
    }

    #[test]
    fn a_listener_among_the_later_descriptors_is_found_after_all_first_ones() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit");
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(4 * FIRST as u64), hard).expect("a higher limit");
        let null = File::open("/dev/null").expect("a file");
        let _before: Vec<_> = (0..FIRST).map(|_| null.try_clone().expect("a descriptor")).collect();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let inode = fstat(listener.as_fd()).expect("its inode").st_ino as u32;

        let (mut owners, mut world) = (Owners::default(), World::default());
        let (mut frame, mut changes) = (Frame::default(), Changes::default());
        world.processes.insert(process::id(), Process::default());
        owners.listeners.insert(inode, (7, address));
        owners.queue(&world);
        let mut step =
            |owners: &mut Owners| owners.step(&mut world, &mut Samples::new(&mut frame, &mut changes));
        while owners.has_first() {
            assert!(step(&mut owners));
        }
        assert_eq!(owners.wanted.len(), 1, "it is not among the first");
        assert_eq!((owners.budget_ns(), &owners.large), (LATER_BUDGET_NS, &VecDeque::from([process::id()])));
        while step(&mut owners) {}
        assert!(owners.wanted.is_empty() && !owners.is_busy());
        assert_eq!(world.owners, [(process::id(), [(7, address)].into())].into());
    }
}

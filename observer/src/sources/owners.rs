//! Which processes hold each listener open.
//!
//! The kernel names a listener by the inode of its socket, and the only way from there to a process is the
//! links of `/proc/PID/fd`. That is a lot to read, so it is read once per new listener, a little at each
//! tick, the likely processes first, and no further than needed. Most open their listeners before anything
//! that makes them large, so the first descriptors of every process come before the later ones of any that is
//! not known to matter, and these trickle. From then on the children of an owner are followed, which is how
//! servers of several processes come about, and whoever comes while a listener has no owner is looked at.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    fs, io,
    net::SocketAddr,
};

mod folder;

use self::folder::{Folder, Next};
use super::{
    Clock, Pace, Samples, Source,
    error::{Problems, SourceError, is_gone},
    processes, text,
    world::World,
};
use crate::core::frame::Fact;

/// Reading the first links of processes, and all of those that matter, takes about this long per tick at most.
const BUDGET_NS: u64 = 500_000;
/// Reading the later ones of the others takes about this long.
const LATER_BUDGET_NS: u64 = 50_000;
/// Everybody is looked through again for the listeners without a visible owner after this long. That finds those that were
/// handed to a process that had been looked at.
const RETRY_MS: u64 = 600_000;
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
    /// Every listener by the inode of its socket.
    listeners: HashMap<u32, (u32, SocketAddr)>,
    /// Those without a known owner.
    wanted: HashMap<u32, Wanted>,
    /// Kin of owners, which are looked at in any case.
    kin: BTreeSet<u32>,
    /// Whether it was the turn of one of them.
    was_kin: bool,
    /// The others, which are looked at for as long as somebody is looked for.
    others: VecDeque<u32>,
    /// Those of them with more than [`FIRST`] descriptors, for when that was not enough, and the last descriptor that was looked
    /// at.
    large: VecDeque<(u32, u32)>,
    /// Processes that were looked at, and in which round.
    seen: HashMap<u32, u64>,
    /// Rises whenever kin are to be looked at again: the listeners have changed, or one has newly no owner.
    round: u64,
    /// The round since which everybody is looked at for those that have newly no owner.
    everybody: u64,
    /// The folder whose first links are being read.
    first: Option<Folder>,
    /// The folder whose later links are being read whenever there are no first ones to read.
    later: Option<Folder>,
    listener_changes: u64,
    process_changes: u64,
    hidden: usize,
    buffer: Vec<u8>,
}

/// How far a listener without a known owner has been looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Among the first descriptors of all.
    Anywhere,
    /// It is not among them; perhaps among the later ones.
    Later,
    /// No visible process holds it.
    GivenUp,
}

impl Default for Owners {
    fn default() -> Self {
        Self {
            pace: Pace::every_ms(1_000),
            retry: Pace::every_ms(RETRY_MS),
            listeners: HashMap::new(),
            wanted: HashMap::new(),
            kin: BTreeSet::new(),
            was_kin: false,
            others: VecDeque::new(),
            large: VecDeque::new(),
            seen: HashMap::new(),
            round: 0,
            everybody: 0,
            first: None,
            later: None,
            listener_changes: 0,
            process_changes: 0,
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
                self.wanted.retain(|_, wanted| *wanted != Wanted::GivenUp);
            }
            self.forget(world, out);
            self.queue(world);
        }
        let began_ns = clock();
        while clock().saturating_sub(began_ns) < self.budget_ns() {
            if !self.step(world, out) {
                break;
            }
        }
        if self.hidden > 0 && self.is_any(Wanted::GivenUp) {
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

    fn is_any(&self, which: Wanted) -> bool {
        self.wanted.values().any(|wanted| *wanted == which)
    }

    /// How long may be read at a tick, for what is being read.
    fn budget_ns(&self) -> u64 {
        if self.has_first() { BUDGET_NS } else { LATER_BUDGET_NS }
    }

    fn take_in_listeners(&mut self, world: &World) {
        self.round += 1;
        self.listeners.clear();
        for namespace in &world.namespaces {
            for (address, listener) in &namespace.listeners {
                let inodes = listener.inodes.iter();
                self.listeners.extend(inodes.map(|inode| (*inode, (namespace.id, *address))));
            }
        }
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

    /// Queues the processes to look at: all of them when a listener has newly no owner, those that have come since while any has
    /// none, and the owners' children.
    fn queue(&mut self, world: &World) {
        let owned: HashSet<&(u32, SocketAddr)> = world.owners.values().flatten().collect();
        let without = self.listeners.iter().filter(|(_, listener)| !owned.contains(listener));
        let without: HashSet<u32> = without.map(|(inode, _)| *inode).collect();
        self.wanted.retain(|inode, _| without.contains(inode));
        let known = self.wanted.len();
        for inode in without {
            self.wanted.entry(inode).or_insert(Wanted::Anywhere);
        }
        let is_news = self.wanted.len() > known;
        if is_news {
            self.hidden = 0;
            self.round += 1;
            self.everybody = self.round;
        }
        for pid in world.owners.keys().take(MOST_FOLLOWED) {
            self.queue_children(*pid);
        }
        let has_come = self.process_changes != world.process_changes;
        if has_come {
            self.process_changes = world.process_changes;
            self.seen.retain(|pid, _| world.processes.contains_key(pid));
        }
        if (is_news || has_come) && !self.wanted.is_empty() {
            self.others = self.to_look_at(world);
        }
    }

    /// The processes that may hold somebody who is looked for: who has come, whoever is waiting for a turn, so that none waits for
    /// ever, and the likely ones before the others.
    fn to_look_at(&self, world: &World) -> VecDeque<u32> {
        let is_kernel = |pid: &u32| {
            let details = world.processes.get(pid).and_then(|process| process.details.as_ref());
            details.is_some_and(|details| details.kernel)
        };
        let since = self.seen_since();
        let is_seen = |pid: &u32| self.seen.get(pid).is_some_and(|round| *round >= since);
        let mut others: Vec<u32> =
            world.processes.keys().copied().filter(|pid| !is_seen(pid) && !is_kernel(pid)).collect();
        let waiting: HashMap<u32, usize> = self.others.iter().copied().zip(1..).collect();
        let turn = |pid: &u32| match (self.seen.contains_key(pid), waiting.get(pid)) {
            (is_seen, Some(turn)) => (is_seen, *turn),
            (false, None) => (false, 0),
            (true, None) => (true, usize::MAX),
        };
        let homes: HashSet<u32> =
            self.wanted.keys().filter_map(|inode| Some(self.listeners.get(inode)?.0)).collect();
        // A process may hold a listener of a namespace that it has left, so the others come too, but last.
        let is_home = |pid: &u32| {
            let process = world.processes.get(pid);
            process.is_some_and(|process| process.netns.is_some_and(|netns| homes.contains(&netns)))
        };
        // A load test's server is mostly younger than the rest of the host.
        others
            .sort_by_cached_key(|pid| (turn(pid), !world.is_of_interest(*pid), !is_home(pid), Reverse(*pid)));
        others.into()
    }

    /// The round since which a process was looked at for all that are looked for.
    fn seen_since(&self) -> u64 {
        if self.is_any(Wanted::Anywhere) { self.everybody } else { 0 }
    }

    /// Queues the children of a process that were not looked at in this round.
    fn queue_children(&mut self, pid: u32) {
        // Not every kernel has this file, and the process may have ended.
        let Ok(text) = text::read(&format!("/proc/{pid}/task/{pid}/children"), &mut self.buffer) else {
            return;
        };
        for child in text.split_ascii_whitespace().filter_map(|word| word.parse().ok()) {
            if self.seen.get(&child) != Some(&self.round) {
                self.kin.insert(child);
            }
        }
    }

    /// Reads one link, or opens the next folder. `false` if there is nothing left to do.
    fn step(&mut self, world: &mut World, out: &mut Samples<'_>) -> bool {
        if self.first.is_none() && (self.has_first() || self.later.is_none()) {
            return self.open_next(world);
        }
        let is_any_wanted = !self.wanted.is_empty();
        let folder = if self.first.is_some() { &mut self.first } else { &mut self.later };
        let Some(reading) = folder else { return false };
        let pid = reading.pid;
        let link = match reading.next(if is_any_wanted { MOST } else { ENOUGH }) {
            Next::Link(link) => link,
            Next::Skipped => return true,
            Next::Cut => {
                let last = reading.last;
                let may_go_on = reading.after.is_none() && reading.most == FIRST && is_any_wanted;
                *folder = None;
                if may_go_on && !self.large.iter().any(|(queued, _)| *queued == pid) {
                    self.large.push_back((pid, last));
                }
                return true;
            }
            Next::End => {
                *folder = None;
                return true;
            }
        };
        match fs::read_link(link) {
            Ok(target) => self.take_in_link(pid, &target.to_string_lossy(), world, out),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                // The list of a process may be open to those for whom its links are not.
                self.hidden += 1;
                *folder = None;
            }
            Err(_) => {}
        }
        true
    }

    fn take_in_link(&mut self, pid: u32, target: &str, world: &mut World, out: &mut Samples<'_>) {
        let Some(inode) = socket_inode(target) else { return };
        let Some(listener) = self.listeners.get(&inode).copied() else { return };
        self.wanted.remove(&inode);
        if world.owners.entry(pid).or_default().insert(listener) {
            let (netns, address) = listener;
            out.fact(Fact::ListenerOwner { netns, listener: address, pid });
            self.queue_children(pid);
            if let Ok(details) = processes::details(pid, &mut self.buffer) {
                self.kin.insert(details.parent);
            }
        }
    }

    /// Opens the folder of the next process. `false` if there is none.
    fn open_next(&mut self, world: &World) -> bool {
        if self.wanted.is_empty() {
            self.others.clear();
            self.large.clear();
        }
        // In turns, as there may be many of either.
        self.was_kin = !self.kin.is_empty() && (self.others.is_empty() || !self.was_kin);
        let (next, since) = if self.was_kin {
            (self.kin.pop_first(), self.round)
        } else {
            (self.others.pop_front(), self.seen_since())
        };
        if let Some(pid) = next {
            let seen = self.seen.get(&pid).copied();
            if seen.is_none_or(|round| round < since) {
                self.seen.insert(pid, self.round);
                self.first = self.open(pid, None, self.first_of(pid, seen.is_none(), world));
            }
            return true;
        }
        self.advance(Wanted::Anywhere, Wanted::Later);
        if let Some((pid, last)) = self.large.pop_front() {
            self.later = self.open(pid, Some(last), MOST - FIRST);
            return true;
        }
        self.advance(Wanted::Later, Wanted::GivenUp);
        false
    }

    /// How many descriptors of a process are looked at first. One that matters may have been at work when it opened another
    /// listener.
    fn first_of(&self, pid: u32, is_new: bool, world: &World) -> usize {
        let is_any_new = self.is_any(Wanted::Anywhere);
        if is_any_new && world.is_of_interest(pid) {
            MOST
        } else if is_any_new || is_new || self.is_any(Wanted::Later) {
            FIRST
        } else {
            ENOUGH
        }
    }

    /// Those that were not found at one place are looked for at the next.
    fn advance(&mut self, from: Wanted, to: Wanted) {
        self.wanted.values_mut().filter(|wanted| **wanted == from).for_each(|wanted| *wanted = to);
    }

    fn open(&mut self, pid: u32, after: Option<u32>, most: usize) -> Option<Folder> {
        match Folder::open(pid, after, most) {
            Ok(folder) => return Some(folder),
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
mod tests;

//! The listeners of each namespace, through sock_diag: how full each accept queue is, and what was dropped.
//!
//! A dump of the state LISTEN alone stays cheap whatever the number of connections: the kernel keeps listeners in a table of
//! their own. But it walks all of that table, which has thousands of buckets on a large host. So a few listeners are asked for
//! one by one as long as they are the same and drop nothing, and a dump says now and then whether there are new ones.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;

use observer_common::Signal;

use super::{
    Clock, Samples, Source, Window,
    error::{Problems, SourceError},
    inet_diag::{Entry, Query, states},
    sock_diag::{Datagram, DiagError},
    world::{Listener, Namespace, World},
};
use crate::core::{frame::Resource, subject::Subject};

/// How often a namespace is dumped for its new listeners. What one of them drops before is seen in the sum of the namespace,
/// and it is dumped at once then.
const DUMP_NS: u64 = 1_000_000_000;
/// More listeners than this are dumped, which is cheaper then.
const MOST_ASKED: usize = 8;

/// Reads the namespaces whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    datagram: Datagram,
    latest: HashMap<u32, Latest>,
}

/// The latest dump of a namespace.
#[derive(Debug, Default)]
struct Latest {
    entries: Vec<Entry>,
    groups: BTreeMap<SocketAddr, Group>,
    drops: Drops,
    dumped_ns: Option<u64>,
    /// What the namespace had dropped at its listeners by then.
    dropped: Option<u64>,
}

impl Latest {
    /// Whether the next dump would give the same, `quiet_ns` being the end of a read without a segment: only
    /// a new listener would be missed, and that has nothing to tell before its first segment.
    fn still_holds(&self, quiet_ns: u64) -> bool {
        let recent = |dumped_ns| quiet_ns.saturating_sub(dumped_ns) < DUMP_NS;
        self.dumped_ns.is_some_and(recent) && self.entries.iter().all(|entry| entry.queued == 0)
    }

    /// Whether it is enough to ask for the listeners that are known. Of several on one address the kernel would choose.
    fn are_enough(&self, namespace: &Namespace, now_ns: u64) -> bool {
        let recent = |dumped_ns| now_ns.saturating_sub(dumped_ns) < DUMP_NS;
        self.dumped_ns.is_some_and(recent)
            && self.dropped == namespace.dropped
            && self.entries.len() <= MOST_ASKED
            && self.groups.len() == self.entries.len()
    }
}

impl Source for Listeners {
    fn name(&self) -> &'static str {
        "listeners"
    }

    fn due(&self, _now_ns: u64, world: &World) -> bool {
        world.namespaces.iter().any(|namespace| namespace.due)
    }

    fn read(
        &mut self,
        world: &mut World,
        clock: Clock<'_>,
        out: &mut Samples<'_>,
    ) -> Result<(), SourceError> {
        let mut problems = Problems::default();
        let mut changes = 0;
        let everywhere = world.everywhere;
        for namespace in world.due_namespaces() {
            if let Err(problem) = &namespace.diag {
                problems.note(SourceError::SockDiag { netns: namespace.id, problem: problem.clone() });
                continue;
            }
            let latest = self.latest.entry(namespace.id).or_default();
            if let Some(quiet) = namespace.quiet.filter(|window| latest.still_holds(window.after_ns)) {
                latest.drops.are_still(quiet);
                latest.tell(namespace, quiet, out);
                continue;
            }
            let datagram = &mut self.datagram;
            let known = !everywhere && latest.are_enough(namespace, clock());
            let (window, outcome) = Window::around(clock, || latest.read(namespace, known, datagram));
            match outcome {
                Ok(extent) => namespace.dropping |= latest.take_in(extent, window),
                Err(error) => {
                    // What is left of the answer would spoil the next one; a new socket is opened in time.
                    let error = SourceError::SockDiag { netns: namespace.id, problem: error.to_string() };
                    namespace.diag = Err(error.to_string());
                    problems.note(error);
                    continue;
                }
            }
            latest.tell(namespace, window, out);
            changes += u64::from(latest.replace(namespace, window, out));
        }
        world.listener_changes += changes;
        // A namespace may be lost from sight and come back; what its listeners had dropped must not fall.
        self.latest.retain(|id, latest| {
            world.namespaces.iter().any(|namespace| namespace.id == *id) || latest.drops.has_any()
        });
        problems.finish()
    }
}

impl Latest {
    /// Asks for the listeners that are known where that is enough, and otherwise, or where one of them is gone, for all
    /// listeners of a namespace.
    fn read(
        &mut self,
        namespace: &mut Namespace,
        known: bool,
        datagram: &mut Datagram,
    ) -> Result<Extent, DiagError> {
        let Ok(diag) = &mut namespace.diag else { return Ok(Extent::Known) };
        if known && diag.short.ask_again(&mut self.entries, datagram)? {
            return Ok(Extent::Known);
        }
        self.entries.clear();
        self.dumped_ns = None;
        self.dropped = namespace.dropped;
        let query = Query { states: states::LISTEN, with_drops: true, own_port: None };
        diag.short.dump(query, datagram, &mut |entry| self.entries.push(*entry))?;
        Ok(Extent::All)
    }

    /// Sums up what was read. Says whether something was dropped.
    fn take_in(&mut self, extent: Extent, window: Window) -> bool {
        if extent == Extent::All {
            self.dumped_ns = Some(window.before_ns);
        }
        self.groups = group(&self.entries);
        self.drops.update(&self.entries, extent, window)
    }

    /// Tells what it gave.
    fn tell(&self, namespace: &Namespace, window: Window, out: &mut Samples<'_>) {
        for (address, group) in &self.groups {
            let subject =
                Subject { cgroup: group.listener.cgroup, ..Subject::listener(namespace.id, *address) };
            let by = group.listener.limit_set_by(namespace.sysctls.somaxconn);
            out.usage(Resource::AcceptQueue, &subject, group.used, Some((group.limit, by)), window);
            if let Some(total) = self.drops.totals.get(address) {
                // A listener that was not there at the dump before had dropped nothing then.
                if let Some(before) = total.born {
                    out.signal(Signal::ListenDrop, &subject, 0, before);
                }
                out.signal(Signal::ListenDrop, &subject, total.count, window);
            }
        }
    }

    /// Makes its listeners the namespace's. Says whether one appeared or was closed.
    fn replace(&self, namespace: &mut Namespace, window: Window, out: &mut Samples<'_>) -> bool {
        let groups = &self.groups;
        for (address, listener) in &namespace.listeners {
            if groups.get(address).is_none_or(|group| group.listener.cgroup != listener.cgroup) {
                let subject =
                    Subject { cgroup: listener.cgroup, ..Subject::listener(namespace.id, *address) };
                out.usage_ends(Resource::AcceptQueue, &subject, 0, window);
                out.usage_ends(Resource::SynQueue, &subject, 0, window);
                out.signal_ends(Signal::ListenDrop, &subject);
            }
        }
        let are_same = namespace.listeners.len() == groups.len()
            && groups
                .iter()
                .all(|(address, group)| namespace.listeners.get(address) == Some(&group.listener));
        if !are_same {
            let listeners = groups.iter().map(|(address, group)| (*address, group.listener.clone()));
            namespace.listeners = listeners.collect();
        }
        !are_same
    }
}

/// Of which listeners a read told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// Of those that were known.
    Known,
    /// Of all there are.
    All,
}

/// All sockets that listen on one address.
#[derive(Debug, Default, PartialEq, Eq)]
struct Group {
    /// Of the fullest one.
    used: u64,
    /// Of the fullest one.
    limit: u64,
    listener: Listener,
}

/// Puts together the sockets of each address.
fn group(entries: &[Entry]) -> BTreeMap<SocketAddr, Group> {
    let mut groups: BTreeMap<SocketAddr, Group> = BTreeMap::new();
    for entry in entries {
        let (used, limit) = (u64::from(entry.queued), u64::from(entry.backlog));
        let group = groups.entry(entry.own).or_default();
        let first = group.listener.inodes.is_empty();
        // used/limit of this one against the fullest so far; a limit of 0 admits one.
        if first || used * (group.limit + 1) > group.used * (limit + 1) {
            (group.used, group.limit) = (used, limit);
        }
        if first {
            group.listener.cgroup = entry.cgroup;
        } else if group.listener.cgroup != entry.cgroup {
            group.listener.cgroup = None;
        }
        group.listener.inodes.insert(entry.inode);
        group.listener.backlog += limit;
    }
    groups
}

/// Drops of the listeners of a namespace, added up over the sockets that an address had one after another.
///
/// Each socket counts for itself and takes its count along when it is closed, so a sum over those that are
/// open would fall and rise. Cookies tell a socket from a later one.
#[derive(Debug, Default)]
struct Drops {
    /// Per socket, as it was read last.
    sockets: HashMap<u64, u32>,
    totals: HashMap<SocketAddr, Total>,
    /// The latest dump of all.
    latest: Option<Window>,
}

/// Drops of one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Total {
    count: u64,
    /// The last dump without this address, at the first one with it.
    born: Option<Window>,
}

impl Drops {
    /// Whether anything was dropped.
    fn has_any(&self) -> bool {
        self.totals.values().any(|total| total.count > 0)
    }

    /// A dump would have given the same again.
    fn are_still(&mut self, window: Window) {
        self.totals.values_mut().for_each(|total| total.born = None);
        self.latest = Some(window);
    }

    /// Takes in what was read. Says whether something was dropped.
    fn update(&mut self, entries: &[Entry], extent: Extent, window: Window) -> bool {
        let mut dropped = false;
        let mut seen = HashMap::with_capacity(entries.len());
        for total in self.totals.values_mut() {
            total.born = None;
        }
        for entry in entries {
            let Some(drops) = entry.drops else { continue };
            // The count is 32 bits wide and runs over.
            let more = drops.wrapping_sub(self.sockets.get(&entry.cookie).copied().unwrap_or(0));
            let total = self.totals.entry(entry.own).or_insert(Total { count: 0, born: self.latest });
            total.count += u64::from(more);
            dropped |= more > 0;
            seen.insert(entry.cookie, drops);
        }
        let addresses: HashSet<SocketAddr> = entries.iter().map(|entry| entry.own).collect();
        self.totals.retain(|address, _| addresses.contains(address));
        self.sockets = seen;
        if extent == Extent::All {
            self.latest = Some(window);
        }
        dropped
    }
}

#[cfg(test)]
mod tests;

//! The cgroups of one controller that are followed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{
    cpu::{self, Cpu},
    hierarchy::{Hierarchy, Walk, lineage},
    memory::{self, Memory},
    place::Place,
    rhythm::{Found, Rhythm},
};
use crate::{
    core::{
        frame::Resource,
        subject::{Controller, Subject},
    },
    sources::{
        Clock, Pace, Samples, Stopwatch, Window,
        error::{Problems, SourceError},
    },
};

/// Cgroups that are followed per controller, at most. Those of the observed command come first, then those
/// of who listens, then those of processes that failed, each with its ancestors, and last those that a probe
/// named.
const MOST: usize = 256;
/// So many of them, in that order, are near the test.
const NEAREST: usize = 16;
/// Reading them takes at most this long per tick.
const BUDGET_NS: u64 = 1_000_000;
/// A tick is not exactly as long as the next.
const SLACK_NS: u64 = 20_000_000;

/// The cgroups of one controller.
#[derive(Debug)]
pub(super) struct Group {
    hierarchy: Hierarchy,
    walk: Pace,
    /// Every cgroup that the latest walk met or that is followed.
    known: HashMap<u64, Known>,
    /// When the latest walk began, if it met every cgroup: one that is not known was made since.
    walked_ns: Option<u64>,
    /// Those that a probe named.
    named: BTreeSet<u64>,
    followed: BTreeMap<u64, Followed>,
}

/// A cgroup that was seen.
#[derive(Debug)]
struct Known {
    path: String,
    /// The latest look at which it was not there, until it is followed.
    absent_ns: Option<u64>,
}

/// A cgroup that is followed.
#[derive(Debug)]
struct Followed {
    path: String,
    /// How many are nearer to the test; `None` for one that was, and is not any more.
    rank: Option<usize>,
    absent_ns: Option<u64>,
    watch: Watch,
    rhythm: Rhythm,
    /// Whether it had a limit of its own when it was read last.
    limited: bool,
    next_ns: u64,
}

/// What is read of a cgroup.
#[derive(Debug)]
enum Watch {
    Cpu(Cpu),
    Memory(Memory),
}

impl Group {
    /// Follows nothing yet.
    pub(super) fn new(hierarchy: Hierarchy) -> Self {
        Self {
            hierarchy,
            walk: Pace::every_ms(2_000).at_most_one_in(500),
            known: HashMap::new(),
            walked_ns: None,
            named: BTreeSet::new(),
            followed: BTreeMap::new(),
        }
    }

    pub(super) fn hierarchy(&self) -> &Hierarchy {
        &self.hierarchy
    }

    /// Whether there is something to do.
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        self.walk.is_due(now_ns) || self.followed.values().any(|cgroup| cgroup.next_ns <= now_ns)
    }

    /// Takes note of cgroups that a probe named; returns whether there are new ones.
    pub(super) fn note(&mut self, ids: impl Iterator<Item = u64>) -> bool {
        let before = self.named.len();
        self.named.extend(ids);
        self.named.len() > before
    }

    /// Walks the hierarchy when it is time, to know cgroups by their ids and new ones from old ones. Returns
    /// whether it did.
    pub(super) fn look_around(&mut self, clock: Clock<'_>) -> bool {
        let watch = Stopwatch::start(clock);
        let began_ns = watch.started_ns();
        if !self.walk.is_due(began_ns) {
            return false;
        }
        let mut met = HashMap::new();
        let complete = self.hierarchy.mount().walk(|id, path| {
            let absent_ns = match self.known.get(&id) {
                Some(known) => known.absent_ns,
                None => self.walked_ns,
            };
            met.insert(id, Known { path: path.to_owned(), absent_ns });
            Walk::On
        });
        self.known = met;
        self.walked_ns = complete.then_some(began_ns);
        // What no walk meets was removed before it could be looked up.
        self.named.retain(|id| self.known.contains_key(id));
        self.walk.ran_at(began_ns, watch.cost(clock));
        true
    }

    /// Decides which cgroups are followed: those that act on processes, nearest to the test first, and those
    /// that were named. Others stay as long as there is room.
    pub(super) fn choose(&mut self, acting: Vec<&str>, out: &mut Samples<'_>) {
        let named = self.named.iter().filter_map(|id| Some(self.known.get(id)?.path.clone()));
        let named: Vec<String> = named.collect();
        let mut order: Vec<&str> = acting;
        order.extend(named.iter().map(String::as_str));
        let (mut wanted, mut seen) = (Vec::new(), HashSet::new());
        for path in order.into_iter().flat_map(lineage) {
            if wanted.len() == MOST {
                break;
            }
            if seen.insert(path)
                && let Some(id) = self.hierarchy.mount().id_of(path)
            {
                wanted.push((id, path));
            }
        }
        for cgroup in self.followed.values_mut() {
            cgroup.rank = None;
        }
        for (rank, (id, path)) in wanted.into_iter().enumerate() {
            self.hierarchy.tell_path(id, path, out);
            self.follow(id, path).rank = Some(rank);
        }
        let mut surplus = self.followed.len().saturating_sub(MOST);
        self.followed.retain(|_, cgroup| {
            let leave = surplus > 0 && cgroup.rank.is_none();
            surplus -= usize::from(leave);
            !leave
        });
    }

    fn follow(&mut self, id: u64, path: &str) -> &mut Followed {
        self.followed.entry(id).or_insert_with(|| {
            let made_since = || Known { path: path.to_owned(), absent_ns: self.walked_ns };
            // Its counters begin at 0 only once.
            let absent_ns = self.known.entry(id).or_insert_with(made_since).absent_ns.take();
            Followed {
                path: path.to_owned(),
                rank: None,
                absent_ns,
                watch: match self.hierarchy.controller() {
                    Controller::Cpu => Watch::Cpu(Cpu::default()),
                    Controller::Memory => Watch::Memory(Memory::default()),
                },
                rhythm: Rhythm::default(),
                limited: false,
                next_ns: 0,
            }
        })
    }

    /// Reads the cgroups whose turn it is, those that waited longest first.
    pub(super) fn read(
        &mut self,
        clock: Clock<'_>,
        buffer: &mut Vec<u8>,
        problems: &mut Problems,
        out: &mut Samples<'_>,
    ) {
        let began_ns = clock();
        let due = self.followed.iter().filter(|(_, cgroup)| cgroup.next_ns <= began_ns);
        let mut due: Vec<(u64, u64)> = due.map(|(id, cgroup)| (cgroup.next_ns, *id)).collect();
        due.sort_unstable();
        let limited = self.followed.values().filter(|cgroup| cgroup.limited);
        let mut limited: HashSet<String> = limited.map(|cgroup| cgroup.path.clone()).collect();
        for (_, id) in due {
            let now_ns = clock();
            if now_ns.saturating_sub(began_ns) > BUDGET_NS {
                break;
            }
            let Some(cgroup) = self.followed.get_mut(&id) else { continue };
            let subject = Subject::cgroup(self.hierarchy.controller(), id);
            // Another one may have been made under the same name.
            if self.hierarchy.mount().id_of(&cgroup.path) != Some(id) {
                self.end(id, &subject, Window { before_ns: now_ns, after_ns: now_ns }, out);
                continue;
            }
            let near_the_test = cgroup.rank.is_some_and(|rank| rank < NEAREST);
            let place = Place {
                hierarchy: &self.hierarchy,
                path: &cgroup.path,
                subject: &subject,
                near_the_test,
                absent_ns: cgroup.absent_ns.take(),
            };
            let mut found = problems.check(cgroup.watch.read(&place, clock, buffer, out)).unwrap_or_default();
            cgroup.limited = found.limited;
            if found.limited {
                limited.insert(cgroup.path.clone());
            }
            // A kill is counted where the victim was, whichever ancestor's limit was reached.
            if let Watch::Memory(_) = cgroup.watch {
                found.limited = lineage(&cgroup.path).any(|path| limited.contains(path));
            }
            let rest_ns = cgroup.rhythm.rest_ns(now_ns, found, near_the_test);
            cgroup.next_ns = now_ns.saturating_add(rest_ns.saturating_sub(SLACK_NS));
        }
    }

    /// A cgroup was removed. What it counted stays counted.
    fn end(&mut self, id: u64, subject: &Subject, window: Window, out: &mut Samples<'_>) {
        self.followed.remove(&id);
        self.known.remove(&id);
        self.named.remove(&id);
        for signal in cpu::SIGNALS.into_iter().chain(memory::SIGNALS) {
            out.signal_ends(signal, subject);
        }
        out.usage_ends(Resource::Memory, subject, 0, window);
    }
}

impl Watch {
    fn read(
        &mut self,
        place: &Place<'_>,
        clock: Clock<'_>,
        buffer: &mut Vec<u8>,
        out: &mut Samples<'_>,
    ) -> Result<Found, SourceError> {
        match self {
            Self::Cpu(cpu) => cpu.read(place, clock, buffer, out),
            Self::Memory(memory) => memory.read(place, clock, buffer, out),
        }
    }
}

#[cfg(test)]
mod tests;

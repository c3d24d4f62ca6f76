//! Follows the cgroups that act on the processes that matter: which they are, and what their limits did.
//!
//! A limit may sit on any ancestor, so those are followed too; and so is every cgroup that a probe names.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    group::Group,
    hierarchy::{CgroupMounts, Hierarchy},
};
use crate::{
    core::{
        frame::{Fact, Frame},
        subject::{Controller, Subject},
    },
    sources::{
        Clock, Pace, Samples, Source,
        error::{Problems, SourceError},
        text,
        world::World,
    },
};

/// Looking which cgroups processes are in takes at most this long per tick.
const BUDGET_NS: u64 = 1_000_000;
/// A process that has just come may still be moved: it is looked at at every tick for so long.
const YOUNG_NS: u64 = 3_000_000_000;
/// How often any other process is looked at, if there are few ...
const SETTLED_NS: u64 = 5_000_000_000;
/// ... and if there are many, this long for each of them.
const SHARE_NS: u64 = 2_000_000;
/// A tick is not exactly as long as the next.
const SLACK_NS: u64 = 20_000_000;

/// Keeps one [`Group`] of cgroups per controller.
#[derive(Debug)]
pub(in crate::sources) struct Follow {
    /// Of the controllers that can be found; `None` before the first read.
    groups: Option<Vec<Group>>,
    members: BTreeMap<u32, Member>,
    /// Cgroups that a probe named since the last read.
    named: BTreeSet<(Controller, u64)>,
    round: Pace,
    buffer: Vec<u8>,
}

/// A process whose cgroups are known.
#[derive(Debug)]
struct Member {
    since_ns: u64,
    next_ns: u64,
    /// Its cgroup in each of the groups.
    paths: Vec<Option<String>>,
}

impl Default for Follow {
    fn default() -> Self {
        Self {
            groups: None,
            members: BTreeMap::new(),
            named: BTreeSet::new(),
            round: Pace::every_ms(1_000),
            buffer: Vec::new(),
        }
    }
}

impl Follow {
    /// Takes note of the cgroups that the probes name in this frame.
    pub(in crate::sources) fn note(&mut self, frame: &Frame) {
        let probed = frame.signals.iter().filter(|sample| sample.tier.is_probe());
        let cgroup = |subject: &Subject| subject.controller.zip(subject.cgroup);
        self.named.extend(probed.filter_map(|sample| cgroup(&sample.subject)));
    }
}

impl Source for Follow {
    fn name(&self) -> &'static str {
        "cgroup limits"
    }

    fn due(&self, now_ns: u64, world: &World) -> bool {
        let Some(groups) = &self.groups else { return true };
        let is_due = |pid| self.members.get(&pid).is_none_or(|member| member.next_ns <= now_ns);
        !groups.is_empty()
            && (world.everywhere
                || self.round.is_due(now_ns)
                || !self.named.is_empty()
                || groups.iter().any(|group| group.is_due(now_ns))
                || nearest_first(world).any(is_due))
    }

    fn read(
        &mut self,
        world: &mut World,
        clock: Clock<'_>,
        out: &mut Samples<'_>,
    ) -> Result<(), SourceError> {
        let mut problems = Problems::default();
        let now_ns = clock();
        if self.groups.is_none() {
            world.cgroups = problems.check(CgroupMounts::find()).unwrap_or_default();
            self.groups = Some(world.cgroups.controllers.iter().cloned().map(Group::new).collect());
        }
        let all = self.round.is_due(now_ns);
        if all {
            self.round.ran(now_ns);
            let alive = world.processes_of_interest();
            self.members.retain(|pid, _| alive.contains(pid));
        }
        let moved = self.look_at_members(world, clock, &mut problems, out);
        let named = std::mem::take(&mut self.named);
        for (at, group) in self.groups.iter_mut().flatten().enumerate() {
            let controller = group.hierarchy().controller();
            let of_this = named.iter().filter(|(other, _)| *other == controller);
            let news = group.note(of_this.map(|(_, id)| *id));
            let walked = group.look_around(clock);
            if all || moved || news || walked {
                let member = |pid| self.members.get(&pid)?.paths.get(at)?.as_deref();
                group.choose(nearest_first(world).filter_map(member).collect(), out);
            }
            group.read(clock, &mut self.buffer, &mut problems, out);
        }
        problems.finish()
    }
}

impl Follow {
    /// Looks which cgroups the processes are in whose turn it is; returns whether any has moved.
    fn look_at_members(
        &mut self,
        world: &World,
        clock: Clock<'_>,
        problems: &mut Problems,
        out: &mut Samples<'_>,
    ) -> bool {
        let groups = self.groups.as_deref().unwrap_or_default();
        let began_ns = clock();
        let settled_ns = SETTLED_NS.max(self.members.len() as u64 * SHARE_NS) - SLACK_NS;
        let mut moved = false;
        for pid in nearest_first(world) {
            let now_ns = clock();
            let member = self.members.entry(pid).or_insert_with(|| Member {
                since_ns: now_ns,
                next_ns: 0,
                paths: Vec::new(),
            });
            if member.next_ns > now_ns && !world.everywhere {
                continue;
            }
            if now_ns.saturating_sub(began_ns) > BUDGET_NS {
                break;
            }
            let is_young = now_ns.saturating_sub(member.since_ns) < YOUNG_NS;
            member.next_ns = if is_young { now_ns + 1 } else { now_ns + settled_ns };
            let text = text::read(&format!("/proc/{pid}/cgroup"), &mut self.buffer);
            let Some(text) = problems.check(text) else { continue };
            let paths: Vec<_> = groups.iter().map(|group| group.hierarchy().acting_on(text)).collect();
            for (group, path) in groups.iter().zip(&paths) {
                tell(pid, group.hierarchy(), path.as_deref(), out);
            }
            moved |= member.paths != paths;
            member.paths = paths;
        }
        moved
    }
}

/// Tells which cgroup acts on a process.
fn tell(pid: u32, hierarchy: &Hierarchy, path: Option<&str>, out: &mut Samples<'_>) {
    let Some((path, cgroup)) = path.and_then(|path| Some((path, hierarchy.mount().id_of(path)?))) else {
        return;
    };
    hierarchy.tell_path(cgroup, path, out);
    out.fact(Fact::ProcessCgroup { pid, controller: hierarchy.controller(), cgroup });
}

/// The processes that matter, those that are nearest to the test first; some more than once.
fn nearest_first(world: &World) -> impl Iterator<Item = u32> {
    world.generator.iter().chain(world.owners.keys()).chain(&world.noted).copied()
}

//! Who the processes that matter are: name, parent, network namespace and cgroup.

use std::collections::{HashMap, hash_map::Entry};

use super::{
    Clock, Pace, Samples, Source, cgroups,
    error::{Problems, SourceError},
    namespaces, processes,
    world::World,
};
use crate::core::frame::Fact;

/// A process that has just come may still run another program or be moved: it is looked at every second for so long,
const YOUNG_NS: u64 = 5_000_000_000;
/// and then once in so many rounds.
const ROUNDS: u32 = 5;

/// Tells of [`World::processes_of_interest`], at first sight and when something changed.
#[derive(Debug)]
pub(super) struct Identities {
    pace: Pace,
    round: u32,
    /// When each was first told.
    told: HashMap<u32, u64>,
    buffer: Vec<u8>,
}

impl Default for Identities {
    fn default() -> Self {
        Self { pace: Pace::every_ms(1_000), round: 0, told: HashMap::new(), buffer: Vec::new() }
    }
}

impl Source for Identities {
    fn name(&self) -> &'static str {
        "identities"
    }

    fn due(&self, now_ns: u64, world: &World) -> bool {
        let news = |pid| !self.told.contains_key(pid);
        world.everywhere
            || self.pace.is_due(now_ns)
            || world.owners.keys().chain(&world.generator).chain(&world.noted).any(news)
    }

    fn read(
        &mut self,
        world: &mut World,
        clock: Clock<'_>,
        out: &mut Samples<'_>,
    ) -> Result<(), SourceError> {
        let mut problems = Problems::default();
        let now_ns = clock();
        let pids = world.processes_of_interest();
        let all = self.pace.is_due(now_ns);
        if all {
            self.pace.ran(now_ns);
            self.round = (self.round + 1) % ROUNDS;
            self.told.retain(|pid, _| pids.contains(pid));
        }
        for pid in pids {
            // One that has ended before it could be read is not tried again at every tick.
            let is_due = match self.told.entry(pid) {
                Entry::Vacant(place) => {
                    place.insert(now_ns);
                    true
                }
                Entry::Occupied(since_ns) => {
                    let is_young = now_ns.saturating_sub(*since_ns.get()) < YOUNG_NS;
                    world.everywhere || all && (is_young || pid % ROUNDS == self.round)
                }
            };
            if !is_due {
                continue;
            }
            let Some(details) = problems.check(processes::details(pid, &mut self.buffer)) else { continue };
            let cgroup = cgroups::of_process(pid, &world.cgroups, &mut self.buffer);
            out.fact(Fact::Process {
                pid,
                parent: details.parent,
                comm: details.comm.clone(),
                // Another user's process hides it, which the source of the processes says.
                netns: namespaces::id_of(pid).ok(),
                cgroup,
                generator: world.generator.contains(&pid),
            });
            world.processes.entry(pid).or_default().details = Some(details);
        }
        problems.finish()
    }
}

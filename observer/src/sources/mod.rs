//! The kernel's own counters: procfs and sock_diag, one file per source.
//!
//! Every source reads what is due and hands over what it read, together with the two instants that bracket
//! the read; [`changes`] lets through what is news. What one source learns and another needs is in [`world`].

mod cgroups;
mod changes;
mod conntrack;
mod descriptors;
mod error;
mod files;
mod identities;
mod inet_diag;
mod kmsg;
mod listeners;
mod namespaces;
mod netstat;
mod owners;
mod pace;
mod ports;
mod processes;
mod psi;
mod snmp;
mod sock_diag;
mod sockstat;
mod softnet;
mod statuses;
mod syn_queues;
mod sysctls;
mod text;
mod vmstat;
mod world;

#[cfg(test)]
mod tests;

pub(crate) use self::pace::{Pace, Stopwatch};
pub use self::{
    changes::{Changes, Samples, Window},
    error::SourceError,
    statuses::Statuses,
    world::World,
};
use crate::core::frame::{Frame, SourceStatus};

/// The only clock: CLOCK_MONOTONIC in nanoseconds.
pub type Clock<'a> = &'a dyn Fn() -> u64;

/// Something that is read from the kernel at intervals.
pub trait Source {
    /// Its name in the frame's [`SourceStatus`].
    fn name(&self) -> &'static str;

    /// Whether there is something to read at `now_ns`.
    fn due(&self, now_ns: u64, world: &World) -> bool;

    /// Reads it. An error does not mean that nothing was read: what could be read is in `out`.
    fn read(&mut self, world: &mut World, clock: Clock<'_>, out: &mut Samples<'_>)
    -> Result<(), SourceError>;
}

/// How to collect.
#[derive(Clone, Copy, Debug)]
pub struct CollectorConfig {
    /// observer's own process id, through which its own network namespace is read.
    pub own_pid: u32,
    /// Whether the process ids in the probes' samples are those of our `/proc`, and so can be named.
    pub can_name_probed_pids: bool,
}

/// Reads all sources, each in its time.
pub struct Collector {
    config: CollectorConfig,
    world: World,
    changes: Changes,
    /// In the order in which they learn from one another, counters before the slower ones.
    sources: Vec<Box<dyn Source>>,
    /// Follows the cgroups of the processes that the others found.
    limits: cgroups::Follow,
    /// Reads last, since it gives names to what the others told.
    paths: cgroups::Paths,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sources: Vec<_> = self.sources.iter().map(|source| source.name()).collect();
        formatter.debug_struct("Collector").field("sources", &sources).finish_non_exhaustive()
    }
}

impl Collector {
    /// A collector that has read nothing yet.
    pub fn new(config: CollectorConfig) -> Self {
        Self {
            config,
            world: World { own_pid: config.own_pid, ..World::default() },
            changes: Changes::default(),
            sources: vec![
                Box::<processes::Processes>::default(),
                Box::<namespaces::Namespaces>::default(),
                Box::<snmp::Snmp>::default(),
                Box::<sysctls::Sysctls>::default(),
                Box::<conntrack::Conntrack>::default(),
                Box::<sockstat::Sockstat>::default(),
                Box::<softnet::Softnet>::default(),
                Box::<listeners::Listeners>::default(),
                Box::<netstat::Netstat>::default(),
                Box::<descriptors::Descriptors>::default(),
                Box::<files::Files>::default(),
                Box::<vmstat::Vmstat>::default(),
                Box::<psi::Psi>::default(),
                Box::<owners::Owners>::default(),
                Box::<identities::Identities>::default(),
                Box::<kmsg::Kmsg>::default(),
                Box::<syn_queues::SynQueues>::default(),
                Box::<ports::Ports>::default(),
            ],
            limits: cgroups::Follow::default(),
            paths: cgroups::Paths::default(),
        }
    }

    /// The observed command's root process: its tree is the generator.
    pub fn set_command(&mut self, pid: u32) {
        self.world.command = Some(pid);
        self.world.generator.insert(pid);
    }

    /// A process that the kernel probes told about: who it is becomes a fact, if it is not one yet.
    pub fn note_process(&mut self, pid: u32) {
        self.world.noted.insert(pid);
    }

    /// Makes the next tick read every namespace, quiet ones included: something begins or ends there.
    pub fn look_everywhere(&mut self) {
        self.world.everywhere = true;
    }

    /// Reads what is due and adds to the frame what changed. Processes and cgroups that the frame already
    /// names are looked up as well.
    pub fn tick(&mut self, clock: Clock<'_>, frame: &mut Frame) {
        if self.config.can_name_probed_pids {
            self.world.noted.extend(frame.signals.iter().filter_map(|sample| sample.subject.pid));
        }
        self.world.stir(clock(), frame);
        for source in &mut self.sources {
            run(source.as_mut(), &mut self.world, &mut self.changes, clock, frame);
        }
        self.limits.note(frame);
        run(&mut self.limits, &mut self.world, &mut self.changes, clock, frame);
        self.paths.note(frame);
        run(&mut self.paths, &mut self.world, &mut self.changes, clock, frame);
        self.world.everywhere = false;
    }
}

/// Reads one source if it is due, and notes how that went.
fn run(
    source: &mut dyn Source,
    world: &mut World,
    changes: &mut Changes,
    clock: Clock<'_>,
    frame: &mut Frame,
) {
    let before_ns = clock();
    if !source.due(before_ns, world) {
        return;
    }
    let outcome = source.read(world, clock, &mut Samples::new(frame, changes));
    frame.sources.push(SourceStatus {
        source: source.name().into(),
        duration_ns: clock().saturating_sub(before_ns),
        error: outcome.err().map(|error| error.to_string()),
    });
}

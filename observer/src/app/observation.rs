//! One observation: sources -> frame -> recording -> engine.

use std::{
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    sys::resource::{UsageWho, getrusage},
    sys::time::TimeValLike as _,
    unistd::gethostname,
};

use observer_common::{Event, Signal, SubjectKind, key_flags};

use super::{
    clock::{mono_ns, real_ns},
    effort::Effort,
    exposed::Exposed,
};
use crate::{
    cli::ScopeArgs,
    core::{
        engine::Engine,
        event::{Event as Happening, Judged},
        frame::{Fact, Frame, Mark, RunHeader, SourceStatus, Target},
        verdict::{OwnCost, Verdict},
    },
    kernel::{Kernel, Options, drain::Drain, load::coverage_without_probes},
    privileges,
    recording::{Recorded, RecorderThread, RecordingError, Ring, RingOptions, Saving, Writer},
    sources::{Collector, CollectorConfig, Statuses},
    tui::feed::Kept,
};

/// What is observed, as the command line says it.
pub(super) struct Subject {
    pub(super) command: Vec<String>,
    pub(super) targets: Vec<Target>,
    pub(super) ignore: Vec<String>,
    pub(super) plan: Vec<(String, u64)>,
    /// Looking may take one in so many of a CPU.
    pub(super) max_cpu: u64,
}

/// The probes, when this kernel and these privileges allow any.
pub(super) enum Probes {
    Loaded { kernel: Box<Kernel>, drain: Box<Drain> },
    None { why: String },
}

/// Everything that watches, and the engine that it feeds.
pub(super) struct Observation {
    probes: Probes,
    collector: Collector,
    statuses: Statuses,
    engine: Engine,
    recorder: Option<RecorderThread>,
    ring: Option<Ring>,
    exposed: Option<Exposed>,
    /// Why there is no ring where one was to be.
    ringless: Option<String>,
    /// How long it took to hand over the latest frame to the recorder.
    recording_ns: u64,
    pids_are_the_kernels: bool,
    /// Whether there is a command, which signals have to reach.
    command: bool,
    seq: u64,
    effort: Effort,
}

impl Subject {
    /// What is observed without a command.
    pub(super) fn in_scope(scope: ScopeArgs) -> Self {
        Self {
            command: Vec::new(),
            targets: scope.target,
            ignore: scope.ignore,
            plan: Vec::new(),
            max_cpu: scope.max_cpu,
        }
    }
}

impl Observation {
    /// Loads the probes and opens the recording. Only an unwritable recording is an error: without
    /// probes, the counters still tell.
    pub(super) fn begin(subject: Subject, options: Options, record: Option<&Path>) -> Result<Self> {
        let probes = Probes::load(options);
        let command = !subject.command.is_empty();
        let effort = Effort::at_most_one_in(subject.max_cpu);
        let header = header(subject, &probes);
        let recorder = record
            .map(|path| Writer::create(path, &header).and_then(RecorderThread::spawn))
            .transpose()
            .context("cannot record")?;
        let pids_are_the_kernels = in_initial_pid_namespace();
        Ok(Self {
            probes,
            collector: Collector::new(CollectorConfig {
                own_pid: std::process::id(),
                can_name_probed_pids: pids_are_the_kernels,
            }),
            statuses: Statuses::default(),
            engine: Engine::new(header),
            recorder,
            ring: None,
            exposed: None,
            ringless: None,
            recording_ns: 0,
            pids_are_the_kernels,
            command,
            seq: 0,
            effort,
        })
    }

    /// Keeps the latest minutes from now on, for whoever wants to save them.
    pub(super) fn keep(&mut self, keep: Duration) -> Result<(), RecordingError> {
        let ring = Ring::create(self.engine.header(), RingOptions::keeping(keep));
        self.ring = Some(ring.inspect_err(|error| self.ringless = Some(error.to_string()))?);
        Ok(())
    }

    /// Exposes what is seen from now on.
    pub(super) fn expose(&mut self, exposed: Option<Exposed>) {
        self.exposed = exposed;
    }

    /// Where it is exposed, if it is.
    pub(super) fn exposed(&self) -> Option<&Exposed> {
        self.exposed.as_ref()
    }

    /// How much is kept, and what is wrong with that; `None` where nothing was to be.
    pub(super) fn kept(&self) -> Option<Kept> {
        let Some(ring) = &self.ring else {
            let trouble = Some(self.ringless.clone()?);
            return Some(Kept { held: Duration::ZERO, goes_on: false, trouble });
        };
        let status = ring.status();
        Some(Kept { held: status.held(), goes_on: status.goes_on, trouble: status.trouble })
    }

    /// Saves what is kept; `None` where nothing is. It takes a while, and delays nobody.
    pub(super) fn save(&mut self, path: &Path) -> Option<Saving> {
        let verdict = self.engine.verdict(own_cost());
        self.ring.as_mut().map(|ring| ring.save(path, Some(verdict)))
    }

    /// Why there are no probes, when there are none.
    pub(super) fn blind(&self) -> Option<&str> {
        match &self.probes {
            Probes::Loaded { .. } => None,
            Probes::None { why } => Some(why),
        }
    }

    /// Gives up every right that is no longer needed: call it when the command, if there is one, has been started,
    /// and last of all that takes rights. Threads that the calling one started before keep theirs, unless they
    /// give them up themselves. An error means that the rights are still there, and that all goes on.
    pub(super) fn give_up_privileges(&mut self) -> Result<(), privileges::Refused> {
        if self.seq == 0 {
            // What is opened once is opened at the first look.
            self.tick(Vec::new());
        }
        let Self { probes, command, .. } = self;
        privileges::after_attaching(*command, || match probes {
            Probes::Loaded { kernel, .. } => kernel.is_within_reach(),
            Probes::None { .. } => true,
        })
    }

    /// The descriptor that becomes readable at the first failure of a subject.
    pub(super) fn wake_fd(&self) -> Option<io::Result<OwnedFd>> {
        match &self.probes {
            Probes::Loaded { drain, .. } => Some(drain.events_fd()),
            Probes::None { .. } => None,
        }
    }

    /// Everything forked from now on by `pid` is the generator.
    pub(super) fn watch_tree(&mut self, pid: u32) -> Result<()> {
        match &mut self.probes {
            Probes::Loaded { kernel, .. } if self.pids_are_the_kernels => Ok(kernel.watch_tree(pid)?),
            _ => Ok(()),
        }
    }

    /// Takes `pid` itself out of the generator again; its children stay.
    pub(super) fn unwatch(&mut self, pid: u32) -> Result<()> {
        match &mut self.probes {
            Probes::Loaded { kernel, .. } if self.pids_are_the_kernels => Ok(kernel.unwatch(pid)?),
            _ => Ok(()),
        }
    }

    /// Why the command cannot be told from other processes, when it cannot.
    pub(super) fn nameless(&self) -> Option<&'static str> {
        let probes = matches!(self.probes, Probes::Loaded { .. });
        (probes && !self.pids_are_the_kernels).then_some(
            "observer is in a pid namespace of its own, where process ids are not the kernel's: every subject that \
             carries load is in scope. Name what is under test with --target, or run observer in the host's pid \
             namespace (docker run --pid=host)",
        )
    }

    /// The observed command has this process id.
    pub(super) fn set_command(&mut self, pid: u32) {
        self.collector.set_command(pid);
    }

    /// Whether a look is due, as far as the cost of the one before goes.
    pub(super) fn allows_look(&self) -> bool {
        self.effort.allows_look()
    }

    /// The same as [`Self::tick`], with what is due later: something begins or ends now.
    pub(super) fn look_everywhere(&mut self, marks: Vec<Mark>) -> Vec<Happening> {
        self.collector.look_everywhere();
        if let Probes::Loaded { drain, .. } = &mut self.probes {
            drain.look_at_losses();
        }
        self.tick(marks)
    }

    /// Reads everything that is due, records it and has it judged. Returns what happened.
    pub(super) fn tick(&mut self, marks: Vec<Mark>) -> Vec<Happening> {
        let watch = Effort::begins();
        let happened = self.look(marks);
        self.effort.ended(watch);
        happened
    }

    fn look(&mut self, marks: Vec<Mark>) -> Vec<Happening> {
        let mut frame =
            Frame { seq: self.seq, mono_ns: mono_ns(), real_ns: real_ns(), marks, ..Frame::default() };
        self.seq += 1;
        if let Probes::Loaded { kernel, drain } = &mut self.probes {
            if let Some(log) = kernel.log() {
                log.flush();
            }
            for event in drain.events() {
                frame.facts.extend(named(&event));
                if event.key.pid != 0 && self.pids_are_the_kernels {
                    self.collector.note_process(event.key.pid);
                }
            }
            drain.tick(&mono_ns, &mut frame);
        }
        self.collector.tick(&mono_ns, &mut frame);
        frame.sources.extend(self.recorder.as_ref().map(|recorder| SourceStatus {
            source: "recording".into(),
            duration_ns: self.recording_ns,
            error: recorder.trouble().map(str::to_owned),
        }));
        frame.sources.extend(self.ring.as_ref().map(|ring| SourceStatus {
            source: "ring".into(),
            duration_ns: 0,
            error: ring.trouble(),
        }));
        frame.sources.push(self.effort.status());
        // Before the engine and the recording alike, so that a replay is fed the same.
        self.statuses.keep_news(&mut frame);
        let update = self.engine.step(&frame);
        let happened = Happening::of(&frame, &update, &self.engine);
        if let Some(exposed) = &self.exposed {
            exposed.looked(&frame, &update, &happened, &self.engine);
        }
        if let Some(recorder) = &mut self.recorder {
            let judged = Judged::of(&frame, &happened, &self.engine);
            let before_ns = mono_ns();
            recorder.frame(frame.clone());
            judged.into_iter().for_each(|judged| recorder.judged(judged));
            self.recording_ns = mono_ns().saturating_sub(before_ns);
        }
        if let Some(ring) = &mut self.ring {
            ring.frame(frame);
        }
        happened
    }

    /// The engine that judges it.
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Looks a last time, judges, detaches the probes, and closes the recording.
    pub(super) fn end(mut self) -> (Verdict, Option<Recorded>) {
        if let Probes::Loaded { drain, .. } = &mut self.probes {
            drain.look_at_everything();
        }
        self.statuses.tell_everything();
        self.look_everywhere(Vec::new());
        let verdict = self.engine.verdict(own_cost());
        drop(self.probes);
        let recorded = self.recorder.map(|recorder| recorder.finish(Some(verdict.clone())));
        if let Some(exposed) = self.exposed {
            exposed.close();
        }
        (verdict, recorded)
    }
}

impl Probes {
    fn load(options: Options) -> Self {
        let loaded = Kernel::load(options).and_then(|mut kernel| {
            let drain = Drain::new(&mut kernel)?;
            Ok((kernel, drain))
        });
        match loaded {
            Ok((kernel, _)) if kernel.is_blind() => {
                let why = kernel.attached().iter().find_map(|probe| probe.refused.clone());
                Self::None { why: why.unwrap_or_else(|| "this kernel takes none of them".into()) }
            }
            Ok((kernel, drain)) => Self::Loaded { kernel: Box::new(kernel), drain: Box::new(drain) },
            Err(error) => Self::None { why: error.to_string() },
        }
    }
}

/// The process of an event, by the name that it had then: it may be gone by now.
fn named(event: &Event) -> Option<Fact> {
    // The cgroup of a kill is the memory controller's, which on cgroup v1 is another hierarchy's.
    let of_controller = Signal::from_number(event.key.signal).is_some_and(|signal| {
        matches!(signal.subject_kind(), SubjectKind::CpuCgroup | SubjectKind::MemoryCgroup)
    });
    let length = event.comm.iter().position(|byte| *byte == 0).unwrap_or(event.comm.len());
    (event.key.pid != 0 && length > 0).then(|| Fact::Process {
        pid: event.key.pid,
        parent: 0,
        comm: String::from_utf8_lossy(&event.comm[..length]).into_owned(),
        netns: (event.key.netns != 0).then_some(event.key.netns),
        cgroup: (event.key.cgroup != 0 && !of_controller).then_some(event.key.cgroup),
        generator: event.key.flags & key_flags::GENERATOR != 0,
    })
}

fn header(subject: Subject, probes: &Probes) -> RunHeader {
    let coverage = match probes {
        Probes::Loaded { kernel, .. } => kernel.coverage(),
        Probes::None { why } => coverage_without_probes(why),
    };
    RunHeader {
        id: format!("{:x}-{}", real_ns() / 1_000_000, std::process::id()),
        observer_version: env!("CARGO_PKG_VERSION").to_owned(),
        host: gethostname().map_or_else(|_| "unknown".into(), |name| name.to_string_lossy().into_owned()),
        kernel: kernel_release(),
        netns: own_netns(),
        command: subject.command,
        targets: subject.targets,
        ignore: subject.ignore,
        plan: subject.plan,
        coverage,
    }
}

/// Whether process ids here are those that the kernel's probes see.
fn in_initial_pid_namespace() -> bool {
    /// PROC_PID_INIT_INO (include/linux/proc_ns.h).
    const INITIAL: u64 = 0xEFFF_FFFC;
    std::fs::metadata("/proc/self/ns/pid").is_ok_and(|namespace| namespace.ino() == INITIAL)
}

/// The network namespace of this process; `None` where /proc does not tell.
fn own_netns() -> Option<u32> {
    std::fs::metadata("/proc/self/ns/net").ok().and_then(|namespace| u32::try_from(namespace.ino()).ok())
}

/// The running kernel's release.
pub(super) fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".into(), |release| release.trim().to_owned())
}

/// What observing cost so far; the command's own use is not in it.
pub(super) fn own_cost() -> Option<OwnCost> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let cpu_us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Some(OwnCost {
        cpu_seconds: cpu_us as f64 / 1e6,
        peak_rss_bytes: u64::try_from(usage.max_rss()).ok()? * 1024,
    })
}

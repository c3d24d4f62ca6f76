//! Loading and attaching the probes, and saying on which tier each signal is had.

use std::collections::BTreeSet;

use aya::{
    Btf as AyaBtf, Ebpf, EbpfLoader,
    maps::{HashMap, MapData, MapError},
    programs::{BtfTracePoint, FEntry, FExit, Program, ProgramError},
};
use observer_common::{Offsets, Signal};
use thiserror::Error;

use super::{
    btf::{Btf, BtfError},
    log::{self, ProbeLog},
    probes::{Hook, PROBES, Probe, Wanted, counter},
};
use crate::core::frame::{SignalCoverage, Tier};

/// The kernel side, compiled by build.rs.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/observer-ebpf"));

/// Why no probe at all can be had. A single refused probe is no error but a lower tier.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The kernel's types are unknown.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// aya cannot read the kernel's types.
    #[error("cannot use the kernel's BTF: {0}")]
    AyaBtf(#[from] aya::BtfError),
    /// The maps cannot be made, mostly for want of CAP_BPF.
    #[error("cannot create the probes' maps: {reason}")]
    Maps {
        /// Why, without the layers in between.
        reason: String,
    },
    /// A map is missing or of another kind than expected.
    #[error("cannot open map {name}: {source}")]
    Map {
        /// Its name.
        name: &'static str,
        /// Why.
        source: MapError,
    },
}

/// What to attach.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Also attach hooks that cost every system call.
    pub precise: bool,
}

/// How one probe fared.
#[derive(Clone, Debug)]
pub struct Attached {
    /// The probe.
    pub probe: Probe,
    /// Why it is not attached; `None` when it is.
    pub refused: Option<String>,
    /// Instructions that the verifier went through, where the kernel tells (5.16 and later).
    pub verified_instructions: Option<u32>,
}

/// The attached probes. Dropping it detaches them: nothing is pinned.
pub struct Kernel {
    pub(super) ebpf: Ebpf,
    attached: Vec<Attached>,
    log: Option<ProbeLog>,
}

impl Kernel {
    /// Loads the object and attaches every probe that this kernel takes.
    pub fn load(options: Options) -> Result<Self, KernelError> {
        let types = Btf::from_kernel()?;
        let offsets = Offsets::resolve(|lookup| types.lookup(lookup));
        drop(types);
        let aya_btf = AyaBtf::from_sys_fs()?;
        let log_level = log::level();
        let mut ebpf = EbpfLoader::new()
            .btf(Some(&aya_btf))
            .override_global("OFFSETS", &offsets, true)
            .override_global("AYA_LOG_LEVEL", &log_level, true)
            .load(OBJECT)
            .map_err(|error| KernelError::Maps { reason: root_cause(&error) })?;
        let mut attached: Vec<Attached> = Vec::with_capacity(PROBES.len());
        for probe in PROBES {
            if is_wanted(probe, options, &attached) {
                let outcome = attach(&mut ebpf, probe, &aya_btf, &attached);
                attached.push(outcome);
            }
        }
        let log = ProbeLog::open(&mut ebpf);
        Ok(Self { ebpf, attached, log })
    }

    /// What the probes have to say, where it was asked for.
    pub fn log(&mut self) -> Option<&mut ProbeLog> {
        self.log.as_mut()
    }

    /// How each wanted probe fared.
    pub fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// Whether no probe could be attached.
    pub fn is_blind(&self) -> bool {
        self.attached.iter().all(|attached| attached.refused.is_some())
    }

    /// Makes a process and everything that it forks from now on the generator.
    pub fn watch_tree(&mut self, root: u32) -> Result<(), KernelError> {
        self.tree(|tree| tree.insert(root, 1, 0))
    }

    /// Takes a process out of the generator; what it forked stays.
    pub fn unwatch(&mut self, pid: u32) -> Result<(), KernelError> {
        self.tree(|tree| tree.remove(&pid))
    }

    fn tree(
        &mut self,
        change: impl FnOnce(&mut HashMap<&mut MapData, u32, u8>) -> Result<(), MapError>,
    ) -> Result<(), KernelError> {
        let name = "TREE";
        let map = self
            .ebpf
            .map_mut(name)
            .ok_or(KernelError::Map { name, source: MapError::InvalidName { name: name.to_owned() } })?;
        HashMap::try_from(map)
            .and_then(|mut tree| change(&mut tree))
            .map_err(|source| KernelError::Map { name, source })
    }

    /// On which tier each signal is had.
    pub fn coverage(&self) -> Vec<SignalCoverage> {
        coverage(&self.attached, None)
    }

    /// Whether the fallback cells of a signal are the ones to read.
    pub(super) fn reads_fallback(&self, signal: Signal) -> bool {
        !self.attached.iter().any(|a| a.refused.is_none() && a.probe.signals.contains(&signal))
    }

    /// The tier that a probed signal is had on.
    pub(super) fn tier(&self, signal: Signal) -> Tier {
        best(&self.attached, signal).map_or(Tier::Absent, |probe| probe.hook.tier())
    }
}

/// The tier of each signal when nothing could be loaded, and why.
pub fn coverage_without_probes(reason: &str) -> Vec<SignalCoverage> {
    coverage(&[], Some(reason))
}

fn coverage(attached: &[Attached], nothing_loaded: Option<&str>) -> Vec<SignalCoverage> {
    Signal::ALL
        .iter()
        .map(|signal| {
            let why: BTreeSet<String> = attached
                .iter()
                .filter(|a| a.probe.signals.contains(signal))
                .filter_map(|a| Some(refusal(a.probe.hook, a.refused.as_deref()?)))
                .collect();
            let why_degraded = match nothing_loaded {
                Some(reason) if probed(*signal) => Some(reason.to_owned()),
                _ => (!why.is_empty()).then(|| why.into_iter().collect::<Vec<_>>().join("; ")),
            };
            let (tier, source) = match (best(attached, *signal), counter(*signal)) {
                (Some(probe), _) => (probe.hook.tier(), probe.hook.describe()),
                (None, Some(counter)) => (Tier::Counter, counter.to_owned()),
                (None, None) => (Tier::Absent, "none".to_owned()),
            };
            SignalCoverage { signal: *signal, tier, source, why_degraded }
        })
        .collect()
}

/// Why a hook is not had: a kernel that forbids one trampoline forbids them all.
fn refusal(hook: Hook, why: &str) -> String {
    match (hook.tier(), why.starts_with(NOT_PERMITTED)) {
        (Tier::Trampoline, true) => format!("this kernel refuses fentry and fexit ({why})"),
        _ => format!("{} cannot be attached ({why})", hook.describe()),
    }
}

fn probed(signal: Signal) -> bool {
    PROBES.iter().any(|probe| probe.signals.contains(&signal))
}

fn best(attached: &[Attached], signal: Signal) -> Option<&Probe> {
    let works = |a: &&Attached| a.refused.is_none();
    attached
        .iter()
        .filter(works)
        .find(|a| a.probe.signals.contains(&signal))
        .or_else(|| attached.iter().filter(works).find(|a| a.probe.fallback.contains(&signal)))
        .map(|a| &a.probe)
}

fn is_wanted(probe: &Probe, options: Options, attached: &[Attached]) -> bool {
    match probe.wanted {
        Wanted::Always | Wanted::With(_) => true,
        Wanted::Instead(other) => refusal_of(other, attached).is_some(),
        Wanted::PreciseInstead(other) => options.precise && refusal_of(other, attached).is_some(),
    }
}

/// Why a program that was wanted is not attached.
fn refusal_of<'a>(program: &str, attached: &'a [Attached]) -> Option<&'a str> {
    attached.iter().find(|a| a.probe.program == program)?.refused.as_deref()
}

fn attach(ebpf: &mut Ebpf, probe: &Probe, btf: &AyaBtf, attached: &[Attached]) -> Attached {
    let companions: &[&str] = if let Wanted::With(programs) = probe.wanted { programs } else { &[] };
    let missing = companions.iter().find_map(|program| refusal_of(program, attached));
    let outcome = match ebpf.program_mut(probe.program) {
        _ if missing.is_some() => Err(missing.unwrap_or_default().to_owned()),
        Some(program) => attach_program(program, probe.hook, btf).map_err(|error| root_cause(&error)),
        None => Err("the object has no such program".to_owned()),
    };
    Attached {
        probe: *probe,
        verified_instructions: outcome.as_ref().ok().copied().flatten(),
        refused: outcome.err(),
    }
}

fn attach_program(program: &mut Program, hook: Hook, btf: &AyaBtf) -> Result<Option<u32>, ProgramError> {
    match hook {
        Hook::FEntry(function) => {
            let program: &mut FEntry = program.try_into()?;
            program.load(function, btf)?;
            program.attach()?;
        }
        Hook::FExit(function) => {
            let program: &mut FExit = program.try_into()?;
            program.load(function, btf)?;
            program.attach()?;
        }
        Hook::TracePoint(name) => {
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(name, btf)?;
            program.attach()?;
        }
    }
    Ok(program.info()?.verified_instruction_count())
}

const NOT_PERMITTED: &str = "EPERM, not permitted";

/// The innermost cause: `Operation not permitted (os error 1)` says more than the layers around it.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error) {
        Some(libc::EPERM) => NOT_PERMITTED.to_owned(),
        Some(libc::EACCES) => "EACCES, refused by the verifier or a security policy".to_owned(),
        _ => cause.to_string(),
    }
}

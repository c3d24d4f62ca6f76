//! Loading the kernel side.

use std::io::ErrorKind;

use aya::{
    Btf as AyaBtf, Ebpf, EbpfLoader,
    maps::{HashMap, MapData, MapError},
};
use observer_common::{Offsets, Signal};
use thiserror::Error;

pub use super::coverage::without_probes as coverage_without_probes;
use super::{
    attach::{Attached, Attacher, root_cause},
    btf::{Btf, BtfError},
    by_cpu, coverage,
    element::cpus,
    log::{self, ProbeLog},
    memlock, probes,
    reasons::Reasons,
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

impl KernelError {
    /// Whether it only says that there is no such entry.
    fn is_absence(&self) -> bool {
        matches!(self, Self::Map { source: MapError::SyscallError(error), .. }
            if error.io_error.kind() == ErrorKind::NotFound)
    }
}

/// What to attach.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Also attach hooks that cost every system call.
    pub precise: bool,
    /// There is a command, of which the processes are to be told from others.
    pub command: bool,
}

/// The attached probes. Dropping it detaches them: nothing is pinned.
pub struct Kernel {
    pub(super) ebpf: Ebpf,
    pub(super) reasons: Reasons,
    attached: Vec<Attached>,
    load_ms: f64,
    log: Option<ProbeLog>,
}

impl Kernel {
    /// Loads the object and attaches every probe that this kernel takes.
    pub fn load(options: Options) -> Result<Self, KernelError> {
        Self::load_timed(options, &|| 0)
    }

    /// The same, taking the time of it. `clock` is CLOCK_MONOTONIC in nanoseconds.
    pub fn load_timed(options: Options, clock: &dyn Fn() -> u64) -> Result<Self, KernelError> {
        let began = clock();
        let _room = memlock::Raised::as_far_as_allowed();
        let types = Btf::from_kernel()?;
        let offsets = Offsets::resolve(|lookup| types.lookup(lookup));
        let reasons = Reasons::read(&types);
        drop(types);
        let aya_btf = AyaBtf::from_sys_fs()?;
        let log_level = log::level();
        let counted_drops = reasons.counted_drops();
        let cpus = cpus().map_err(|error| KernelError::Maps { reason: error.to_string() })?;
        let mut loader = EbpfLoader::new();
        for map in by_cpu::ALL {
            loader.map_max_entries(map.name, map.length(cpus) as u32);
        }
        let mut ebpf = loader
            .btf(Some(&aya_btf))
            .override_global("OFFSETS", &offsets, true)
            .override_global("DROP_REASONS", &counted_drops, true)
            .override_global("OBSERVES_COMMAND", &u8::from(options.command), true)
            .override_global("AYA_LOG_LEVEL", &log_level, true)
            .load(OBJECT)
            .map_err(|error| KernelError::Maps { reason: root_cause(&error) })?;
        let mut attached: Vec<Attached> = Vec::new();
        let mut attacher = Attacher { ebpf: &mut ebpf, btf: &aya_btf, offsets: &offsets, clock };
        for probe in probes::all() {
            if Attached::is_wanted(probe, options, &attached) {
                let outcome = attacher.attach(probe, &attached);
                attached.push(outcome);
            }
        }
        drop(aya_btf);
        crate::heap::give_back();
        let log = ProbeLog::open(&mut ebpf);
        let load_ms = clock().saturating_sub(began) as f64 / 1e6;
        Ok(Self { ebpf, reasons, attached, load_ms, log })
    }

    /// What the probes have to say, where it was asked for.
    pub fn log(&mut self) -> Option<&mut ProbeLog> {
        self.log.as_mut()
    }

    /// How each wanted probe fared.
    pub fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// Milliseconds that loading and attaching took, all in all.
    pub fn load_ms(&self) -> f64 {
        self.load_ms
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

    /// Whether the calling thread may (still) read and change the probes' maps.
    pub fn is_within_reach(&mut self) -> bool {
        // Nobody has this process id.
        self.unwatch(0).map_or_else(|error| error.is_absence(), |()| true)
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
        coverage::of_all(&self.attached, None)
    }

    /// Whether the fallback cells of a signal are the ones to read.
    pub(super) fn reads_fallback(&self, signal: Signal) -> bool {
        coverage::reads_fallback(&self.attached, signal)
    }

    /// The tier that a probed signal is had on.
    pub(super) fn tier(&self, signal: Signal) -> Tier {
        coverage::tier(&self.attached, signal).unwrap_or(Tier::Absent)
    }
}

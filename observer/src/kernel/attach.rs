//! Attaching the probes one by one. A refused one is no error but a lower tier.

use aya::{
    Btf as AyaBtf, BtfError, Ebpf,
    maps::{Array, MapError},
    programs::{BtfTracePoint, FEntry, FExit, KProbe, Program, ProgramError},
};
use observer_common::Offsets;

use super::{
    load::Options,
    probes::{Hook, Need, Probe, Wanted},
    symbols,
};
use crate::core::frame::Tier;

pub(super) const NOT_PERMITTED: &str = "EPERM, not permitted";

/// What stands in the way where nf_conntrack is a module.
pub(super) const NO_CONNTRACK: &str = "nf_conntrack is not loaded; using the counter";
/// What a kernel without kprobes answers.
pub(super) const NO_KPROBES: &str = "this kernel has no kprobes";
/// Where a kernel with them says so.
const KPROBES: &str = "/sys/bus/event_source/devices/kprobe";

/// The kernel's own ENOTSUPP, which user space has no name for.
const ENOTSUPP: i32 = 524;

/// How one probe fared.
#[derive(Clone, Debug)]
pub struct Attached {
    /// The probe.
    pub probe: Probe,
    /// Why it is not attached; `None` when it is.
    pub refused: Option<String>,
    /// Instructions that the verifier went through, where the kernel tells (5.16 and later).
    pub verified_instructions: Option<u32>,
    /// Milliseconds that loading and attaching it took.
    pub load_ms: f64,
}

impl Attached {
    /// Whether a probe is to be attached, after what became of those before it.
    pub(super) fn is_wanted(probe: &Probe, options: Options, before: &[Self]) -> bool {
        match probe.wanted {
            Wanted::Always => true,
            Wanted::WithCommand => options.command,
            Wanted::With(others) => {
                others.iter().all(|other| before.iter().any(|attached| attached.probe.program == *other))
            }
            Wanted::Beside(other) => refusal_of(other, before).is_none(),
            Wanted::Instead(other) => refusal_of(other, before).is_some(),
            Wanted::PreciseInstead(other) => options.precise && refusal_of(other, before).is_some(),
        }
    }
}

/// What attaching takes.
pub(super) struct Attacher<'a> {
    pub(super) ebpf: &'a mut Ebpf,
    pub(super) btf: &'a AyaBtf,
    pub(super) offsets: &'a Offsets,
    /// CLOCK_MONOTONIC in nanoseconds.
    pub(super) clock: &'a dyn Fn() -> u64,
}

impl Attacher<'_> {
    /// Loads and attaches one probe.
    pub(super) fn attach(&mut self, probe: &Probe, before: &[Attached]) -> Attached {
        let began = (self.clock)();
        let outcome = self.outcome(probe, before);
        Attached {
            probe: *probe,
            verified_instructions: outcome.as_ref().ok().copied().flatten(),
            refused: outcome.err(),
            load_ms: (self.clock)().saturating_sub(began) as f64 / 1e6,
        }
    }

    fn outcome(&mut self, probe: &Probe, before: &[Attached]) -> Result<Option<u32>, String> {
        if let Wanted::With(others) = probe.wanted
            && let Some(why) = others.iter().find_map(|other| refusal_of(other, before))
        {
            return Err(why.to_owned());
        }
        if probe.hook.tier() == Tier::Kprobe && !std::fs::exists(KPROBES).unwrap_or(false) {
            return Err(NO_KPROBES.to_owned());
        }
        self.provide(probe.needs)?;
        let program =
            self.ebpf.program_mut(probe.program).ok_or("the object has no such program".to_owned())?;
        attach_program(program, probe.hook, self.btf).map_err(|error| root_cause(&error))
    }

    /// Sees to what a program needs; the error says what is missing.
    fn provide(&mut self, need: Need) -> Result<(), String> {
        match need {
            Need::Nothing => Ok(()),
            Need::Arguments { given, at_least, otherwise } => {
                if given(self.offsets) >= at_least {
                    Ok(())
                } else {
                    Err(otherwise.to_owned())
                }
            }
            Need::Conntrack => match std::fs::exists("/proc/sys/net/netfilter/nf_conntrack_max") {
                Ok(true) => Ok(()),
                _ => Err(NO_CONNTRACK.to_owned()),
            },
            Need::PeriodTimer => {
                let address = symbols::address("sched_cfs_period_timer")?;
                self.set_period_timer(address).map_err(|error| root_cause(&error))
            }
        }
    }

    fn set_period_timer(&mut self, address: u64) -> Result<(), MapError> {
        let name = "PERIOD_TIMER";
        let map = self.ebpf.map_mut(name).ok_or(MapError::InvalidName { name: name.to_owned() })?;
        Array::try_from(map)?.set(0, address, 0)
    }
}

/// Why a program that was wanted is not attached.
fn refusal_of<'a>(program: &str, attached: &'a [Attached]) -> Option<&'a str> {
    attached.iter().find(|a| a.probe.program == program)?.refused.as_deref()
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
        Hook::KProbe(function) | Hook::KRetProbe(function) => {
            let program: &mut KProbe = program.try_into()?;
            program.load()?;
            program.attach(function, 0)?;
        }
        Hook::TracePoint(name) => {
            let program: &mut BtfTracePoint = program.try_into()?;
            program.load(name, btf)?;
            program.attach()?;
        }
    }
    Ok(program.info()?.verified_instruction_count())
}

/// The innermost cause: `Operation not permitted (os error 1)` says more than the layers around it.
pub(super) fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if let Some(ProgramError::Btf(BtfError::UnknownBtfTypeName { .. })) = cause.downcast_ref() {
        return "the kernel image has nothing of that name".to_owned();
    }
    match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error) {
        Some(libc::EPERM) => NOT_PERMITTED.to_owned(),
        Some(libc::EACCES) => "EACCES, refused by the verifier or a security policy".to_owned(),
        Some(libc::EBUSY) => "EBUSY, the function is not to be traced".to_owned(),
        Some(ENOTSUPP) => "ENOTSUPP, more arguments than a trampoline carries".to_owned(),
        _ => cause.to_string(),
    }
}

//! The capabilities of the calling thread: which it has, and giving them up.

use std::io;

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};
use nix::sys::prctl::set_no_new_privs;

use super::table::{TABLE, Until};

/// Capabilities could not be given up: a sandbox forbids it, most likely.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Of the capabilities themselves.
    #[error("cannot give up capabilities that are no longer needed: {0}")]
    Capabilities(#[from] CapsError),
    /// Of what keeps them from coming back.
    #[error("cannot set no_new_privs: {0}")]
    NoNewPrivileges(#[from] io::Error),
}

/// The effective capabilities of the calling thread.
pub fn effective() -> Result<CapsHashSet, Refused> {
    Ok(caps::read(None, CapSet::Effective)?)
}

/// Gives up what is only needed until everything is attached (and the command, if there is one, has been started).
///
/// `still_reads` tries whether the probes can be read without CAP_BPF; where they cannot, it stays.
pub fn after_attaching(command: bool, still_reads: impl FnOnce() -> bool) -> Result<(), Refused> {
    let longer: &[Until] = if command { &[Until::Ends, Until::CommandEnds] } else { &[Until::Ends] };
    let mut keep = needed(longer);
    // CAP_SYS_ADMIN, where it stays, stands for CAP_BPF; so what counts is what the kernel then says.
    let mut while_trying = keep.clone();
    while_trying.insert(Capability::CAP_SETPCAP);
    lower(CapSet::Effective, &while_trying)?;
    if !still_reads() && caps::has_cap(None, CapSet::Permitted, Capability::CAP_BPF)? {
        caps::raise(None, CapSet::Effective, Capability::CAP_BPF)?;
        keep.insert(Capability::CAP_BPF);
    }
    keep_these(&keep)
}

/// Gives up all capabilities of the calling thread but those that are needed until then.
pub fn keep_only(longer: &[Until]) -> Result<(), Refused> {
    keep_these(&needed(longer))
}

fn needed(longer: &[Until]) -> CapsHashSet {
    TABLE.iter().filter(|row| longer.contains(&row.until)).map(|row| row.capability).collect()
}

/// Nothing that this thread executes later gets back what it gives up here.
fn keep_these(keep: &CapsHashSet) -> Result<(), Refused> {
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::read(None, CapSet::Bounding)?.difference(keep) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
    }
    set_no_new_privs().map_err(io::Error::from)?;
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    // In this order: what is effective has to be permitted.
    lower(CapSet::Effective, keep)?;
    lower(CapSet::Permitted, keep)
}

fn lower(set: CapSet, keep: &CapsHashSet) -> Result<(), Refused> {
    let held = caps::read(None, set)?;
    Ok(caps::set(None, set, &held.intersection(keep).copied().collect())?)
}

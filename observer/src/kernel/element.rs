//! One element of a map of the probes, read without allocating anything.

use std::{
    io::{Error, ErrorKind, Result},
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::{maps::MapData, util::nr_cpus};

/// What is asked of a map: BPF_MAP_LOOKUP_ELEM and BPF_MAP_GET_NEXT_KEY (include/uapi/linux/bpf.h).
#[derive(Clone, Copy)]
#[repr(i64)]
pub(super) enum Command {
    Lookup = 1,
    NextKey = 4,
}

/// `bpf(2)`'s attributes for one element.
#[repr(C)]
struct Element {
    map_fd: u64,
    key: u64,
    /// Or the next key.
    value: u64,
    flags: u64,
}

/// Whether there is such an element.
///
/// # Safety
///
/// `key` is the address of a key of the map, or 0 for [`Command::NextKey`]. `value` is the address of room for what is asked
/// for: a key, or a value, of a per-CPU map one for each CPU. Any bits are valid there.
pub(super) unsafe fn element(map: &MapData, command: Command, key: u64, value: u64) -> Result<bool> {
    let map_fd = map.fd().as_fd().as_raw_fd().cast_unsigned().into();
    let mut element = Element { map_fd, key, value, flags: 0 };
    // SAFETY: the command reads and writes where the caller says, and nowhere else.
    let outcome = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_long, &raw mut element, size_of::<Element>())
    };
    match Error::last_os_error() {
        _ if outcome == 0 => Ok(true),
        error if error.kind() == ErrorKind::NotFound => Ok(false),
        error => Err(Error::new(error.kind(), format!("cannot read a map of the probes: {error}"))),
    }
}

/// CPUs that a per-CPU map has values for.
pub(super) fn cpus() -> Result<usize> {
    nr_cpus().map_err(|(path, error)| Error::new(error.kind(), format!("{path}: {error}")))
}

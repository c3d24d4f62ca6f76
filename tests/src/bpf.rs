//! The BPF programs and maps of the host, as bpf(2) lists them.

use std::{
    collections::BTreeMap,
    fs,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nix::errno::Errno;

/// Where programs and maps are pinned, if they are.
const PINS: &str = "/sys/fs/bpf";
/// `BPF_OBJ_NAME_LEN`.
const NAME_LENGTH: usize = 16;

/// Kind of object, with the numbers of bpf(2) for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A program.
    Program,
    /// A map.
    Map,
}

impl Kind {
    /// `BPF_*_GET_NEXT_ID`.
    fn get_next_id(self) -> libc::c_int {
        match self {
            Self::Program => 11,
            Self::Map => 12,
        }
    }

    /// `BPF_*_GET_FD_BY_ID`.
    fn get_fd_by_id(self) -> libc::c_int {
        match self {
            Self::Program => 13,
            Self::Map => 14,
        }
    }

    /// Where the name is in `struct bpf_prog_info` or `struct bpf_map_info`.
    fn name_at(self) -> usize {
        match self {
            Self::Program => 64,
            Self::Map => 24,
        }
    }
}

/// `BPF_OBJ_GET_INFO_BY_FD`.
const GET_INFO_BY_FD: libc::c_int = 15;

/// `union bpf_attr`, as far as it is needed here: `start_id`, `next_id` or `bpf_fd`, `info_len`, `info`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    id_or_fd: u32,
    next_id_or_length: u32,
    info: u64,
}

/// The programs and maps there are, with their names.
pub fn objects() -> Result<BTreeMap<(Kind, u32), String>> {
    let mut objects = BTreeMap::new();
    for kind in [Kind::Program, Kind::Map] {
        let mut id = 0;
        while let Some(next) = next_id(kind, id)? {
            id = next;
            // It may be gone by now.
            if let Some(name) = name(kind, id)? {
                objects.insert((kind, id), name);
            }
        }
    }
    Ok(objects)
}

/// What is pinned.
pub fn pins() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            found.push(entry.path());
            walk(&entry.path(), found);
        }
    }
    let mut found = Vec::new();
    walk(Path::new(PINS), &mut found);
    found.sort();
    found
}

fn next_id(kind: Kind, after: u32) -> Result<Option<u32>> {
    let mut attributes = Attributes { id_or_fd: after, ..Attributes::default() };
    match bpf(kind.get_next_id(), &mut attributes) {
        Ok(_) => Ok(Some(attributes.next_id_or_length)),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error).context("cannot list BPF objects (needs CAP_SYS_ADMIN)"),
    }
}

fn name(kind: Kind, id: u32) -> Result<Option<String>> {
    let mut attributes = Attributes { id_or_fd: id, ..Attributes::default() };
    let fd = match bpf(kind.get_fd_by_id(), &mut attributes) {
        Ok(fd) => fd,
        Err(Errno::ENOENT) => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot open BPF object {id}")),
    };
    // SAFETY: the kernel has just given this descriptor to us alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut info = vec![0_u8; kind.name_at() + NAME_LENGTH];
    let mut attributes = Attributes {
        id_or_fd: fd.as_raw_fd().cast_unsigned(),
        next_id_or_length: u32::try_from(info.len())?,
        info: info.as_mut_ptr() as u64,
    };
    bpf(GET_INFO_BY_FD, &mut attributes).with_context(|| format!("cannot describe BPF object {id}"))?;
    let name = info[kind.name_at()..].split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(Some(String::from_utf8_lossy(name).into_owned()))
}

fn bpf(command: libc::c_int, attributes: &mut Attributes) -> nix::Result<libc::c_int> {
    // SAFETY: the kernel reads and writes at most the size that it is told, and for GET_INFO_BY_FD at most
    // `info_len` bytes at `info`, which the caller owns and which outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<Attributes>())
    };
    Errno::result(result).map(|number| number as libc::c_int)
}

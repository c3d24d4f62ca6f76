//! The BPF programs and maps of the host, as bpf(2) lists them, and what programs cost.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    sys::resource::{RLIM_INFINITY, Resource, setrlimit},
};

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

/// How often a program has run while the kernel took the time of it, and how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// Its name.
    pub name: String,
    /// Runs.
    pub count: u64,
    /// Nanoseconds, with what taking the time takes itself.
    pub time_ns: u64,
}

/// While this lives, the kernel counts and times the runs of all programs.
#[derive(Debug)]
pub struct Timed(#[allow(dead_code, reason = "the descriptor keeps it on")] OwnedFd);

impl Timed {
    /// From now on (`BPF_ENABLE_STATS`, since 5.8).
    pub fn start() -> Result<Self> {
        const ENABLE_STATS: libc::c_int = 32;
        const RUN_TIME: u32 = 0;
        let mut attributes = Attributes { id_or_fd: RUN_TIME, ..Attributes::default() };
        let fd =
            bpf(ENABLE_STATS, &mut attributes).context("the kernel does not take the time of programs")?;
        // SAFETY: the kernel has just given this descriptor to us alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }
}

/// The runs of all programs, by their ids.
pub fn runs() -> Result<BTreeMap<u32, Runs>> {
    /// `run_time_ns` and `run_cnt` in `struct bpf_prog_info`.
    const RUNS_AT: usize = 192;
    let mut all = BTreeMap::new();
    let mut id = 0;
    while let Some(next) = next_id(Kind::Program, id)? {
        id = next;
        let Some(info) = info(Kind::Program, id, RUNS_AT + 16)? else { continue };
        let number = |at: usize| info[at..at + 8].try_into().map_or(0, u64::from_ne_bytes);
        let name = name_in(&info, Kind::Program);
        all.insert(id, Runs { name, time_ns: number(RUNS_AT), count: number(RUNS_AT + 8) });
    }
    Ok(all)
}

/// A program that does nothing, attached to a tracepoint: what every program there costs at least.
#[derive(Debug)]
pub struct Empty {
    _program: OwnedFd,
    _link: OwnedFd,
}

impl Empty {
    /// Its name among [`runs`].
    pub const NAME: &str = "observer_empty";

    /// Attaches it to a raw tracepoint.
    pub fn attach(tracepoint: &str) -> Result<Self> {
        const PROG_LOAD: libc::c_int = 5;
        const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
        const RAW_TRACEPOINT: u32 = 17;
        // Before 5.11 programs count as locked memory of their user, of whom observer is another process. Where it may
        // not be raised, the kernel says of the program itself whether that was needed.
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
        /// `r0 = 0; exit`.
        static INSTRUCTIONS: [u64; 2] = [0xb7, 0x95];
        let mut attributes = Loading {
            kind: RAW_TRACEPOINT,
            instructions: INSTRUCTIONS.len() as u32,
            code: INSTRUCTIONS.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            ..Loading::default()
        };
        attributes.name[..Self::NAME.len()].copy_from_slice(Self::NAME.as_bytes());
        let program = descriptor(PROG_LOAD, &mut attributes).context("cannot load an empty program")?;
        let name = CString::new(tracepoint)?;
        let mut attributes =
            Opening { name: name.as_ptr() as u64, program: program.as_raw_fd().cast_unsigned(), padding: 0 };
        let link = descriptor(RAW_TRACEPOINT_OPEN, &mut attributes)
            .with_context(|| format!("cannot attach to {tracepoint}"))?;
        Ok(Self { _program: program, _link: link })
    }
}

/// `union bpf_attr` for `BPF_PROG_LOAD`, as far as it is needed here.
#[repr(C)]
#[derive(Default)]
struct Loading {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; NAME_LENGTH],
}

/// `union bpf_attr` for `BPF_RAW_TRACEPOINT_OPEN`.
#[repr(C)]
struct Opening {
    name: u64,
    program: u32,
    padding: u32,
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
    Ok(info(kind, id, kind.name_at() + NAME_LENGTH)?.map(|info| name_in(&info, kind)))
}

fn name_in(info: &[u8], kind: Kind) -> String {
    let name = &info[kind.name_at()..kind.name_at() + NAME_LENGTH];
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// The first bytes of what the kernel says of an object; `None` where it is gone by now.
fn info(kind: Kind, id: u32, length: usize) -> Result<Option<Vec<u8>>> {
    let mut attributes = Attributes { id_or_fd: id, ..Attributes::default() };
    let fd = match bpf(kind.get_fd_by_id(), &mut attributes) {
        Ok(fd) => fd,
        Err(Errno::ENOENT) => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot open BPF object {id}")),
    };
    // SAFETY: the kernel has just given this descriptor to us alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut info = vec![0_u8; length];
    let mut attributes = Attributes {
        id_or_fd: fd.as_raw_fd().cast_unsigned(),
        next_id_or_length: u32::try_from(info.len())?,
        info: info.as_mut_ptr() as u64,
    };
    bpf(GET_INFO_BY_FD, &mut attributes).with_context(|| format!("cannot describe BPF object {id}"))?;
    Ok(Some(info))
}

fn descriptor<A>(command: libc::c_int, attributes: &mut A) -> nix::Result<OwnedFd> {
    let fd = bpf(command, attributes)?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `A` is `union bpf_attr` as this command has it; what it points to is the caller's and outlives the call.
fn bpf<A>(command: libc::c_int, attributes: &mut A) -> nix::Result<libc::c_int> {
    // SAFETY: the kernel reads and writes at most the size that it is told, and for GET_INFO_BY_FD at most
    // `info_len` bytes at `info`.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<A>()) };
    Errno::result(result).map(|number| number as libc::c_int)
}

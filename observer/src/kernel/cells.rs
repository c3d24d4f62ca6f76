//! Reading a map of cells whole: key by key while there are few, and many to a system call beyond that.
//!
//! Kernel: `htab_map_get_next_key`, and `__htab_map_lookup_and_delete_batch` (kernel/bpf/hashtab.c), for per-CPU maps since
//! 5.6. A cell that is made while the map is being read may be missed; its count stays, and the next read has it.
//!
//! On the CPU that reads, the kernel skips other programs while it copies (`bpf_disable_instrumentation`). A batch goes on
//! until it has found a cell, over all the empty buckets before it: with few cells in the table that is long enough to lose
//! counts, with many it is not.

use std::{
    io::{Error, ErrorKind, Result},
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::maps::MapData;
use observer_common::{Cell, Key};

use super::element::{Command, cpus, element};

/// From so many keys on it is read in batches: a bucket in ten is in use.
pub(super) const MANY: usize = 1024;
/// Cells that one system call may bring. No bucket of the kernel's table holds as many.
const BATCH: usize = 256;
/// BPF_MAP_LOOKUP_BATCH (include/uapi/linux/bpf.h).
const LOOKUP_BATCH: libc::c_long = 24;

/// A map of cells, and room for what one system call brings of it.
pub(super) struct Cells {
    map: MapData,
    cpus: usize,
    keys: Vec<Key>,
    /// Of each key, the cells of all CPUs.
    cells: Vec<Cell>,
    /// Keys that the last read found.
    found: usize,
}

/// `attr.batch` of `bpf(2)`.
#[repr(C)]
#[derive(Default)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// A stretch of the table.
struct Stretch {
    keys: usize,
    is_last: bool,
}

impl Cells {
    /// Of a map from [`Key`] to one [`Cell`] per CPU.
    pub(super) fn new(map: MapData) -> Result<Self> {
        let cpus = cpus()?;
        Ok(Self {
            map,
            cpus,
            keys: vec![Key::ZERO; BATCH],
            cells: vec![Cell::default(); BATCH * cpus],
            found: 0,
        })
    }

    /// Whether to read so many of them may take long: the kernel copies one for each CPU.
    pub(super) const fn are_many(&self, cells: usize) -> bool {
        cells * self.cpus >= MANY
    }

    /// Hands over each key with what all CPUs counted for it. An error means that some were not read.
    pub(super) fn read(&mut self, mut take: impl FnMut(&Key, &Cell)) -> Result<()> {
        let mut found = 0;
        let count = |key: &Key, cell: &Cell| {
            found += 1;
            take(key, cell);
        };
        let outcome = if self.found < MANY { self.read_each(count) } else { self.read_batches(count) };
        self.found = found;
        outcome
    }

    /// What all CPUs counted for one key; `None` where there is no such cell.
    pub(super) fn read_one(&mut self, key: &Key) -> Result<Option<Cell>> {
        let cells = self.cells.as_mut_ptr() as u64;
        let is_there = self.element(Command::Lookup, std::ptr::from_ref(key) as u64, cells)?;
        Ok(is_there.then(|| total(&self.cells[..self.cpus])))
    }

    fn read_each(&mut self, mut take: impl FnMut(&Key, &Cell)) -> Result<()> {
        let (mut key, mut is_first) = (Key::ZERO, true);
        loop {
            let before = key;
            let before = if is_first { 0 } else { (&raw const before) as u64 };
            if !self.element(Command::NextKey, before, (&raw mut key) as u64)? {
                return Ok(());
            }
            // Keys are never taken out of the table.
            if let Some(cell) = self.read_one(&key)? {
                take(&key, &cell);
            }
            is_first = false;
        }
    }

    /// Whether there is such an element. The addresses are those of keys, or of room for the cells of all CPUs.
    fn element(&self, command: Command, key: u64, value: u64) -> Result<bool> {
        // SAFETY: both callers have the command read a key at `key` where that is not 0, and write a key or a cell for each
        // CPU at `value`; both live as long as the call. Any bits are a valid `Key` and `Cell`.
        unsafe { element(&self.map, command, key, value) }
    }

    fn read_batches(&mut self, mut take: impl FnMut(&Key, &Cell)) -> Result<()> {
        let mut position = 0_u32;
        let mut is_first = true;
        loop {
            let stretch = self.stretch(is_first, &mut position)?;
            for (key, cells) in self.keys.iter().zip(self.cells.chunks_exact(self.cpus)).take(stretch.keys) {
                take(key, &total(cells));
            }
            if stretch.is_last {
                return Ok(());
            }
            is_first = false;
        }
    }

    /// Reads on from a position, and moves it.
    fn stretch(&mut self, is_first: bool, position: &mut u32) -> Result<Stretch> {
        let before = *position;
        let mut batch = Batch {
            in_batch: if is_first { 0 } else { (&raw const before) as u64 },
            out_batch: (&raw mut *position) as u64,
            keys: self.keys.as_mut_ptr() as u64,
            values: self.cells.as_mut_ptr() as u64,
            count: BATCH as u32,
            map_fd: self.map.fd().as_fd().as_raw_fd().cast_unsigned(),
            ..Batch::default()
        };
        // SAFETY: the command reads `batch` and writes its `count`, one `u32` at `out_batch`, at most `count` keys
        // at `keys` and for each of them `cpus` cells at `values`: what is there is as long. Any bits are a valid
        // `Key` and `Cell`, whose sizes are those of the map (both multiples of 8, as the kernel rounds them).
        let outcome =
            unsafe { libc::syscall(libc::SYS_bpf, LOOKUP_BATCH, &raw mut batch, size_of::<Batch>()) };
        let keys = (batch.count as usize).min(BATCH);
        if outcome == 0 {
            return Ok(Stretch { keys, is_last: false });
        }
        match Error::last_os_error() {
            // The end of the table.
            error if error.kind() == ErrorKind::NotFound => Ok(Stretch { keys, is_last: true }),
            error => Err(Error::new(error.kind(), format!("cannot read a map of the probes: {error}"))),
        }
    }
}

/// What all CPUs counted.
fn total(cells: &[Cell]) -> Cell {
    let mut total = Cell::default();
    cells.iter().for_each(|cell| total.merge(cell));
    total
}

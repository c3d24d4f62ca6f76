//! Counting: one clock read, one cell, and an event when the cell is new.

use aya_ebpf::helpers::{bpf_get_current_comm, bpf_ktime_get_ns};
use observer_common::{Cell, Event, Key};

use crate::maps::{Cells, EVENTS, EVENTS_LOST, FAILURES, LOADS, LOST};

/// Use and limit of the resource at this occurrence; zero where it has none.
#[derive(Clone, Copy, Default)]
pub struct Level {
    /// In use.
    pub used: u32,
    /// Limit in force.
    pub limit: u32,
}

/// Counts one occurrence of a load signal.
#[inline(always)]
pub fn count(key: &Key) {
    count_level(key, Level::default());
}

/// Counts one occurrence of a load signal at a level of use.
#[inline(always)]
pub fn count_level(key: &Key, level: Level) {
    if !add(&LOADS, key, level) {
        create_load(key, level);
    }
}

/// Counts one occurrence of a failure, and tells user space of the first one of a subject.
#[inline(always)]
pub fn count_failure(key: &Key, level: Level) {
    if !add(&FAILURES, key, level) {
        create_failure(key, level);
    }
}

/// Whether a load signal has been counted for this subject.
#[inline(always)]
pub fn is_known(key: &Key) -> bool {
    LOADS.get_ptr(key).is_some()
}

/// Adds to an existing cell. A plain add is enough: the kernel runs a tracing program at most once at
/// a time on a CPU (what it skips is in `recursion_misses`; 5.12 and later for trampolines, 6.1 and
/// later for tracepoints), and programs that share a key run in the same context.
#[inline(always)]
fn add(cells: &Cells, key: &Key, level: Level) -> bool {
    let Some(cell) = cells.get_ptr_mut(key) else { return false };
    // SAFETY: the kernel returned this CPU's value of a live map entry.
    let cell = unsafe { &mut *cell };
    // SAFETY: plain helper call.
    let now = unsafe { bpf_ktime_get_ns() };
    if cell.count == 0 {
        cell.first_ns = now;
    }
    cell.count += 1;
    cell.last_ns = now;
    cell.limit = level.limit;
    if level.used > cell.peak {
        cell.peak = level.used;
    }
    true
}

/// The first occurrence for this subject. Not inlined: it runs once per subject, and the programs
/// stay small.
#[inline(never)]
fn create_load(key: &Key, level: Level) {
    create(&LOADS, key, level);
}

/// The same for a failure.
#[inline(never)]
fn create_failure(key: &Key, level: Level) {
    if let Some(at_ns) = create(&FAILURES, key, level) {
        tell(key, at_ns);
    }
}

/// Makes a cell; gives the instant when it did. `BPF_NOEXIST` lets two CPUs that meet in a new cell
/// both find it.
#[inline(always)]
fn create(cells: &Cells, key: &Key, level: Level) -> Option<u64> {
    const BPF_NOEXIST: u64 = 1;
    // SAFETY: plain helper call.
    let now = unsafe { bpf_ktime_get_ns() };
    let cell = Cell { count: 1, first_ns: now, last_ns: now, peak: level.used, limit: level.limit };
    if cells.insert(key, &cell, BPF_NOEXIST).is_ok() {
        return Some(now);
    }
    if !add(cells, key, level) {
        bump(LOST.get_ptr_mut(u32::from(key.signal)));
    }
    None
}

/// Wakes user space.
#[inline(always)]
fn tell(key: &Key, at_ns: u64) {
    let Some(mut entry) = EVENTS.reserve::<Event>(0) else {
        bump(EVENTS_LOST.get_ptr_mut(0));
        return;
    };
    // A pid in the key says that the hook runs in that process's context.
    let comm = if key.pid == 0 { [0; 16] } else { bpf_get_current_comm().unwrap_or_default() };
    entry.write(Event { key: *key, at_ns, comm });
    entry.submit(0);
}

#[inline(always)]
fn bump(slot: Option<*mut u64>) {
    if let Some(slot) = slot {
        // SAFETY: the kernel returned this CPU's value of a live map entry.
        unsafe { *slot += 1 };
    }
}

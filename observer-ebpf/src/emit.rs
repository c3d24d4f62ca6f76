//! Counting: one clock read, one cell, and an event when the cell is new.

use aya_ebpf::helpers::{bpf_get_current_comm, bpf_ktime_get_ns};
use observer_common::{Cell, Event, Key, Signal};

use crate::maps::{CELL, EVENTS, EVENTS_LOST, LOST};

/// Use and limit of the resource at this occurrence; zero where it has none.
#[derive(Clone, Copy, Default)]
pub struct Level {
    /// In use.
    pub used: u32,
    /// Limit in force.
    pub limit: u32,
}

/// Counts one occurrence of `key`.
#[inline(always)]
pub fn count(key: &Key) {
    count_level(key, Level::default());
}

/// Counts one occurrence of `key` at a level of use. `BPF_NOEXIST` lets two CPUs that meet in a
/// new cell both find it.
#[inline(always)]
pub fn count_level(key: &Key, level: Level) {
    if !add(key, level) {
        create(key, level);
    }
}

/// Counts one occurrence only if the subject is known already; tells whether it is.
#[inline(always)]
pub fn is_known(key: &Key) -> bool {
    CELL.get_ptr(key).is_some()
}

/// Adds to an existing cell. A plain add is enough: the kernel runs a tracing program at most once
/// at a time on a CPU (what it skips is in `recursion_misses`), and each key has one program.
#[inline(always)]
fn add(key: &Key, level: Level) -> bool {
    let Some(cell) = CELL.get_ptr_mut(key) else { return false };
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
fn create(key: &Key, level: Level) {
    const BPF_NOEXIST: u64 = 1;
    // SAFETY: plain helper call.
    let now = unsafe { bpf_ktime_get_ns() };
    let cell = Cell { count: 1, first_ns: now, last_ns: now, peak: level.used, limit: level.limit };
    if CELL.insert(key, &cell, BPF_NOEXIST).is_err() && !add(key, level) {
        bump(LOST.get_ptr_mut(u32::from(key.signal)));
        return;
    }
    if Signal::from_number(key.signal).is_some_and(Signal::is_failure) {
        tell(key, now);
    }
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

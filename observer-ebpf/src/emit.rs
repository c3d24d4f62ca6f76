//! Counting: one clock read, one cell, and an event when the cell is new or was quiet for long.

use aya_ebpf::helpers::{bpf_get_current_comm, bpf_ktime_get_ns};
use observer_common::{Cell, Event, Key, News, Signal};

use crate::{
    maps::{
        ByCpu, Cells, EVENTS, EVENTS_LOST, FAILURES, FAILURES_NEWS, LOADS, LOADS_NEWS, LOST, cpu, offset,
    },
    sock::read,
};

/// Use and limit of the resource at this occurrence; zero where it has none.
#[derive(Clone, Copy, Default)]
pub struct Level {
    /// In use.
    pub used: u32,
    /// Limit in force.
    pub limit: u32,
}

impl Level {
    /// In one register.
    #[inline(always)]
    pub fn packed(self) -> u64 {
        u64::from(self.used) << 32 | u64::from(self.limit)
    }

    /// What was packed.
    #[inline(always)]
    pub fn unpacked(packed: u64) -> Self {
        Self { used: (packed >> 32) as u32, limit: packed as u32 }
    }
}

/// A failure after so long without one wakes user space as the first one did. As long as a fault line stays hit
/// after its last failure.
const QUIET_NS: u64 = 10_000_000_000;

/// What was added to a cell.
#[derive(Clone, Copy)]
struct Added {
    at_ns: u64,
    /// Since the latest occurrence that this CPU counted; 0 where this is its first.
    after_ns: u64,
}

/// What is to be added to a cell.
#[derive(Clone, Copy)]
struct Occurrence {
    level: Level,
    /// How many at once.
    times: u64,
    /// The task that the event is to name; null for the one in whose context the hook runs.
    task: *const u8,
    /// When it happened, where that is not now; else 0.
    at_ns: u64,
}

impl Occurrence {
    /// One, now.
    const ONCE: Self =
        Self { level: Level { used: 0, limit: 0 }, times: 1, task: core::ptr::null(), at_ns: 0 };

    #[inline(always)]
    fn from_parts(level: u64, times: u64, at_ns: u64, task: *const u8) -> Self {
        Self { level: Level::unpacked(level), times, task, at_ns }
    }

    #[inline(always)]
    fn at_ns(&self) -> u64 {
        if self.at_ns != 0 { self.at_ns } else { now_ns() }
    }
}

/// CLOCK_MONOTONIC.
#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: plain helper call.
    unsafe { bpf_ktime_get_ns() }
}

/// Counts one occurrence of a load signal that is not timed ([`Signal::is_timed`]), where it was counted before. Says
/// whether it was; if not, it is for [`tally_first`].
#[inline(always)]
pub fn tallied(key: &Key, level: Level) -> bool {
    let Some(cell) = LOADS.get_ptr_mut(key) else { return false };
    // SAFETY: the kernel returned this CPU's value of a live map entry.
    let cell = unsafe { &mut *cell };
    // This CPU's first one is timed.
    if cell.count == 0 {
        return false;
    }
    cell.count += 1;
    // Timed, so that of several CPUs the one that has met the limit in force is known.
    if cell.limit != level.limit {
        cell.last_ns = now_ns();
    }
    cell.meet(level.used, level.limit);
    added(&LOADS_NEWS);
    true
}

/// Counts one occurrence of a load signal that is not timed and has no level.
#[inline(always)]
pub fn tally(key: &Key) {
    if !tallied(key, Level::default()) {
        tally_first(key, Level::default());
    }
}

/// Counts the first one; should another CPU have been faster, one more.
#[inline(always)]
pub fn tally_first(key: &Key, level: Level) {
    create_load(key, level.packed(), 1, 0);
}

/// Counts one occurrence of a load signal.
#[inline(always)]
pub fn count(key: &Key) {
    count_load(key, Occurrence::ONCE);
}

/// Counts one occurrence of a load signal at a level of use.
#[inline(always)]
pub fn count_level(key: &Key, level: Level) {
    count_load(key, Occurrence { level, ..Occurrence::ONCE });
}

/// Counts several occurrences of a load signal at once.
#[inline(always)]
pub fn count_times(key: &Key, times: u64) {
    count_load(key, Occurrence { times, ..Occurrence::ONCE });
}

/// Counts several occurrences of a load signal at a known instant.
#[inline(always)]
pub fn count_times_at(key: &Key, times: u64, at_ns: u64) {
    count_load(key, Occurrence { times, at_ns, ..Occurrence::ONCE });
}

/// Counts one occurrence of a failure, and tells user space of the first one of a subject.
#[inline(always)]
pub fn count_failure(key: &Key, level: Level) {
    count_failed(key, Occurrence { level, ..Occurrence::ONCE });
}

/// Counts several occurrences of a failure at once.
#[inline(always)]
pub fn count_failure_times(key: &Key, times: u64) {
    count_failed(key, Occurrence { times, ..Occurrence::ONCE });
}

/// Counts several occurrences of a failure at a known instant.
#[inline(always)]
pub fn count_failure_times_at(key: &Key, times: u64, at_ns: u64) {
    count_failed(key, Occurrence { times, at_ns, ..Occurrence::ONCE });
}

/// Counts one failure of a task that is not the one in context.
#[inline(always)]
pub fn count_failure_of(key: &Key, task: *const u8) {
    count_failed(key, Occurrence { task, ..Occurrence::ONCE });
}

#[inline(always)]
fn count_load(key: &Key, occurrence: Occurrence) {
    if add(&LOADS, key, &occurrence).is_some() {
        added(&LOADS_NEWS);
    } else {
        create_load(key, occurrence.level.packed(), occurrence.times, occurrence.at_ns);
    }
}

#[inline(always)]
fn count_failed(key: &Key, occurrence: Occurrence) {
    match add(&FAILURES, key, &occurrence) {
        None => {
            let Occurrence { level, times, task, at_ns } = occurrence;
            create_failure(key, level.packed(), times, at_ns, task);
        }
        Some(to) => {
            added(&FAILURES_NEWS);
            if to.after_ns > QUIET_NS {
                tell(key, to.at_ns, occurrence.task);
            }
        }
    }
}

/// Whether a load signal has been counted for this subject.
#[inline(always)]
pub fn is_known(key: &Key) -> bool {
    LOADS.get_ptr(key).is_some()
}

/// The same of a failure.
#[inline(always)]
pub fn is_failing(key: &Key) -> bool {
    FAILURES.get_ptr(key).is_some()
}

/// Adds to an existing cell. A plain add is enough: the kernel runs a tracing program at most once at
/// a time on a CPU (what it skips is in `recursion_misses`; 5.12 and later for trampolines, 6.1 and
/// later for tracepoints), and programs that share a key run in the same context.
#[inline(always)]
fn add(cells: &Cells, key: &Key, occurrence: &Occurrence) -> Option<Added> {
    let cell = cells.get_ptr_mut(key)?;
    // SAFETY: the kernel returned this CPU's value of a live map entry.
    let cell = unsafe { &mut *cell };
    let now = occurrence.at_ns();
    let mut added = Added { at_ns: now, after_ns: 0 };
    if cell.count == 0 {
        cell.first_ns = now;
    } else {
        added.after_ns = now.saturating_sub(cell.last_ns);
    }
    cell.count += occurrence.times;
    cell.last_ns = now;
    cell.meet(occurrence.level.used, occurrence.level.limit);
    Some(added)
}

/// The first occurrence for this subject. Not inlined: it runs once per subject, and the programs stay small. What
/// occurred is in registers: in memory it would be written at every occurrence.
#[inline(never)]
fn create_load(key: &Key, level: u64, times: u64, at_ns: u64) {
    create(&LOADS, &LOADS_NEWS, key, &Occurrence::from_parts(level, times, at_ns, core::ptr::null()));
}

/// The same for a failure.
#[inline(never)]
fn create_failure(key: &Key, level: u64, times: u64, at_ns: u64, task: *const u8) {
    if let Some(at_ns) =
        create(&FAILURES, &FAILURES_NEWS, key, &Occurrence::from_parts(level, times, at_ns, task))
    {
        tell(key, at_ns, task);
    }
}

/// Makes a cell; gives the instant when it did. `BPF_NOEXIST` lets two CPUs that meet in a new cell
/// both find it.
#[inline(always)]
fn create(cells: &Cells, news: &ByCpu<News>, key: &Key, occurrence: &Occurrence) -> Option<u64> {
    const BPF_NOEXIST: u64 = 1;
    let now = occurrence.at_ns();
    let cell = Cell {
        count: occurrence.times,
        first_ns: now,
        last_ns: now,
        peak: occurrence.level.used,
        limit: occurrence.level.limit,
    };
    if cells.insert(key, &cell, BPF_NOEXIST).is_ok() {
        made(news);
        return Some(now);
    }
    if add(cells, key, occurrence).is_some() {
        added(news);
    } else {
        lost(key.signal, occurrence.times);
    }
    None
}

/// Notes an addition, after it was made.
#[inline(always)]
fn added(news: &ByCpu<News>) {
    if let Some(news) = news.get_ptr_mut(cpu()) {
        // SAFETY: the kernel returned a live map entry, this CPU's.
        unsafe { (*news).added += 1 };
    }
}

/// Notes a new cell, after it was made.
#[inline(always)]
fn made(news: &ByCpu<News>) {
    if let Some(news) = news.get_ptr_mut(cpu()) {
        // SAFETY: the kernel returned a live map entry, this CPU's.
        unsafe { (*news).made += 1 };
    }
}

/// Wakes user space. Not inlined: it is rare.
#[inline(never)]
fn tell(key: &Key, at_ns: u64, task: *const u8) {
    let Some(mut entry) = EVENTS.reserve::<Event>(0) else {
        bump(EVENTS_LOST.get_ptr_mut(0), 1);
        return;
    };
    // A pid in the key says that the failure is that process's.
    let comm = match (key.pid, task.is_null()) {
        (0, _) => [0; 16],
        (_, true) => bpf_get_current_comm().unwrap_or_default(),
        (_, false) => read(task, offset!(task_comm)),
    };
    entry.write(Event { key: *key, at_ns, comm });
    entry.submit(0);
}

/// Notes what could not be counted.
#[inline(always)]
pub fn lost(signal: u16, times: u64) {
    let slot = LOST.get_ptr_mut(0).filter(|_| usize::from(signal) < Signal::COUNT);
    // SAFETY: the kernel returned this CPU's value of a live map entry, and the index is within it.
    bump(slot.map(|slots| unsafe { slots.cast::<u64>().add(usize::from(signal)) }), times);
}

#[inline(always)]
fn bump(slot: Option<*mut u64>, times: u64) {
    if let Some(slot) = slot {
        // SAFETY: the kernel returned this CPU's value of a live map entry.
        unsafe { *slot += times };
    }
}

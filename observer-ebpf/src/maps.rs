//! The maps shared with user space, and the read-only values that user space sets at load.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    helpers::bpf_get_smp_processor_id,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, RingBuf},
};
use observer_common::{
    Cell, Key, News, Offsets, Signal,
    hot::{Owner, Row, SLOTS},
};

/// A map of cells, preallocated: a probe never allocates. An entry takes about 120 bytes and 32 more per
/// CPU: 4 MiB for both maps on a host of two CPUs, 50 MiB on one of 64.
pub type Cells = PerCpuHashMap<Key, Cell>;

/// An array with elements for each CPU, which user space maps into its memory: it reads it at every tick, without a
/// system call. User space makes it as long as there are CPUs.
pub type ByCpu<T> = Array<T>;

/// The number of the CPU that this runs on, and stays on.
#[inline(always)]
pub fn cpu() -> u32 {
    // SAFETY: plain helper call.
    unsafe { bpf_get_smp_processor_id() }
}

/// The load per (signal, subject).
#[map]
pub static LOADS: Cells = Cells::with_max_entries(16_384, 0);

/// Whose the slots are, by user space. It never maps this memory: it is to be mappable only because what can be
/// mapped begins on a page, and so each owner is one cache line instead of two halves.
#[map]
pub static HOT_OWNERS: Array<Owner> = Array::with_max_entries(SLOTS as u32, BPF_F_MMAPABLE);

/// What was counted in them beside the cells in [`LOADS`]: as many elements for each CPU as there are slots.
#[map]
pub static HOT_ROWS: ByCpu<Row> = Array::with_max_entries(SLOTS as u32, BPF_F_MMAPABLE);

/// Failures per (signal, subject), in a map of their own: a load of very many destinations must not
/// leave them without room.
#[map]
pub static FAILURES: Cells = Cells::with_max_entries(8192, 0);

/// How many of [`FAILURES`] are addresses at which nobody listens, in the one element: whoever sends SYNs chooses them.
#[map]
pub static KNOCKED_AT: Array<u64> = Array::with_max_entries(1, 0);

/// What was added to [`LOADS`], one element for each CPU.
#[map]
pub static LOADS_NEWS: ByCpu<News> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The same of [`FAILURES`].
#[map]
pub static FAILURES_NEWS: ByCpu<News> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Occurrences that found no room in [`LOADS`] or [`FAILURES`], in the one element: user space reads it at every
/// tenth tick.
#[map]
pub static LOST: PerCpuArray<[u64; Signal::COUNT]> = PerCpuArray::with_max_entries(1, 0);

/// Events that found no room in [`EVENTS`], in the one element.
#[map]
pub static EVENTS_LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// First occurrences of failures, and the first after a quiet time; see [`observer_common::Event`].
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(64 * 1024, 0);

/// What is known of a SYN between entry and exit of `tcp_conn_request`.
#[repr(C)]
pub struct Syn {
    /// Depth of the accept queue on entry.
    pub accept_queue: u32,
    /// Length of the SYN queue on entry.
    pub requests: u32,
    /// What became of it.
    pub fate: u32,
}

/// The SYN that each CPU is at work on.
#[map]
pub static SYN: PerCpuArray<Syn> = PerCpuArray::with_max_entries(1, 0);

/// What a function was called with, between its kprobe and its kretprobe, by [`crate::probes::pair`].
#[map]
pub static CALLS: HashMap<u64, u64> = HashMap::with_max_entries(4096, 0);

/// The OOM kill in progress; the kernel kills for want of memory one at a time (`oom_lock`).
#[map]
pub static OOM: Array<Oom> = Array::with_max_entries(1, 0);

/// See [`OOM`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Oom {
    /// The task that found no memory.
    pub by: u64,
    /// `oc->constraint`, plus one.
    pub constraint: u64,
}

/// The latest victim, under the same lock.
#[map]
pub static VICTIM: Array<Victim> = Array::with_max_entries(1, 0);

/// See [`VICTIM`].
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Victim {
    /// Process id.
    pub tgid: u64,
    /// When it was started: together with the id, no other process has that.
    pub started_ns: u64,
}

/// Quota periods of a cgroup as the kernel last had them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Periods {
    /// Elapsed.
    pub elapsed: u32,
    /// Of them, used up.
    pub throttled: u32,
    /// When they were counted: CLOCK_MONOTONIC.
    pub at_ns: u64,
}

/// The periods of each cgroup, by its id.
#[map]
pub static PERIODS: HashMap<u64, Periods> = HashMap::with_max_entries(4096, 0);

/// Address of `sched_cfs_period_timer`, set by user space before the program that needs it is attached.
#[map]
pub static PERIOD_TIMER: Array<u64> = Array::with_max_entries(1, 0);

/// Whether there is a command; by user space, as [`OFFSETS`].
#[unsafe(no_mangle)]
static OBSERVES_COMMAND: u8 = 0;

/// Whether there is a command, of which the processes are to be told from others.
#[inline(always)]
pub fn observes_command() -> bool {
    // SAFETY: a reference to a static that nobody writes.
    unsafe { core::ptr::read_volatile(&raw const OBSERVES_COMMAND) != 0 }
}

/// Thread group ids of the observed command's process tree.
#[map]
pub static TREE: HashMap<u32, u8> = HashMap::with_max_entries(16_384, 0);

/// Offsets on the running kernel, set by user space before the programs are loaded.
#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets::UNSET;

/// An offset on the running kernel: a load that the compiler cannot replace by the value compiled in, and that the
/// verifier knows the outcome of.
macro_rules! offset {
    ($member:ident) => {{
        // SAFETY: a reference to a static that nobody writes.
        unsafe { core::ptr::read_volatile(&raw const $crate::maps::OFFSETS.$member) }
    }};
}
pub(crate) use offset;

/// The reasons for which dropped packets are counted, as a bit set; by user space, as [`OFFSETS`].
#[unsafe(no_mangle)]
static DROP_REASONS: [u64; 4] = [0; 4];

/// Whether packets dropped for this reason are counted.
#[inline(always)]
pub fn is_counted_drop(reason: u32) -> bool {
    let words: &[u64; 4] = core::hint::black_box(&DROP_REASONS);
    words.get((reason >> 6) as usize).is_some_and(|word| word >> (reason & 63) & 1 != 0)
}

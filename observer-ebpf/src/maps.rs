//! The maps shared with user space, and the read-only values that user space sets at load.

use aya_ebpf::{
    macros::map,
    maps::{HashMap, PerCpuArray, PerCpuHashMap, RingBuf},
};
use observer_common::{Cell, Key, Offsets, Signal};

/// A map of cells, preallocated: a probe never allocates.
pub type Cells = PerCpuHashMap<Key, Cell>;

/// The load per (signal, subject).
#[map]
pub static LOADS: Cells = Cells::with_max_entries(8192, 0);

/// Failures per (signal, subject), in a map of their own: a load of very many destinations must not
/// leave them without room.
#[map]
pub static FAILURES: Cells = Cells::with_max_entries(4096, 0);

/// Occurrences that found no room in [`LOADS`] or [`FAILURES`], per signal.
#[map]
pub static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(Signal::COUNT as u32, 0);

/// Events that found no room in [`EVENTS`], in the one element.
#[map]
pub static EVENTS_LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// First occurrences of failures; see [`observer_common::Event`].
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

/// Thread group ids of the observed command's process tree.
#[map]
pub static TREE: HashMap<u32, u8> = HashMap::with_max_entries(16_384, 0);

/// Offsets on the running kernel, set by user space before the programs are loaded.
#[unsafe(no_mangle)]
static OFFSETS: Offsets = Offsets::UNSET;

/// The offsets, read so that the compiler cannot assume the value compiled in.
#[inline(always)]
pub fn offsets() -> &'static Offsets {
    // SAFETY: a reference to a static; `black_box` only hides its value from the optimiser.
    core::hint::black_box(&OFFSETS)
}

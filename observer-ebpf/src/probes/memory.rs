//! Cgroups at their memory limits.
//!
//! Kernel: `try_to_free_mem_cgroup_pages` (mm/vmscan.c), `__memcg_memory_event` (mm/memcontrol.c, 6.18 and
//! later; before, it is inlined).

use aya_ebpf::{
    EbpfContext as _,
    macros::{btf_tracepoint, fentry},
    programs::{BtfTracePointContext, FEntryContext},
};
use observer_common::Signal;

use crate::{
    cgroup,
    emit::{Level, count, count_failure},
    maps::offset,
    sock::{context_slot, pointer},
};

/// A cgroup is at a limit, and the task in context has to make room. From 7.x on it is told which cgroup;
/// before, it is taken for the task's own (the limit may be an ancestor's).
#[btf_tracepoint(function = "mm_vmscan_memcg_reclaim_begin")]
pub fn memory_reclaim(ctx: BtfTracePointContext) -> u32 {
    let id = if offset!(tp_reclaim_arity) > 2 {
        of_memcg(context_slot(ctx.as_ptr(), 2) as *const u8)
    } else {
        cgroup::of_memory_of_current()
    };
    count(&cgroup::key(Signal::MemoryReclaim, id));
    0
}

/// What the kernel counts in `memory.events.local`.
#[fentry(function = "__memcg_memory_event")]
pub fn memory_event(ctx: FEntryContext) -> u32 {
    let event = ctx.arg::<u32>(1);
    let signal = if event == offset!(memcg_max) {
        Signal::MemoryMax
    } else if event == offset!(memcg_high) {
        Signal::MemoryHigh
    } else {
        return 0;
    };
    count_failure(&cgroup::key(signal, of_memcg(ctx.arg::<*const u8>(0))), Level::default());
    0
}

#[inline(always)]
fn of_memcg(memcg: *const u8) -> u64 {
    cgroup::id(pointer(memcg, offset!(memcg_cgroup)))
}

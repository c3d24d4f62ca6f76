//! A full connection tracking table.
//!
//! Kernel: `__nf_conntrack_alloc` calls `early_drop` (net/netfilter/nf_conntrack_core.c) when the table is
//! full; where that finds nothing to evict, the packet is dropped. The two outcomes are the kernel's own
//! `early_drop` and `drop`, except that a search may evict more than one entry: the kernel's `early_drop`
//! counts entries, ours the searches that found some.

use aya_ebpf::{
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use observer_common::Signal;

use super::pair::{Function, entered, returned};
use crate::{
    emit::{Level, count_failure},
    sock::namespace_key,
};

/// Where nf_conntrack is part of the kernel image.
#[fexit(function = "early_drop")]
pub fn conntrack_full(ctx: FExitContext) -> u32 {
    full(ctx.arg::<u64>(0), ctx.arg::<u64>(2));
    0
}

/// Where it is a module. The first argument is the network namespace.
#[kprobe]
pub fn conntrack_full_entry(ctx: ProbeContext) -> u32 {
    if let Some(net) = ctx.arg::<u64>(0) {
        entered(&ctx, Function::EarlyDrop, net);
    }
    0
}

/// Its return.
#[kretprobe]
pub fn conntrack_full_return(ctx: RetProbeContext) -> u32 {
    if let Some(net) = returned(&ctx, Function::EarlyDrop) {
        full(net, ctx.ret::<u64>());
    }
    0
}

/// The return value is an int or a bool, of which only the low byte is sure to be set.
#[inline(always)]
fn full(net: u64, evicted: u64) {
    let signal = if evicted & 0xff == 0 { Signal::ConntrackDrop } else { Signal::ConntrackEarlyDrop };
    count_failure(&namespace_key(signal, net as *const u8), Level::default());
}

//! Packets that the kernel drops, by its own reason.
//!
//! Kernel: `kfree_skb_reason`, `sk_skb_reason_drop` (net/core/skbuff.c).

use aya_ebpf::{EbpfContext as _, macros::btf_tracepoint, programs::BtfTracePointContext};
use observer_common::Signal;

use crate::{
    emit::{Level, count_failure},
    maps::{is_counted_drop, offset},
    packet::Packet,
    sock::{context_slot, namespace_key},
};

/// A packet is freed without having arrived. Most are the everyday end of one (a closed socket's queue), so
/// the reason is asked first.
#[btf_tracepoint(function = "kfree_skb")]
pub fn packet_dropped(ctx: BtfTracePointContext) -> u32 {
    let reason = ctx.arg::<u32>(2);
    if !is_counted_drop(reason) {
        return 0;
    }
    let packet = Packet(ctx.arg::<*const u8>(0));
    let receiver = if offset!(tp_kfree_skb_arity) > 3 { context_slot(ctx.as_ptr(), 3) } else { 0 };
    let mut key = namespace_key(Signal::PacketDropped, packet.netns_pointer(receiver as *const u8));
    key.reason = reason as u16;
    count_failure(&key, Level::default());
    0
}

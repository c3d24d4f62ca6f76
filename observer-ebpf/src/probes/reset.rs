//! Resets, sent and received, and SYNs that nobody listens for.
//!
//! Kernel: `tcp_v4_send_reset` (net/ipv4/tcp_ipv4.c), `tcp_v6_send_reset` (net/ipv6/tcp_ipv6.c),
//! `tcp_send_active_reset` (net/ipv4/tcp_output.c), `tcp_reset` (net/ipv4/tcp_input.c).

use aya_ebpf::{
    EbpfContext as _,
    macros::{btf_tracepoint, fentry},
    programs::{BtfTracePointContext, FEntryContext},
};
use observer_common::{Key, Signal};

use crate::{
    emit::{Level, count_failure, is_failing, is_known},
    maps::KNOCKED_AT,
    packet::Packet,
    sock::{SYN_SENT, Sock, context_slot},
};

/// A reset was sent; from 6.10 on, with the reason, and also where there is no socket.
#[btf_tracepoint(function = "tcp_send_reset")]
pub fn reset_sent(ctx: BtfTracePointContext) -> u32 {
    // From 6.13 on the verifier knows that both may be null, and lets nothing be added to such a pointer.
    let sock = Sock::at(context_slot(ctx.as_ptr(), 0) as *const u8);
    let packet = Packet(context_slot(ctx.as_ptr(), 1) as *const u8);
    let reason = context_slot(ctx.as_ptr(), 2) as u16;
    if sock.0.is_null() {
        without_socket(packet, reason);
    } else {
        with_socket(sock, reason);
    }
    0
}

/// The same before 6.10: only of full sockets, and without a reason.
#[btf_tracepoint(function = "tcp_send_reset")]
pub fn reset_sent_by_socket(ctx: BtfTracePointContext) -> u32 {
    with_socket(Sock::at(context_slot(ctx.as_ptr(), 0) as *const u8), 0);
    0
}

/// What that leaves out.
#[fentry(function = "tcp_v4_send_reset")]
pub fn reset_sent_v4(ctx: FEntryContext) -> u32 {
    left_out_by_the_tracepoint(&ctx, Packet::is_local_v4);
    0
}

/// The same over IPv6.
#[fentry(function = "tcp_v6_send_reset")]
pub fn reset_sent_v6(ctx: FEntryContext) -> u32 {
    left_out_by_the_tracepoint(&ctx, Packet::is_local_v6);
    0
}

#[inline(always)]
fn left_out_by_the_tracepoint(ctx: &FEntryContext, is_local: impl Fn(Packet) -> bool) {
    let sock = Sock::at(ctx.arg::<*const u8>(0));
    let packet = Packet(ctx.arg::<*const u8>(1));
    // The kernel never answers a reset with one.
    if packet.is_reset() {
        return;
    }
    if sock.0.is_null() {
        // Nor does it speak for others.
        if is_local(packet) {
            without_socket(packet, 0);
        }
    } else if !sock.is_full() {
        with_socket(sock, 0);
    }
}

#[inline(always)]
fn with_socket(sock: Sock, reason: u16) {
    let mut key = sock.peer_key(Signal::ResetSent);
    key.reason = reason;
    count_failure(&key, Level::default());
}

/// So many addresses at which nobody listens are told apart; the rest is its namespace's. A scan of all ports must leave
/// room for failures that mean something.
const KNOCKED_AT_MOST: u64 = 1024;

/// A SYN that is refused needs no reason: nobody listens.
#[inline(always)]
fn without_socket(packet: Packet, reason: u16) {
    let mut key = packet.refused_key();
    // Without a port it stands for the namespace.
    let is_nowhere = || key.port == 0 || (!is_failing(&key) && !was_served(&key) && !is_room_to_knock());
    if key.signal == Signal::ResetSent as u16 {
        key.reason = reason;
    } else if is_nowhere() {
        (key.address, key.port) = ([0; 2], 0);
    }
    count_failure(&key, Level::default());
}

/// Whether connections were accepted at this address before: that is no scan.
#[inline(always)]
fn was_served(key: &Key) -> bool {
    is_known(&Key { signal: Signal::ConnectionAccepted as u16, ..*key })
}

/// Takes one of the places there are; two CPUs that meet here may take one.
#[inline(always)]
fn is_room_to_knock() -> bool {
    let Some(taken) = KNOCKED_AT.get_ptr_mut(0) else { return false };
    // SAFETY: the kernel returned a live map entry of eight bytes.
    let so_far = unsafe { taken.read_volatile() };
    let is_room = so_far < KNOCKED_AT_MOST;
    if is_room {
        // SAFETY: the same.
        unsafe { taken.write_volatile(so_far + 1) };
    }
    is_room
}

/// A reset arrived. While the connection is being made it refuses it, which the state tells.
#[btf_tracepoint(function = "tcp_receive_reset")]
pub fn reset_received(ctx: BtfTracePointContext) -> u32 {
    let sock = Sock::at(ctx.arg::<*const u8>(0));
    if sock.state() != SYN_SENT {
        count_failure(&sock.peer_key(Signal::ResetReceived), Level::default());
    }
    0
}

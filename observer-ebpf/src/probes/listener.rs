//! Accept queue and SYN queue of listeners.
//!
//! Kernel: `tcp_conn_request` (net/ipv4/tcp_input.c), `tcp_v4_syn_recv_sock` (net/ipv4/tcp_ipv4.c),
//! `inet_csk_complete_hashdance` (net/ipv4/inet_connection_sock.c).

use aya_ebpf::{
    EbpfContext as _,
    macros::{btf_tracepoint, fentry, fexit},
    programs::{BtfTracePointContext, FEntryContext, FExitContext},
};
use observer_common::Signal;

use crate::{
    emit::{Level, count_level},
    maps::offsets,
    sock::{Sock, context_slot, read},
};

/// TCP_LISTEN.
const LISTEN: u8 = 10;
/// ETH_P_IP as it stands in `skb->protocol`.
const ETH_P_IP_BE: u16 = 0x0800_u16.to_be();

/// A SYN arrived: repeat the kernel's own decision, in its order, from the same fields.
/// (Its return value is 0 whether the SYN was dropped or not.)
#[fentry(function = "tcp_conn_request")]
pub fn syn_arrival(ctx: FEntryContext) -> u32 {
    let listener = Sock(ctx.arg::<*const u8>(2));
    let queue = listener.accept_queue();
    let mut key = listener.own_key(Signal::SynArrival);
    count_level(&key, queue);

    let requests = Level { used: read(listener.0, offsets().request_queue_len), limit: queue.limit };
    let cookies: u8 = read(listener.netns_pointer(), offsets().tcp_syncookies);
    if cookies == 2 || requests.used > requests.limit {
        if cookies == 0 {
            key.signal = Signal::SynQueueDrop as u16;
            count_level(&key, requests);
            return 0;
        }
        key.signal = Signal::SynCookie as u16;
        count_level(&key, requests);
    }
    if queue.used > queue.limit {
        key.signal = Signal::AcceptOverflowSyn as u16;
        count_level(&key, queue);
    }
    0
}

/// The final ACK of a handshake over IPv4 made no socket.
#[fexit(function = "tcp_v4_syn_recv_sock")]
pub fn accept_overflow_v4(ctx: FExitContext) -> u32 {
    overflow_at_ack(&ctx, offsets().syn_recv_v4_arity);
    0
}

/// The same over IPv6. An IPv4 client of a `[::]` listener passes through here into the IPv4
/// function, which has counted it.
#[fexit(function = "tcp_v6_syn_recv_sock")]
pub fn accept_overflow_v6(ctx: FExitContext) -> u32 {
    let packet = ctx.arg::<*const u8>(1);
    if read::<u16>(packet, offsets().skb_protocol) != ETH_P_IP_BE {
        overflow_at_ack(&ctx, offsets().syn_recv_v6_arity);
    }
    0
}

#[inline(always)]
fn overflow_at_ack(ctx: &FExitContext, arity: u32) {
    if context_slot(ctx.as_ptr(), arity) != 0 {
        return;
    }
    let listener = Sock(ctx.arg::<*const u8>(0));
    let queue = listener.accept_queue();
    // The kernel asked `used > limit` when the function began; an accept() on another CPU may have
    // made room since. `>=` keeps that drop; no socket for another reason at a full queue is rarer.
    if queue.used >= queue.limit {
        count_level(&listener.own_key(Signal::AcceptOverflowAck), queue);
    }
}

/// A connection was appended to an accept queue (6.12 and later have the tracepoint).
#[btf_tracepoint(function = "sk_data_ready")]
pub fn accept_enqueued(ctx: BtfTracePointContext) -> u32 {
    enqueued(Sock(ctx.arg::<*const u8>(0)));
    0
}

/// The same where there is no such tracepoint.
#[fentry(function = "sock_def_readable")]
pub fn accept_enqueued_fentry(ctx: FEntryContext) -> u32 {
    enqueued(Sock(ctx.arg::<*const u8>(0)));
    0
}

/// Both hooks fire for every arrival of data as well: the state is read first.
#[inline(always)]
fn enqueued(sock: Sock) {
    if sock.state() == LISTEN && sock.protocol() == 6 {
        count_level(&sock.own_key(Signal::AcceptEnqueued), sock.accept_queue());
    }
}

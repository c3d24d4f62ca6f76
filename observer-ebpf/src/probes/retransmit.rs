//! Segments that TCP sends again, told apart by why.
//!
//! Kernel: `__tcp_retransmit_skb` and `tcp_send_loss_probe` (net/ipv4/tcp_output.c), `tcp_enter_loss` and
//! `tcp_enter_recovery` (net/ipv4/tcp_input.c). The kernel's RetransSegs counts those that a local queue
//! refused as well; the tracepoint tells only of what was sent.

use aya_ebpf::{EbpfContext as _, macros::btf_tracepoint, programs::BtfTracePointContext};
use observer_common::Signal;

use crate::{
    emit::{count_failure_times, count_times},
    maps::offset,
    packet::Packet,
    sock::{SYN_RECV, SYN_SENT, Sock, context_slot, read},
};

/// `icsk_ca_state` is a bit field of five bits.
const CA_STATE: u8 = 0x1f;
const CA_RECOVERY: u8 = 3;
const CA_LOSS: u8 = 4;

/// A segment was sent again.
#[btf_tracepoint(function = "tcp_retransmit_skb")]
pub fn retransmit(ctx: BtfTracePointContext) -> u32 {
    let sock = Sock::at(ctx.arg::<*const u8>(0));
    let packet = Packet(ctx.arg::<*const u8>(1));
    // With a third argument (6.18), the tracepoint is told of failures, too.
    if offset!(tp_retransmit_arity) > 2 && context_slot(ctx.as_ptr(), 2) as i32 != 0 {
        return 0;
    }
    let key = match sock.state() {
        SYN_SENT => sock.destination_key(Signal::RetransmitSyn),
        // Fast open: the connection is there before its SYN-ACK is acknowledged.
        SYN_RECV => sock.own_key(Signal::RetransmitSynAck),
        _ => sock.peer_key(why(sock)),
    };
    if key.signal == Signal::RetransmitProbe as u16 {
        count_times(&key, packet.segments());
    } else {
        count_failure_times(&key, packet.segments());
    }
    0
}

/// A SYN-ACK was sent again. The socket is the listener.
#[btf_tracepoint(function = "tcp_retransmit_synack")]
pub fn retransmit_syn_ack(ctx: BtfTracePointContext) -> u32 {
    let listener = Sock::at(ctx.arg::<*const u8>(0));
    count_failure_times(&listener.own_key(Signal::RetransmitSynAck), 1);
    0
}

/// A tail loss probe is sent only while nothing is known to be lost. The timer's retransmissions put the
/// connection into Loss before, those for duplicate acknowledgements into Recovery.
#[inline(always)]
fn why(sock: Sock) -> Signal {
    let state: u8 = read(sock.0, offset!(ca_state));
    match state & CA_STATE {
        CA_RECOVERY => Signal::RetransmitFast,
        CA_LOSS => Signal::RetransmitTimeout,
        _ if sock.timeouts() > 0 => Signal::RetransmitTimeout,
        _ => Signal::RetransmitProbe,
    }
}

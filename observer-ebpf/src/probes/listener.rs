//! Accept queue and SYN queue of listeners.
//!
//! Kernel: `tcp_conn_request` (net/ipv4/tcp_input.c), `tcp_v4_syn_recv_sock` (net/ipv4/tcp_ipv4.c),
//! `inet_csk_complete_hashdance` (net/ipv4/inet_connection_sock.c).

use aya_ebpf::{
    macros::{fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use observer_common::Signal;

use super::pair::{Function, entered, returned};
use crate::{
    emit::{Level, count_failure, count_level},
    hot,
    maps::{SYN, Syn, offset},
    sock::{self, Sock, TypedSock, read},
};

/// Fates of a SYN.
const DROPPED: u32 = 0;
const QUEUED: u32 = 1;
const COOKIE: u32 = 2;
/// ETH_P_IP as it stands in `skb->protocol`.
const ETH_P_IP_BE: u16 = 0x0800_u16.to_be();

/// A SYN arrived. What becomes of it is known when the function returns; its return value is 0
/// either way.
#[fentry(function = "tcp_conn_request")]
pub fn syn_arrival(ctx: FEntryContext) -> u32 {
    let listener = Sock::typed(ctx.arg::<*const u8>(2));
    let queue = listener.accept_queue();
    let spot = listener.own_spot(Signal::SynArrival);
    if !hot::counted(&spot, Signal::SynArrival, queue) {
        count_level(&spot.with_namespace(), queue);
    }
    if let Some(syn) = current_syn() {
        *syn = Syn {
            accept_queue: queue.used,
            requests: read(listener.0, offset!(request_queue_len)),
            fate: DROPPED,
        };
    }
    0
}

/// It became a request in the SYN queue.
#[fentry(function = "inet_csk_reqsk_queue_hash_add")]
pub fn syn_queued(_ctx: FEntryContext) -> u32 {
    decide(QUEUED)
}

/// It was answered with a cookie.
#[fentry(function = "cookie_v4_init_sequence")]
pub fn syn_cookie_v4(_ctx: FEntryContext) -> u32 {
    decide(COOKIE)
}

/// The same over IPv6.
#[fentry(function = "cookie_v6_init_sequence")]
pub fn syn_cookie_v6(_ctx: FEntryContext) -> u32 {
    decide(COOKIE)
}

/// It became a connection at once (TCP Fast Open).
#[fentry(function = "inet_csk_reqsk_queue_add")]
pub fn syn_fast_open(_ctx: FEntryContext) -> u32 {
    decide(QUEUED)
}

/// The kernel is done with the SYN. That it was dropped is seen, not guessed; the levels only tell for
/// want of what. The accept queue is read on entry and once more here, since an accept() or a final
/// ACK on another CPU moves it in between. A SYN dropped for another reason (no route, no memory)
/// finds both queues below their limits.
#[fexit(function = "tcp_conn_request")]
pub fn syn_fate(ctx: FExitContext) -> u32 {
    let Some(syn) = current_syn() else { return 0 };
    if syn.fate == QUEUED {
        return 0;
    }
    let listener = Sock::typed(ctx.arg::<*const u8>(2));
    let queue = listener.accept_queue();
    let accept_queue = Level { used: syn.accept_queue.max(queue.used), limit: queue.limit };
    let requests = Level { used: syn.requests, limit: queue.limit };
    if syn.fate == COOKIE {
        count_failure(&listener.own_key(Signal::SynCookie), requests);
    } else if wants_room(listener, requests, accept_queue) {
        count_failure(&listener.own_key(Signal::SynQueueDrop), requests);
    } else if accept_queue.used >= accept_queue.limit {
        count_failure(&listener.own_key(Signal::AcceptOverflowSyn), accept_queue);
    }
    0
}

/// Whether a dropped SYN was dropped for want of room in the SYN queue, which takes cookies that are
/// off. The kernel asks in this order: `requests > limit` (`>=` before early 2025), the accept queue,
/// and whether the last quarter of tcp_max_syn_backlog is reached, which it keeps for known peers.
#[inline(always)]
fn wants_room(listener: TypedSock, requests: Level, accept_queue: Level) -> bool {
    let net = listener.netns_pointer();
    if read::<u8>(net, offset!(tcp_syncookies)) != 0 {
        return false;
    }
    let backlog: u32 = read(net, offset!(max_syn_backlog));
    let in_last_quarter = requests.used > backlog - (backlog >> 2);
    requests.used > requests.limit
        || (accept_queue.used <= accept_queue.limit && (requests.used >= requests.limit || in_last_quarter))
}

/// The SYN that this CPU is at work on. The kernel calls `tcp_conn_request` with softirqs disabled, and
/// they do not nest. (A real-time kernel may switch tasks in between; two SYNs on one CPU can then
/// swap their fates.)
#[inline(always)]
fn current_syn() -> Option<&'static mut Syn> {
    // SAFETY: the kernel returned this CPU's value of the one element, and nothing else on this CPU
    // runs these programs meanwhile.
    SYN.get_ptr_mut(0).map(|syn| unsafe { &mut *syn })
}

#[inline(always)]
fn decide(fate: u32) -> u32 {
    if let Some(syn) = current_syn() {
        syn.fate = fate;
    }
    0
}

/// The final ACK of a handshake over IPv4 made no socket.
#[fexit(function = "tcp_v4_syn_recv_sock")]
pub fn accept_overflow_v4(ctx: FExitContext) -> u32 {
    overflow_at_ack(&ctx, offset!(syn_recv_v4_arity));
    0
}

/// The same over IPv6. An IPv4 client of a `[::]` listener passes through here into the IPv4
/// function, which has counted it.
#[fexit(function = "tcp_v6_syn_recv_sock")]
pub fn accept_overflow_v6(ctx: FExitContext) -> u32 {
    let packet = ctx.arg::<*const u8>(1);
    if read::<u16>(packet, offset!(skb_protocol)) != ETH_P_IP_BE {
        overflow_at_ack(&ctx, offset!(syn_recv_v6_arity));
    }
    0
}

#[inline(always)]
fn overflow_at_ack(ctx: &FExitContext, arity: u32) {
    if sock::returned(ctx, arity) == 0 {
        no_socket(Sock::at(ctx.arg::<*const u8>(0)));
    }
}

/// The same where the function has more arguments than a trampoline carries (7 of them, before 6.6).
#[kprobe]
pub fn accept_overflow_v4_entry(ctx: ProbeContext) -> u32 {
    if let Some(listener) = ctx.arg::<u64>(0) {
        entered(&ctx, Function::SynRecvV4, listener);
    }
    0
}

/// Its return.
#[kretprobe]
pub fn accept_overflow_v4_return(ctx: RetProbeContext) -> u32 {
    overflow_at_return(&ctx, Function::SynRecvV4);
    0
}

/// The same over IPv6, and over it alone.
#[kprobe]
pub fn accept_overflow_v6_entry(ctx: ProbeContext) -> u32 {
    if let (Some(listener), Some(packet)) = (ctx.arg::<u64>(0), ctx.arg::<*const u8>(1))
        && read::<u16>(packet, offset!(skb_protocol)) != ETH_P_IP_BE
    {
        entered(&ctx, Function::SynRecvV6, listener);
    }
    0
}

/// Its return.
#[kretprobe]
pub fn accept_overflow_v6_return(ctx: RetProbeContext) -> u32 {
    overflow_at_return(&ctx, Function::SynRecvV6);
    0
}

#[inline(always)]
fn overflow_at_return(ctx: &RetProbeContext, function: Function) {
    let Some(listener) = returned(ctx, function) else { return };
    if ctx.ret::<u64>() == 0 {
        no_socket(Sock::at(listener as *const u8));
    }
}

#[inline(always)]
fn no_socket(listener: Sock) {
    let queue = listener.accept_queue();
    // The kernel asked `used > limit` when the function began; an accept() on another CPU may have
    // made room since. `>=` keeps that drop; no socket for another reason at a full queue is rarer.
    if queue.used >= queue.limit {
        count_failure(&listener.own_key(Signal::AcceptOverflowAck), queue);
    }
}

//! The load as the kernel sees it, connects that failed, failed port searches, and bind collisions.
//!
//! Kernel: `tcp_set_state` and `inet_sk_state_store`, `tcp_reset` (net/ipv4/tcp_input.c), `tcp_write_err`
//! (net/ipv4/tcp_timer.c), `__inet_hash_connect` (net/ipv4/inet_hashtables.c), `inet_csk_get_port`
//! (net/ipv4/inet_connection_sock.c).

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{btf_tracepoint, fexit},
    programs::{BtfTracePointContext, FExitContext},
};
use observer_common::{Key, Signal, key_flags};

use super::time_wait;
use crate::{
    emit::{Level, count_failure, is_known, tallied, tally_first},
    hot,
    maps::{TREE, observes_command, offset},
    sock::{Sock, TypedSock, returned},
};

const ESTABLISHED: u32 = 1;
const SYN_SENT: u32 = 2;
const SYN_RECV: u32 = 3;
const FIN_WAIT2: u32 = 5;
const CLOSE: u32 = 7;
const CLOSE_WAIT: u32 = 8;
const CLOSING: u32 = 11;
const IPPROTO_TCP: u16 = 6;
const EACCES: i32 = 13;
const ENONET: i32 = 64;
const EPROTO: i32 = 71;
const ENOPROTOOPT: i32 = 92;
const EADDRNOTAVAIL: i32 = 99;
const ENETUNREACH: i32 = 101;
const ECONNRESET: i32 = 104;
const ETIMEDOUT: i32 = 110;
const ECONNREFUSED: i32 = 111;
const EHOSTDOWN: i32 = 112;
const EHOSTUNREACH: i32 = 113;

/// One tracepoint serves arrivals, departures and the load signal. Most of its firings leave at
/// the match.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn socket_state(ctx: BtfTracePointContext) -> u32 {
    changed(Sock::typed(ctx.arg::<*const u8>(0)), ctx.arg::<u32>(1), ctx.arg::<u32>(2));
    0
}

/// The same, and entries into TIME_WAIT: ten times per connection the kernel comes by here, so a second program
/// would be the dearest of all.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn socket_state_and_time_wait(ctx: BtfTracePointContext) -> u32 {
    let sock = Sock::typed(ctx.arg::<*const u8>(0));
    let (old, new) = (ctx.arg::<u32>(1), ctx.arg::<u32>(2));
    if new == CLOSE && matches!(old, FIN_WAIT2 | CLOSING) {
        if is_tcp(sock) {
            time_wait::entered(sock);
        }
    } else {
        changed(sock, old, new);
    }
    0
}

/// Written so that there is one place where a key is made and counted: five of them would not stay in the CPU's caches.
#[inline(always)]
fn changed(sock: TypedSock, old: u32, new: u32) {
    let signal = match (old, new) {
        (SYN_RECV, ESTABLISHED) => Signal::ConnectionAccepted,
        (CLOSE, SYN_SENT) => Signal::ConnectAttempt,
        (SYN_SENT, ESTABLISHED) => Signal::ConnectionOpened,
        (SYN_SENT, CLOSE) if is_tcp(sock) => return connect_failed(sock),
        (ESTABLISHED | CLOSE_WAIT, _) if new != CLOSE_WAIT && sock.seems_accepted() => Signal::AcceptedClosed,
        (ESTABLISHED | CLOSE_WAIT, _) if new != CLOSE_WAIT => Signal::OpenedClosed,
        _ => return,
    };
    if !is_tcp(sock) {
        return;
    }
    let is_accepted = matches!(signal, Signal::ConnectionAccepted | Signal::AcceptedClosed);
    let mut spot = sock.end_spot(signal, is_accepted);
    if matches!(signal, Signal::ConnectAttempt) {
        spot.key = by_current(spot.key);
    }
    let level =
        if matches!(signal, Signal::ConnectionAccepted) { sock.queue_joined() } else { Level::default() };
    if hot::counted(&spot, signal, level) {
        return;
    }
    let key = spot.with_namespace();
    if tallied(&key, level) {
        return;
    }
    if matches!(signal, Signal::AcceptedClosed | Signal::OpenedClosed) {
        departed_first(sock);
    } else {
        tally_first(&key, level);
    }
}

#[inline(always)]
fn is_tcp(sock: TypedSock) -> bool {
    sock.protocol() == IPPROTO_TCP
}

/// Marks what a process in context did: who, and whether it belongs to the observed command. The
/// pid itself is left out, so that a command of many short processes stays one subject.
#[inline(always)]
fn by_current(mut key: Key) -> Key {
    if observes_command() && is_generator(current_tgid()) {
        key.flags |= key_flags::GENERATOR;
    }
    key
}

#[inline(always)]
pub fn current_tgid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

#[inline(always)]
pub fn is_generator(tgid: u32) -> bool {
    TREE.get_ptr(tgid).is_some()
}

/// Names the process as well: failures are few.
#[inline(always)]
pub fn named(mut key: Key) -> Key {
    key.pid = current_tgid();
    by_current(key)
}

/// A connection left ESTABLISHED and CLOSE_WAIT, for the first time at its place. Its own port tells the side: a port on which connections were accepted belongs to a
/// listener. (One that was reset has given it back by now.)
#[inline(always)]
fn departed_first(sock: TypedSock) {
    let mut key = sock.end_spot(Signal::ConnectionAccepted, true).with_namespace();
    if is_known(&key) {
        key.signal = Signal::AcceptedClosed as u16;
        tally_first(&key, Level::default());
        return;
    }
    let mut key = sock.end_spot(Signal::ConnectionOpened, false).with_namespace();
    if is_known(&key) {
        key.signal = Signal::OpenedClosed as u16;
        tally_first(&key, Level::default());
    }
}

/// A connect came to nothing. Without fexit, one that failed before it was given a port stands for the
/// failed search: a refused or aborted connect has a port, and a missing route fires nothing.
#[inline(always)]
fn connect_failed(sock: TypedSock) {
    if sock.wire_port() == 0 {
        let mut key = named(sock.destination_key(Signal::PortSearchFailed));
        key.flags |= key_flags::FALLBACK;
        return failed(&key);
    }
    let (signal, reason) = match sock.error() {
        ECONNREFUSED => (Signal::ConnectRefused, 0),
        ETIMEDOUT => (Signal::ConnectTimedOut, 0),
        // An ICMP message said so (`tcp_v4_err`, `tcp_v6_err`): at once, or, where the kernel said it to itself, after it
        // had asked in vain whose the address is.
        error if is_unreachable(error) && sock.timeouts() > 0 => (Signal::ConnectTimedOut, error as u16),
        error if is_unreachable(error) => (Signal::ConnectRefused, error as u16),
        // Before 6.10 the kernel reports the error first, and the process may have taken it by now.
        0 if !sock.is_shut_down() && !sock.is_owned() && sock.timeouts() > 0 => (Signal::ConnectTimedOut, 0),
        0 if !sock.is_shut_down() && !sock.is_owned() => (Signal::ConnectRefused, 0),
        // Its process closed it, or shut it down, or found its four-tuple taken. Before the SYN was sent again that is no
        // failure here, but the use that some programs make of connect (a race between addresses).
        0 | ECONNRESET if sock.timeouts() > 0 => (Signal::ConnectAbandoned, 0),
        _ => return,
    };
    let mut key = sock.destination_key(signal);
    key.reason = reason;
    failed(&key);
}

/// The errors that ICMP's messages become (`icmp_err_convert`, net/ipv4/icmp.c; `icmpv6_err_convert`, net/ipv6/icmp.c).
#[inline(always)]
fn is_unreachable(error: i32) -> bool {
    matches!(error, EACCES | ENONET | EPROTO | ENOPROTOOPT | ENETUNREACH | EHOSTDOWN | EHOSTUNREACH)
}

/// A connect searched the whole range and found no free port.
#[fexit(function = "__inet_hash_connect")]
pub fn port_search_failed(ctx: FExitContext) -> u32 {
    if returned(&ctx, offset!(hash_connect_arity)) as i32 == -EADDRNOTAVAIL {
        let sock = Sock::typed(ctx.arg::<*const u8>(1));
        // A socket bound to a port of its own searches nothing: its four-tuple is taken.
        if sock.wire_port() == 0 {
            failed(&named(sock.destination_key(Signal::PortSearchFailed)));
        } else {
            failed(&named(collision_key(sock, sock.wire_port())));
        }
    }
    0
}

/// A bind (or a listen) was given no port. The return value is 1 on 5.10 and -EADDRINUSE later.
#[fexit(function = "inet_csk_get_port")]
pub fn bind_failed(ctx: FExitContext) -> u32 {
    if ctx_return(&ctx, 2) != 0 {
        let sock = Sock::typed(ctx.arg::<*const u8>(0));
        let wanted = ctx.arg::<u16>(1);
        if wanted == 0 {
            let mut key = named(sock.own_key(Signal::BindExhausted));
            key.port = 0;
            failed(&key);
        } else {
            failed(&named(collision_key(sock, wanted)));
        }
    }
    0
}

/// A port search has no level: the range is user space's to know.
#[inline(always)]
fn failed(key: &Key) {
    count_failure(key, Level::default());
}

/// Return value of a function whose number of arguments is the same on every kernel.
#[inline(always)]
fn ctx_return(ctx: &FExitContext, arity: usize) -> i32 {
    ctx.arg::<u64>(arity) as i32
}

#[inline(always)]
fn collision_key(sock: TypedSock, port: u16) -> Key {
    let mut key = sock.own_key(Signal::BindCollision);
    key.port = port;
    key
}

//! Entries into TIME_WAIT and what becomes of them.
//!
//! Kernel: `tcp_time_wait` (net/ipv4/tcp_minisocks.c), `inet_twsk_alloc` and `inet_twsk_kill`
//! (net/ipv4/inet_timewait_sock.c). A socket in TIME_WAIT is another, smaller one: the full one goes from
//! FIN_WAIT2 or CLOSING to CLOSE, and no socket ever changes its state to TIME_WAIT.

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use observer_common::Signal;

use crate::{
    emit::{Level, count_failure, tally},
    hot,
    sock::{Sock, TypedSock},
};

/// A connection was to enter TIME_WAIT. There is no socket for it at tcp_max_tw_buckets, or without memory.
#[fexit(function = "inet_twsk_alloc")]
pub fn time_wait(ctx: FExitContext) -> u32 {
    let sock = Sock::typed(ctx.arg::<*const u8>(0));
    if ctx.arg::<u64>(3) == 0 {
        count_failure(&sock.namespace_spot(Signal::TimeWaitOverflow).with_namespace(), Level::default());
    } else {
        count_entered(sock);
    }
    0
}

/// Without fexit: a TCP socket went from FIN_WAIT2 or CLOSING to CLOSE. Those for which there was no room are among
/// them.
#[inline(always)]
pub fn entered(sock: TypedSock) {
    // A reset in these states leaves an error.
    if sock.error() == 0 {
        count_entered(sock);
    }
}

#[inline(always)]
fn count_entered(sock: TypedSock) {
    if !hot::counted(
        &sock.connecting_spot(Signal::TimeWaitEntered),
        Signal::TimeWaitEntered,
        Level::default(),
    ) {
        tally(&sock.connecting_key(Signal::TimeWaitEntered));
    }
}

/// A socket left TIME_WAIT, for whatever reason.
#[fentry(function = "inet_twsk_kill")]
pub fn time_wait_exited(ctx: FEntryContext) -> u32 {
    // It begins with what every socket begins with.
    let spot = Sock::typed(ctx.arg::<*const u8>(0)).namespace_spot(Signal::TimeWaitExited);
    if !hot::counted(&spot, Signal::TimeWaitExited, Level::default()) {
        tally(&spot.with_namespace());
    }
    0
}

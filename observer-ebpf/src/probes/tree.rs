//! The process tree of the observed command, kept as it forks and exits, so that the probes know
//! the generator without asking user space.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use aya_log_ebpf::warn;

use crate::{
    maps::{TREE, offsets},
    probes::connect::is_generator,
    sock::read,
};

/// A child of a member is a member.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn process_fork(ctx: BtfTracePointContext) -> u32 {
    let (parent, child) = (ctx.arg::<*const u8>(0), ctx.arg::<*const u8>(1));
    if is_generator(read(parent, offsets().task_tgid)) {
        let tgid = read::<u32>(child, offsets().task_tgid);
        if TREE.insert(tgid, 1, 0).is_err() {
            // Its connections then count as nobody's in particular.
            warn!(&ctx, "the process tree has no room for {}", tgid);
        }
    }
    0
}

/// The last thread of a process to exit is not always its leader; the leader's id is the key, and
/// an entry that stays until the leader is reaped does no harm.
#[btf_tracepoint(function = "sched_process_exit")]
pub fn process_exit(ctx: BtfTracePointContext) -> u32 {
    let task = ctx.arg::<*const u8>(0);
    let tgid: u32 = read(task, offsets().task_tgid);
    if tgid == read::<u32>(task, offsets().task_pid) {
        let _ = TREE.remove(tgid);
    }
    0
}

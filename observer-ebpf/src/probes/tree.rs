//! The process tree of the observed command, kept as it forks and exits, so that the probes know
//! the generator without asking user space.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use aya_log_ebpf::warn;

use crate::{
    maps::{TREE, offset},
    probes::connect::is_generator,
    sock::{pointer, read},
};

/// A child of a member is a member.
#[btf_tracepoint(function = "sched_process_fork")]
pub fn process_fork(ctx: BtfTracePointContext) -> u32 {
    let (parent, child) = (ctx.arg::<*const u8>(0), ctx.arg::<*const u8>(1));
    if is_generator(read(parent, offset!(task_tgid))) {
        let tgid = read::<u32>(child, offset!(task_tgid));
        if TREE.insert(tgid, 1, 0).is_err() {
            // Its connections then count as nobody's in particular.
            warn!(&ctx, "the process tree has no room for {}", tgid);
        }
    }
    0
}

/// The last thread of a process has exited. (The leader may go before the others, and another thread
/// takes its place when it calls exec.)
#[btf_tracepoint(function = "sched_process_exit")]
pub fn process_exit(ctx: BtfTracePointContext) -> u32 {
    let task = ctx.arg::<*const u8>(0);
    let live: u32 = read(pointer(task, offset!(task_signal)), offset!(signal_live));
    if live == 0 {
        // Most processes are not in the tree.
        let _ = TREE.remove(read::<u32>(task, offset!(task_tgid)));
    }
    0
}

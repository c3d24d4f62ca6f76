//! Processes killed because memory ran out.
//!
//! Kernel: `oom_kill_process`, `mark_oom_victim` (mm/oom_kill.c), under `oom_lock`. A process that was about to exit
//! anyway is marked as well, without the kernel counting a kill; and so are the other threads of one that was killed,
//! when they want memory on their way out.

use aya_ebpf::{
    EbpfContext as _,
    helpers::bpf_get_current_pid_tgid,
    macros::{btf_tracepoint, fentry},
    programs::{BtfTracePointContext, FEntryContext},
};
use observer_common::{Key, Signal, key_flags};

use super::connect::is_generator;
use crate::{
    cgroup,
    emit::{Level, count_failure, count_failure_of},
    maps::{OOM, Oom, VICTIM, Victim, offset},
    sock::{context_slot, pointer, read},
};

/// What limited the allocation, for the victims that follow. Plus one, so that 0 means unknown.
#[fentry(function = "oom_kill_process")]
pub fn oom_constraint(ctx: FEntryContext) -> u32 {
    let control = ctx.arg::<*const u8>(0);
    let constraint = u64::from(read::<u32>(control, offset!(oom_constraint))) + 1;
    // An array has room for its element.
    let _ = OOM.set(0, Oom { by: bpf_get_current_pid_tgid(), constraint }, 0);
    0
}

/// A process was chosen to be killed.
#[btf_tracepoint(function = "mark_victim")]
pub fn oom_kill(ctx: BtfTracePointContext) -> u32 {
    let argument = context_slot(ctx.as_ptr(), 0);
    if offset!(tp_mark_victim_task) == 1 {
        let victim = argument as *const u8;
        if is_marked_again(victim) {
            return 0;
        }
        let mut key = killed(cgroup::of_memory(victim), read(victim, offset!(task_tgid)));
        // The victim has its SIGKILL already, and may have left the tree on another CPU; its parent has not.
        let parent: u32 = read(pointer(victim, offset!(task_parent)), offset!(task_tgid));
        if is_generator(key.pid) || is_generator(parent) {
            key.flags = key_flags::GENERATOR;
        }
        count_failure_of(&key, victim);
    } else {
        // Before 6.8 it is a pid alone. The event would carry the name of the task that found no memory.
        let key = Key { pid: 0, ..killed(cgroup::of_memory_of_current(), 0) };
        count_failure(&key, Level::default());
    }
    0
}

/// Whether it is a thread of the process that was marked last. Keeps the process in mind.
#[inline(always)]
fn is_marked_again(task: *const u8) -> bool {
    let victim = Victim {
        tgid: read::<u32>(task, offset!(task_tgid)).into(),
        started_ns: read(pointer(task, offset!(task_leader)), offset!(task_started)),
    };
    let is_again = VICTIM.get(0) == Some(&victim);
    // An array has room for its element.
    let _ = VICTIM.set(0, victim, 0);
    is_again
}

#[inline(always)]
fn killed(memory: u64, tgid: u32) -> Key {
    let mut key = cgroup::key(Signal::OomKill, memory);
    key.pid = tgid;
    if let Some(oom) = OOM.get(0)
        && oom.by == bpf_get_current_pid_tgid()
    {
        key.reason = oom.constraint as u16;
    }
    key
}

//! Refused descriptors: EMFILE at a process's RLIMIT_NOFILE, ENFILE at the host's file table.
//!
//! Kernel: `alloc_fd` (fs/file.c), `alloc_empty_file` (fs/file_table.c).

use aya_ebpf::{
    helpers::bpf_get_current_cgroup_id,
    macros::{btf_tracepoint, fexit},
    programs::{BtfTracePointContext, FExitContext},
};
use observer_common::{Key, Signal, key_flags};

use super::connect::named;
use crate::emit::{Level, count_failure};

const ENFILE: i64 = 23;
const EMFILE: i64 = 24;

/// A process asked for a descriptor at its limit; the second argument is that limit.
#[fexit(function = "alloc_fd")]
pub fn descriptor_limit(ctx: FExitContext) -> u32 {
    if i64::from(ctx.arg::<i32>(3)) == -EMFILE {
        let limit = ctx.arg::<u32>(1);
        count_failure(&refused(Signal::DescriptorLimit, 0), Level { used: limit, limit });
    }
    0
}

/// The host has no room for another open file. The function returns an error pointer.
#[fexit(function = "alloc_empty_file")]
pub fn file_table_full(ctx: FExitContext) -> u32 {
    if ctx.arg::<u64>(2) as i64 == -ENFILE {
        count_failure(&refused(Signal::FileTableFull, 0), Level::default());
    }
    0
}

/// `--precise`: both, on kernels that refuse fexit. It costs every system call of the host.
#[btf_tracepoint(function = "sys_exit")]
pub fn descriptor_limit_precise(ctx: BtfTracePointContext) -> u32 {
    let signal = match -ctx.arg::<i64>(1) {
        EMFILE => Signal::DescriptorLimit,
        ENFILE => Signal::FileTableFull,
        _ => return 0,
    };
    count_failure(&refused(signal, key_flags::FALLBACK), Level::default());
    0
}

#[inline(always)]
fn refused(signal: Signal, flags: u16) -> Key {
    // SAFETY: plain helper call.
    let cgroup = unsafe { bpf_get_current_cgroup_id() };
    named(Key { cgroup, address: [0; 2], netns: 0, pid: 0, signal: signal as u16, port: 0, flags, reason: 0 })
}

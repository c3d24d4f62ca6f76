//! Cgroups that have used up their CPU quota.
//!
//! Kernel: `throttle_cfs_rq`, `sched_cfs_period_timer` (kernel/sched/fair.c).

use aya_ebpf::{
    EbpfContext as _,
    macros::{btf_tracepoint, fexit},
    programs::{BtfTracePointContext, FExitContext},
};
use observer_common::Signal;

use crate::{
    cgroup,
    emit::{Level, count_failure, count_failure_times_at, count_times_at, lost, now_ns},
    maps::{PERIOD_TIMER, PERIODS, Periods, offset},
    sock::{context_slot, load, pointer, read},
};

/// A CPU's run queue of a cgroup was stopped. False: the quota was refilled just in time.
#[fexit(function = "throttle_cfs_rq")]
pub fn cpu_throttle(ctx: FExitContext) -> u32 {
    if ctx.arg::<u64>(1) as u8 != 0 {
        let group = pointer(ctx.arg::<*const u8>(0), offset!(cfs_rq_group));
        count_failure(&cgroup::key(Signal::CpuThrottle, of_group(group)), Level::default());
    }
    0
}

/// Without fexit: the timer that refills a cgroup's quota is about to run, and finds the kernel's own counts
/// as of the period before. Every other timer leaves at the first comparison.
#[btf_tracepoint(function = "hrtimer_expire_entry")]
pub fn cpu_periods(ctx: BtfTracePointContext) -> u32 {
    let function: u64 = load(ctx.arg::<*const u8>(0), offset!(hrtimer_function));
    if PERIOD_TIMER.get(0).is_some_and(|wanted| *wanted == function) {
        // Not by the typed argument: what it is a member of begins before it.
        let timer = context_slot(ctx.as_ptr(), 0) as *const u8;
        periods_of(timer.wrapping_sub(offset!(period_timer) as usize));
    }
    0
}

/// What the kernel has counted since the last time. The first time sets the origin.
#[inline(always)]
fn periods_of(group: *const u8) {
    let cgroup = of_group(group);
    let now = Periods {
        elapsed: read(group, offset!(nr_periods)),
        throttled: read(group, offset!(nr_throttled)),
        at_ns: now_ns(),
    };
    let Some(seen) = PERIODS.get_ptr_mut(cgroup) else {
        if PERIODS.insert(cgroup, now, 0).is_err() {
            lost(Signal::CpuPeriods as u16, 1);
        }
        return;
    };
    // SAFETY: the kernel returned a live map entry, and a cgroup's timer runs on one CPU at a time.
    let before = unsafe { core::ptr::replace(seen, now) };
    let elapsed = now.elapsed.wrapping_sub(before.elapsed);
    let throttled = now.throttled.wrapping_sub(before.throttled);
    if elapsed > 0 {
        count_times_at(&cgroup::key(Signal::CpuPeriods, cgroup), elapsed.into(), now.at_ns);
    }
    if throttled > 0 {
        // The kernel counted them when the timer ran before, right after that look at its counts.
        let key = cgroup::key(Signal::CpuThrottledPeriods, cgroup);
        count_failure_times_at(&key, throttled.into(), before.at_ns);
    }
}

#[inline(always)]
fn of_group(group: *const u8) -> u64 {
    cgroup::id(pointer(group, offset!(task_group_cgroup)))
}

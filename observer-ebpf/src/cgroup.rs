//! Ids of cgroups, as user space sees them: inode numbers, each in the hierarchy of its controller.

use aya_ebpf::helpers::bpf_get_current_task;
use observer_common::{Key, Signal};

use crate::{
    maps::offset,
    sock::{pointer, read},
};

/// The root of every hierarchy; it has no limits.
const ROOT: u64 = 1;

/// Id of a `struct cgroup *`; 0 where it cannot be read.
#[inline(always)]
pub fn id(cgroup: *const u8) -> u64 {
    read(pointer(cgroup, offset!(cgroup_kn)), offset!(kn_id))
}

/// Id of the cgroup of a `struct task_struct *` under the memory controller, on cgroup v1 and v2 alike.
#[inline(always)]
pub fn of_memory(task: *const u8) -> u64 {
    let states = pointer(task, offset!(task_cgroups));
    let state = pointer(states, offset!(css_set_subsys) + 8 * offset!(memory_controller));
    id(pointer(state, offset!(css_cgroup)))
}

/// The same of the task in context. 0 for one in the root: it works on behalf of others (a kernel thread
/// that reclaims).
#[inline(always)]
pub fn of_memory_of_current() -> u64 {
    // SAFETY: plain helper call.
    let cgroup = of_memory(unsafe { bpf_get_current_task() } as *const u8);
    if cgroup == ROOT { 0 } else { cgroup }
}

/// The key of `signal` at a cgroup.
#[inline(always)]
pub fn key(signal: Signal, cgroup: u64) -> Key {
    Key { cgroup, address: [0; 2], netns: 0, pid: 0, signal: signal as u16, port: 0, flags: 0, reason: 0 }
}

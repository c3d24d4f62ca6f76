//! A kprobe and a kretprobe as one: for functions that take no trampoline, because they are in a module or
//! have more arguments than a trampoline carries.
//!
//! The two meet by the address of the stack frame. A task or CPU would not do: a packet that arrives in a
//! softirq may enter the function while it runs for a process.

use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use aya_log_ebpf::warn;

use crate::maps::CALLS;

/// Which function: part of the key, in the bits that a stack address never has.
#[derive(Clone, Copy)]
#[repr(u64)]
pub enum Function {
    EarlyDrop = 0,
    SynRecvV4 = 1,
    SynRecvV6 = 2,
}

/// Remembers one value of a call.
#[inline(always)]
pub fn entered(ctx: &ProbeContext, function: Function, value: u64) {
    // SAFETY: the context of a kprobe is the registers.
    let frame = unsafe { (*ctx.regs).rsp };
    if CALLS.insert(frame | function as u64, value, 0).is_err() {
        // Whatever it came to is then not counted.
        warn!(ctx, "no room for a call of function {}", function as u64);
    }
}

/// What was remembered of the call that returns now.
#[inline(always)]
pub fn returned(ctx: &RetProbeContext, function: Function) -> Option<u64> {
    // SAFETY: the context of a kretprobe is the registers. The return address is off the stack by now.
    let frame = unsafe { (*ctx.regs).rsp } - 8;
    let key = frame | function as u64;
    // SAFETY: the value is copied at once, and nobody else has this key: it is this call's stack frame.
    let value = unsafe { CALLS.get(key) }.copied()?;
    let _ = CALLS.remove(key);
    Some(value)
}

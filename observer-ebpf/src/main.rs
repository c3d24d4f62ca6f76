//! The probes of observer. They count in per-CPU cells and stream almost nothing: the first instant
//! of a failure cannot be lost, because it never travels through a queue.
#![no_std]
#![no_main]

mod cgroup;
mod emit;
mod hot;
mod maps;
mod packet;
mod probes;
mod sock;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // The verifier refuses a program that can get here, so this is never reached.
    loop {}
}

/// Tracing programs that read kernel memory need a GPL-compatible licence string.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

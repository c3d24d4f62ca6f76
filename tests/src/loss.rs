//! Loss on the way in: a filter on the receiving socket that throws segments away before TCP sees them.
//!
//! It needs no netfilter and no module, and to the sender it looks like a network that loses packets.

use std::{ffi::c_void, io, mem, os::fd::AsRawFd};

use nix::errno::Errno;

/// The socket filter's own area: where "packet offsets" mean values of the kernel's.
const SKF_AD_OFF: u32 = libc::SKF_AD_OFF as u32;
const RANDOM: u32 = SKF_AD_OFF.wrapping_add(libc::SKF_AD_RANDOM as u32);
/// TCP header and all options fit in this; what is longer carries data.
const LONGEST_HEADER: u32 = 60;
/// The whole segment.
const KEEP: u32 = u32::MAX;
const DROP: u32 = 0;

/// Makes `socket` lose this share of the segments with data that arrive for it, at random.
pub fn lose(socket: &impl AsRawFd, per_mille: u32) -> io::Result<()> {
    let threshold = u64::from(u32::MAX) * u64::from(per_mille) / 1000;
    let load = |size, k| instruction(libc::BPF_LD | libc::BPF_W | size, 0, 0, k);
    let keep_unless = |compare, k| instruction(libc::BPF_JMP | compare | libc::BPF_K, 0, 1, k);
    let end = |k| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, k);
    let mut program = [
        load(libc::BPF_LEN, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 1, 0, LONGEST_HEADER),
        end(KEEP),
        load(libc::BPF_ABS, RANDOM),
        keep_unless(libc::BPF_JGE, threshold as u32),
        end(KEEP),
        end(DROP),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the option reads one sock_fprog and the instructions it points to; both outlive the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast::<c_void>(),
            mem::size_of_val(&filter) as libc::socklen_t,
        )
    };
    Errno::result(result)?;
    Ok(())
}

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

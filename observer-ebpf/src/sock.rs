//! Reading what we need of the kernel's socket, at offsets found in its BTF.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use observer_common::{Key, Offsets, Signal};

use crate::maps::offsets;

/// AF_INET6.
const AF_INET6: u16 = 10;

/// Reads a `T` at `base + offset`; zero where the kernel has no such member or the read faults.
#[inline(always)]
pub fn read<T: Default>(base: *const u8, offset: u32) -> T {
    if base.is_null() || offset == Offsets::ABSENT {
        return T::default();
    }
    // SAFETY: bpf_probe_read_kernel checks the address itself and fails on a bad one.
    unsafe { bpf_probe_read_kernel(base.wrapping_add(offset as usize).cast::<T>()) }.unwrap_or_default()
}

/// Reads a pointer at `base + offset`; null where it cannot.
#[inline(always)]
pub fn pointer(base: *const u8, offset: u32) -> *const u8 {
    read::<u64>(base, offset) as *const u8
}

/// Slot `index` of a tracing program's context, whose layout is an array of u64. Through a helper,
/// because the verifier wants constant offsets in the context and some are only known at load.
#[inline(always)]
pub fn context_slot(context: *const core::ffi::c_void, index: u32) -> u64 {
    read::<u64>(context.cast(), index * 8)
}

/// A kernel `struct sock *`.
#[derive(Clone, Copy)]
pub struct Sock(pub *const u8);

impl Sock {
    #[inline(always)]
    pub fn state(self) -> u8 {
        read(self.0, offsets().state)
    }

    #[inline(always)]
    pub fn protocol(self) -> u16 {
        // A bit field up to 5.5, a u16 since; its low byte is the protocol on every kernel here.
        read::<u8>(self.0, offsets().protocol).into()
    }

    #[inline(always)]
    pub fn netns_pointer(self) -> *const u8 {
        pointer(self.0, offsets().net)
    }

    /// Connections in the accept queue and its limit. The kernel overflows when used > limit.
    #[inline(always)]
    pub fn accept_queue(self) -> crate::emit::Level {
        let offsets = offsets();
        crate::emit::Level {
            used: read(self.0, offsets.ack_backlog),
            limit: read(self.0, offsets.max_ack_backlog),
        }
    }

    /// Own port as on the wire; 0 until a port was found.
    #[inline(always)]
    pub fn wire_port(self) -> u16 {
        u16::from_be(read(self.0, offsets().inet_sport))
    }

    /// The key of `signal` at this socket's own address and port.
    #[inline(always)]
    pub fn own_key(self, signal: Signal) -> Key {
        let offsets = offsets();
        self.key(signal, read(self.0, offsets.num), offsets.rcv_saddr, offsets.v6_rcv_saddr)
    }

    /// The key of `signal` at the address and port that this socket connects to.
    #[inline(always)]
    pub fn destination_key(self, signal: Signal) -> Key {
        let offsets = offsets();
        self.key(signal, u16::from_be(read(self.0, offsets.dport)), offsets.daddr, offsets.v6_daddr)
    }

    /// Id of the cgroup (v2) that the socket was made in; 0 where it carries v1 class ids instead.
    #[inline(always)]
    fn cgroup_id(self) -> u64 {
        let offsets = offsets();
        let word: u64 = read(self.0, offsets.sk_cgroup);
        if word & 1 != 0 {
            return 0;
        }
        read(pointer((word & !3) as *const u8, offsets.cgroup_kn), offsets.kn_id)
    }

    #[inline(always)]
    fn key(self, signal: Signal, port: u16, v4_offset: u32, v6_offset: u32) -> Key {
        let offsets = offsets();
        let address = if read::<u16>(self.0, offsets.family) == AF_INET6 {
            read(self.0, v6_offset)
        } else {
            mapped(read(self.0, v4_offset))
        };
        Key {
            cgroup: self.cgroup_id(),
            address,
            netns: read(self.netns_pointer(), offsets.net_inum),
            pid: 0,
            signal: signal as u16,
            port,
            flags: 0,
            reason: 0,
        }
    }
}

/// `::ffff:a.b.c.d` of an address in network byte order.
#[inline(always)]
fn mapped(v4: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4[0], v4[1], v4[2], v4[3]]
}

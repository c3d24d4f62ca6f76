//! Reading what we need of the kernel's socket, at offsets found in its BTF.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use observer_common::{Key, Offsets, Signal, key_flags};

use crate::{cgroup, emit::is_known, maps::offsets};

/// AF_INET6.
const AF_INET6: u16 = 10;

/// TCP states (include/net/tcp_states.h).
pub const SYN_SENT: u8 = 2;
pub const SYN_RECV: u8 = 3;
pub const TIME_WAIT: u8 = 6;
pub const LISTEN: u8 = 10;
pub const NEW_SYN_RECV: u8 = 12;

/// Types of which every bit pattern is a value.
pub trait Plain: Default {}
impl Plain for u8 {}
impl Plain for u16 {}
impl Plain for u32 {}
impl Plain for u64 {}
impl Plain for i32 {}
impl<const N: usize> Plain for [u8; N] where [u8; N]: Default {}

/// Reads a `T` at `base + offset`; zero where the kernel has no such member, or the address is a bad one
/// (null among them). Without a branch on the outcome, which would double what the verifier has to walk at
/// each of our many reads.
#[inline(always)]
pub fn read<T: Plain>(base: *const u8, offset: u32) -> T {
    let mut value = T::default();
    if offset != Offsets::ABSENT {
        let address = base.wrapping_add(offset as usize);
        // SAFETY: the helper writes `size_of::<T>()` bytes to `value`: what is there, or zeroes where the
        // address is a bad one.
        unsafe {
            bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, address.cast());
        }
    }
    value
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

    /// Whether this is a `struct sock`, and not one of the small ones that stand for a connection in
    /// TIME_WAIT or in the SYN queue, which share only the members of `struct sock_common`.
    #[inline(always)]
    pub fn is_full(self) -> bool {
        !matches!(self.state(), TIME_WAIT | NEW_SYN_RECV)
    }

    /// Its pending error; 0 where it has none.
    #[inline(always)]
    pub fn error(self) -> i32 {
        read(self.0, offsets().sk_err)
    }

    /// Whether its process has closed it, or shut it down.
    #[inline(always)]
    pub fn is_shut_down(self) -> bool {
        read::<u8>(self.0, offsets().sk_shutdown) != 0
    }

    /// How often in a row nothing was acknowledged in time.
    #[inline(always)]
    pub fn timeouts(self) -> u8 {
        read(self.0, offsets().retransmits)
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

    /// The same of a connection that may have been closed just now, and then has given its port back: it
    /// still knows what it sent from.
    #[inline(always)]
    pub fn former_key(self, signal: Signal) -> Key {
        let mut key = self.own_key(signal);
        if key.port == 0 {
            key.port = self.wire_port();
        }
        key
    }

    /// The key of `signal` at the address and port that this socket connects to.
    #[inline(always)]
    pub fn destination_key(self, signal: Signal) -> Key {
        let offsets = offsets();
        self.key(signal, u16::from_be(read(self.0, offsets.dport)), offsets.daddr, offsets.v6_daddr)
    }

    /// The key of `signal` at the end of a connection that this socket is, as far as the load has told: the
    /// listener on the accepting side, the destination on the connecting side, else the namespace alone.
    /// (An unknown socket's own port may be any ephemeral one.)
    #[inline(always)]
    pub fn peer_key(self, signal: Signal) -> Key {
        if !self.is_full() {
            return namespace_key(signal, self.netns_pointer());
        }
        let mut key = self.former_key(Signal::ConnectionAccepted);
        if self.state() == LISTEN || is_known(&key) {
            key.flags = key_flags::ACCEPTED;
            key.signal = signal as u16;
            return key;
        }
        self.destination_if_known(signal)
    }

    /// The key of `signal` at the destination on the connecting side, else the namespace alone.
    #[inline(always)]
    pub fn connecting_key(self, signal: Signal) -> Key {
        let key = self.former_key(Signal::ConnectionAccepted);
        if is_known(&key) {
            return Key { address: [0; 16], port: 0, signal: signal as u16, ..key };
        }
        self.destination_if_known(signal)
    }

    #[inline(always)]
    fn destination_if_known(self, signal: Signal) -> Key {
        let mut key = self.destination_key(Signal::ConnectionOpened);
        if !is_known(&key) {
            key.signal = Signal::ConnectAttempt as u16;
            let by_others = is_known(&key);
            key.flags = key_flags::GENERATOR;
            if !by_others && !is_known(&key) {
                key.address = [0; 16];
                key.port = 0;
            }
        }
        key.flags = 0;
        key.signal = signal as u16;
        key
    }

    /// Id of the cgroup (v2) that the socket was made in; 0 where it carries v1 class ids instead.
    #[inline(always)]
    fn cgroup_id(self) -> u64 {
        let offsets = offsets();
        let word: u64 = read(self.0, offsets.sk_cgroup);
        if word & 1 != 0 {
            return 0;
        }
        cgroup::id((word & !3) as *const u8)
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

/// The key of `signal` at a `struct net *` as a whole.
#[inline(always)]
pub fn namespace_key(signal: Signal, net: *const u8) -> Key {
    Key {
        cgroup: 0,
        address: [0; 16],
        netns: read(net, offsets().net_inum),
        pid: 0,
        signal: signal as u16,
        port: 0,
        flags: 0,
        reason: 0,
    }
}

/// `::ffff:a.b.c.d` of an address in network byte order.
#[inline(always)]
pub fn mapped(v4: [u8; 4]) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4[0], v4[1], v4[2], v4[3]]
}

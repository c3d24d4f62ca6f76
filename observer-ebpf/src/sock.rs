//! Reading what we need of the kernel's socket, at offsets found in its BTF.

use aya_ebpf::{EbpfContext as _, helpers::generated::bpf_probe_read_kernel, programs::FExitContext};
use observer_common::{Key, Offsets, Signal, cell::mapped, key_flags};

use crate::{cgroup, emit::is_known, maps::offset};

/// AF_INET6.
const AF_INET6: u16 = 10;

/// TCP states (include/net/tcp_states.h).
pub const SYN_SENT: u8 = 2;
pub const SYN_RECV: u8 = 3;
pub const TIME_WAIT: u8 = 6;
pub const LISTEN: u8 = 10;
pub const NEW_SYN_RECV: u8 = 12;

/// Types of which every bit pattern is a value.
pub trait Plain: Default {
    /// Loads one from a kernel object whose type the verifier knows, in loads of at most eight bytes.
    ///
    /// # Safety
    /// The verifier must know the type of the object, and have it checked that the member is there.
    unsafe fn load(address: *const u8) -> Self;
}

macro_rules! plain_integers {
    ($($integer:ty),+) => {$(
        impl Plain for $integer {
            #[inline(always)]
            unsafe fn load(address: *const u8) -> Self {
                // SAFETY: the caller's; members of the kernel's objects are aligned.
                unsafe { core::ptr::read_volatile(address.cast()) }
            }
        }
    )+};
}
plain_integers!(u8, u16, u32, u64, i32);

impl Plain for [u64; 2] {
    #[inline(always)]
    unsafe fn load(address: *const u8) -> Self {
        // SAFETY: the caller's.
        unsafe { [u64::load(address), u64::load(address.wrapping_add(8))] }
    }
}

/// Names.
impl Plain for [u8; 16] {
    #[inline(always)]
    unsafe fn load(address: *const u8) -> Self {
        // SAFETY: the caller's.
        let [first, second] = unsafe { <[u64; 2]>::load(address) };
        (u128::from(second) << 64 | u128::from(first)).to_le_bytes()
    }
}

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

/// What a function returned, which follows its arguments in a trampoline's context: at a constant offset, as the verifier
/// wants it. It knows how many arguments there are on this kernel, and sees only one of the branches.
#[inline(always)]
pub fn returned(context: &FExitContext, arity: u32) -> u64 {
    macro_rules! slot {
        ($index:literal) => {{
            // SAFETY: the verifier has it checked that the slot is there.
            let value = unsafe { core::ptr::read_volatile(context.as_ptr().cast::<u64>().add($index)) };
            // Or else the compiler would make one load of all, at an offset that varies.
            core::hint::black_box(value)
        }};
    }
    match arity {
        3 => slot!(3),
        4 => slot!(4),
        5 => slot!(5),
        6 => slot!(6),
        7 => slot!(7),
        _ => read(context.as_ptr().cast(), arity * 8),
    }
}

/// Loads a member, which every kernel has, of an object whose type the verifier knows: it checks that the member is there,
/// and makes zero of what cannot be read (a null pointer among them). A tenth of what the helper of [`read`] takes.
#[inline(always)]
pub fn load<T: Plain>(base: *const u8, offset: u32) -> T {
    // SAFETY: only what a tracing program was given as a typed argument, or was loaded from such, comes here;
    // a program of which that is not true is refused by the verifier.
    unsafe { T::load(base.wrapping_add(offset as usize)) }
}

/// The same of a member that not every kernel has: zero where it has none. That is asked at each occurrence, although the
/// verifier knows the answer.
#[inline(always)]
fn load_if_any<T: Plain>(base: *const u8, offset: u32) -> T {
    if offset == Offsets::ABSENT { T::default() } else { load(base, offset) }
}

/// A kernel `struct sock *`; `TYPED` where it is a typed argument of the program, so that the verifier lets its
/// members be loaded.
#[derive(Clone, Copy)]
pub struct Sock<const TYPED: bool = false>(pub *const u8);

/// A socket as tracepoints with BTF and trampolines give it.
pub type TypedSock = Sock<true>;

impl Sock {
    /// A `struct sock *` of whatever provenance.
    #[inline(always)]
    pub fn at(sock: *const u8) -> Self {
        Self(sock)
    }
}

impl TypedSock {
    /// A `struct sock *` that is a typed argument of the program.
    #[inline(always)]
    pub fn typed(sock: *const u8) -> Self {
        Self(sock)
    }
}

impl<const TYPED: bool> Sock<TYPED> {
    /// A member of `struct sock` itself, or of what it points to.
    #[inline(always)]
    fn member<T: Plain>(base: *const u8, offset: u32) -> T {
        if TYPED { load(base, offset) } else { read(base, offset) }
    }

    /// The same of one that not every kernel has.
    #[inline(always)]
    fn member_if_any<T: Plain>(base: *const u8, offset: u32) -> T {
        if TYPED { load_if_any(base, offset) } else { read(base, offset) }
    }

    #[inline(always)]
    pub fn state(self) -> u8 {
        Self::member(self.0, offset!(state))
    }

    #[inline(always)]
    pub fn protocol(self) -> u16 {
        // 16 bits since 5.6. MPTCP's number is 262: its low byte is TCP's.
        Self::member(self.0, offset!(protocol))
    }

    #[inline(always)]
    pub fn netns_pointer(self) -> *const u8 {
        Self::member::<u64>(self.0, offset!(net)) as *const u8
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
        Self::member(self.0, offset!(sk_err))
    }

    /// Whether its process has closed it, or shut it down.
    #[inline(always)]
    pub fn is_shut_down(self) -> bool {
        read::<u8>(self.0, offset!(sk_shutdown)) != 0
    }

    /// Whether a process works at it just now: what happens to it is that process's doing, and no packet's or timer's.
    #[inline(always)]
    pub fn is_owned(self) -> bool {
        read::<u32>(self.0, offset!(sk_owned)) != 0
    }

    /// How often in a row nothing was acknowledged in time.
    #[inline(always)]
    pub fn timeouts(self) -> u8 {
        read(self.0, offset!(retransmits))
    }

    /// Connections in the accept queue and its limit. The kernel overflows when used > limit.
    #[inline(always)]
    pub fn accept_queue(self) -> crate::emit::Level {
        crate::emit::Level {
            used: Self::member(self.0, offset!(ack_backlog)),
            limit: Self::member(self.0, offset!(max_ack_backlog)),
        }
    }

    /// The accept queue that an accepted connection was appended to, itself included: a socket that was made from a
    /// listener's has the length of that moment still, and its limit (`sk_clone_lock`, net/core/sock.c). Nobody else
    /// uses these members once a socket no longer listens.
    #[inline(always)]
    pub fn queue_joined(self) -> crate::emit::Level {
        let before = self.accept_queue();
        crate::emit::Level { used: before.used.wrapping_add(1), ..before }
    }

    /// Whether this is most likely the accepting side of a connection: a socket that was made from a listener's has
    /// inherited the limit of its queue (`sk_clone_lock`, net/core/sock.c). Not so where that was 0.
    #[inline(always)]
    pub fn seems_accepted(self) -> bool {
        Self::member::<u32>(self.0, offset!(max_ack_backlog)) != 0
    }

    /// Own port as on the wire; 0 until a port was found.
    #[inline(always)]
    pub fn wire_port(self) -> u16 {
        u16::from_be(read(self.0, offset!(inet_sport)))
    }

    /// `signal` at this socket's network namespace as a whole.
    #[inline(always)]
    pub fn namespace_spot(self, signal: Signal) -> Spot<TYPED> {
        Spot { key: Key { signal: signal as u16, ..Key::ZERO }, net: self.netns_pointer() }
    }

    /// The key of `signal` at this socket's own address and port.
    #[inline(always)]
    pub fn own_key(self, signal: Signal) -> Key {
        self.key(signal, Self::member(self.0, offset!(num)), offset!(rcv_saddr), offset!(v6_rcv_saddr))
    }

    /// The key of `signal` at the address and port that this socket connects to.
    #[inline(always)]
    pub fn destination_key(self, signal: Signal) -> Key {
        self.key(
            signal,
            u16::from_be(Self::member(self.0, offset!(dport))),
            offset!(daddr),
            offset!(v6_daddr),
        )
    }

    /// [`Sock::own_key`], with the namespace still to be read.
    #[inline(always)]
    pub fn own_spot(self, signal: Signal) -> Spot<TYPED> {
        let port = Self::member(self.0, offset!(num));
        let mut spot = self.spot(signal, port, offset!(rcv_saddr), offset!(v6_rcv_saddr));
        spot.key.cgroup = self.cgroup_id();
        spot
    }

    /// Where what connections do is counted: at the own address and port of the accepting side, at the destination of
    /// the connecting side. (A connection that was closed just now may have given its port back; it still knows what it
    /// sent from.) Without the cgroup, which listeners and failures tell: it lies on a part of the socket
    /// that nothing else wants at that time, and would cost as much as all the rest.
    #[inline(always)]
    pub fn end_spot(self, signal: Signal, is_accepted: bool) -> Spot<TYPED> {
        let (port, v4, v6) = if is_accepted {
            let own: u16 = Self::member(self.0, offset!(num));
            let port = if own == 0 { self.wire_port() } else { own };
            (port, offset!(rcv_saddr), offset!(v6_rcv_saddr))
        } else {
            (u16::from_be(Self::member(self.0, offset!(dport))), offset!(daddr), offset!(v6_daddr))
        };
        self.spot(signal, port, v4, v6)
    }

    /// Where [`Sock::connecting_key`] counts what is at a known place: at the destination on the connecting side, at no
    /// address on the accepting one.
    #[inline(always)]
    pub fn connecting_spot(self, signal: Signal) -> Spot<TYPED> {
        let mut spot = self.end_spot(signal, false);
        if self.seems_accepted() {
            spot.key.address = [0; 2];
            spot.key.port = 0;
        }
        spot
    }

    /// The key of `signal` at the end of a connection that this socket is, as far as the load has told: the
    /// listener on the accepting side, the destination on the connecting side, else the namespace alone.
    /// (An unknown socket's own port may be any ephemeral one.)
    #[inline(always)]
    pub fn peer_key(self, signal: Signal) -> Key {
        if !self.is_full() {
            return namespace_key(signal, self.netns_pointer());
        }
        let mut key = self.end_spot(Signal::ConnectionAccepted, true).with_namespace();
        if self.state() == LISTEN || is_known(&key) {
            key.flags = key_flags::ACCEPTED;
            key.signal = signal as u16;
        } else {
            key = self.destination_if_known(signal);
        }
        key.cgroup = self.cgroup_id();
        key
    }

    /// The key of `signal` at the destination on the connecting side, else the namespace alone; without the cgroup.
    #[inline(always)]
    pub fn connecting_key(self, signal: Signal) -> Key {
        let key = self.end_spot(Signal::ConnectionAccepted, true).with_namespace();
        if self.seems_accepted() || is_known(&key) {
            return Key { address: [0; 2], port: 0, signal: signal as u16, ..key };
        }
        self.destination_if_known(signal)
    }

    #[inline(always)]
    fn destination_if_known(self, signal: Signal) -> Key {
        let mut key = self.end_spot(Signal::ConnectionOpened, false).with_namespace();
        if !is_known(&key) {
            key.signal = Signal::ConnectAttempt as u16;
            let by_others = is_known(&key);
            key.flags = key_flags::GENERATOR;
            if !by_others && !is_known(&key) {
                key.address = [0; 2];
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
        if TYPED && offset!(sk_cgroup_pointer) != Offsets::ABSENT {
            let cgroup: u64 = load(self.0, offset!(sk_cgroup_pointer));
            let node: u64 = load(cgroup as *const u8, offset!(cgroup_kn));
            return load(node as *const u8, offset!(kn_id));
        }
        let word: u64 = read(self.0, offset!(sk_cgroup));
        if word & 1 != 0 {
            return 0;
        }
        cgroup::id((word & !3) as *const u8)
    }

    #[inline(always)]
    fn key(self, signal: Signal, port: u16, v4_offset: u32, v6_offset: u32) -> Key {
        let key = self.spot(signal, port, v4_offset, v6_offset).with_namespace();
        Key { cgroup: self.cgroup_id(), ..key }
    }

    #[inline(always)]
    fn spot(self, signal: Signal, port: u16, v4_offset: u32, v6_offset: u32) -> Spot<TYPED> {
        let address = if Self::member::<u16>(self.0, offset!(family)) == AF_INET6 {
            Self::member_if_any(self.0, v6_offset)
        } else {
            mapped(Self::member(self.0, v4_offset))
        };
        let key =
            Key { cgroup: 0, address, netns: 0, pid: 0, signal: signal as u16, port, flags: 0, reason: 0 };
        Spot { key, net: self.netns_pointer() }
    }
}

/// A key of which the network namespace is still to be read: most of what is counted does without
/// ([`observer_common::hot`]).
#[derive(Clone, Copy)]
pub struct Spot<const TYPED: bool> {
    pub key: Key,
    net: *const u8,
}

impl<const TYPED: bool> Spot<TYPED> {
    /// The whole key.
    #[inline(always)]
    pub fn with_namespace(&self) -> Key {
        Key { netns: self.inum(), ..self.key }
    }

    /// Inode number of the namespace.
    #[inline(always)]
    pub fn inum(&self) -> u32 {
        Sock::<TYPED>::member(self.net, offset!(net_inum))
    }

    /// A number that stands for the namespace as long as it lives, and never for another one: its cookie; where it has
    /// none, its inode number, which is given again once nobody can count there any more.
    #[inline(always)]
    pub fn namespace(&self) -> u64 {
        match Sock::<TYPED>::member_if_any(self.net, offset!(net_cookie)) {
            0 => self.inum().into(),
            cookie => cookie,
        }
    }
}

/// The key of `signal` at a `struct net *` as a whole.
#[inline(always)]
pub fn namespace_key(signal: Signal, net: *const u8) -> Key {
    Key { netns: read(net, offset!(net_inum)), signal: signal as u16, ..Key::ZERO }
}

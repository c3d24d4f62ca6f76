//! Kernel struct offsets, filled in from the running kernel's BTF by user space at load.

/// Defines the struct, and the list of what has to be looked up, in one place.
macro_rules! offsets {
    ($($(#[doc = $doc:literal])+ $field:ident = $kind:ident($($path:literal),+);)+) => {
        /// Byte offsets and argument positions on the running kernel; [`Offsets::ABSENT`] where it
        /// has no such member or function.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct Offsets { $($(#[doc = $doc])+ pub $field: u32,)+ }

        impl Offsets {
            /// What the kernel side is compiled with; never used unfilled.
            pub const UNSET: Self = Self { $($field: Self::ABSENT,)+ };

            /// Fills every field by asking `lookup` for it.
            pub fn resolve(mut lookup: impl FnMut(Lookup) -> Option<u32>) -> Self {
                Self { $($field: lookup(Lookup::$kind(&[$($path),+])).unwrap_or(Self::ABSENT),)+ }
            }

            /// Name and value of every field, for diagnosis.
            pub fn fields(&self) -> impl Iterator<Item = (&'static str, u32)> {
                [$((stringify!($field), self.$field),)+].into_iter()
            }
        }
    };
}

/// What to look up in BTF.
#[derive(Clone, Copy, Debug)]
pub enum Lookup {
    /// `[struct, member, member of that member's struct, ...]`: the byte offset of the last one.
    Member(&'static [&'static str]),
    /// `[function]`: how many arguments it takes, which is where fexit finds its return value.
    Arity(&'static [&'static str]),
}

offsets! {
    /// Destination IPv4 address of a socket.
    daddr = Member("sock_common", "skc_daddr");
    /// Own IPv4 address of a socket.
    rcv_saddr = Member("sock_common", "skc_rcv_saddr");
    /// Destination port, network byte order.
    dport = Member("sock_common", "skc_dport");
    /// Own port, host byte order.
    num = Member("sock_common", "skc_num");
    /// Address family.
    family = Member("sock_common", "skc_family");
    /// TCP state.
    state = Member("sock_common", "skc_state");
    /// Pointer to the network namespace.
    net = Member("sock_common", "skc_net", "net");
    /// Destination IPv6 address.
    v6_daddr = Member("sock_common", "skc_v6_daddr");
    /// Own IPv6 address.
    v6_rcv_saddr = Member("sock_common", "skc_v6_rcv_saddr");
    /// Connections waiting in the accept queue.
    ack_backlog = Member("sock", "sk_ack_backlog");
    /// Limit of the accept queue.
    max_ack_backlog = Member("sock", "sk_max_ack_backlog");
    /// Pointer to the socket's cgroup (v2): the first word of this member. Up to 5.14 its low bit says
    /// that it holds v1 class ids instead.
    sk_cgroup = Member("sock", "sk_cgrp_data");
    /// Protocol number of the socket.
    protocol = Member("sock", "sk_protocol");
    /// Requests in the SYN queue of a listener.
    request_queue_len = Member("inet_connection_sock", "icsk_accept_queue", "qlen");
    /// Own port as sent on the wire, network byte order; 0 until a port was found.
    inet_sport = Member("inet_sock", "inet_sport");
    /// Pointer from a cgroup to its kernfs node.
    cgroup_kn = Member("cgroup", "kn");
    /// Id of a kernfs node: what user space sees as the cgroup's inode number.
    kn_id = Member("kernfs_node", "id");
    /// Inode number of a network namespace.
    net_inum = Member("net", "ns", "inum");
    /// `net.ipv4.tcp_syncookies` of a network namespace (an int up to 5.10, a byte later).
    tcp_syncookies = Member("net", "ipv4", "sysctl_tcp_syncookies");
    /// `net.ipv4.tcp_max_syn_backlog` of a network namespace.
    max_syn_backlog = Member("net", "ipv4", "sysctl_max_syn_backlog");
    /// Protocol of a packet, network byte order.
    skb_protocol = Member("sk_buff", "protocol");
    /// Pid of a task.
    task_tgid = Member("task_struct", "tgid");
    /// Pointer to what the threads of a process share.
    task_signal = Member("task_struct", "signal");
    /// Threads of a process that have not exited.
    signal_live = Member("signal_struct", "live");
    /// Arguments of `tcp_v4_syn_recv_sock` (6, or 7 from late 6.12 on).
    syn_recv_v4_arity = Arity("tcp_v4_syn_recv_sock");
    /// Arguments of `tcp_v6_syn_recv_sock`.
    syn_recv_v6_arity = Arity("tcp_v6_syn_recv_sock");
    /// Arguments of `__inet_hash_connect` (4, 5 from 6.18 on).
    hash_connect_arity = Arity("__inet_hash_connect");
}

impl Offsets {
    /// The kernel has no such member or function.
    pub const ABSENT: u32 = u32::MAX;
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, one integer type only, so no padding; any bit pattern is valid.
unsafe impl aya::Pod for Offsets {}

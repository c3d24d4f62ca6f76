//! Kernel struct offsets, filled in from the running kernel's BTF by user space at load.

/// Defines the struct, and the list of what has to be looked up, in one place.
macro_rules! offsets {
    ($($(#[doc = $doc:literal])+ $field:ident = $kind:ident($($path:literal),+);)+) => {
        /// Byte offsets, argument positions and enum values on the running kernel; [`Offsets::ABSENT`]
        /// where it has no such member, function or enumerator.
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
    /// `[tracepoint]`: how many arguments a program on it is given.
    TracepointArity(&'static [&'static str]),
    /// `[tracepoint]`: 1 where its first argument is a pointer, 0 where it is a number.
    TracepointPointer(&'static [&'static str]),
    /// `[enum, enumerator]`: the value.
    EnumValue(&'static [&'static str]),
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
    /// The same as a pointer and nothing else (5.15 and later).
    sk_cgroup_pointer = Member("sock", "sk_cgrp_data", "cgroup");
    /// Protocol number of the socket.
    protocol = Member("sock", "sk_protocol");
    /// Pending error of a socket.
    sk_err = Member("sock", "sk_err");
    /// Which ways of a socket are shut: 3 from the beginning of its close on.
    sk_shutdown = Member("sock", "sk_shutdown");
    /// Whether a process works at a socket just now.
    sk_owned = Member("sock", "sk_lock", "owned");
    /// Congestion state of a connection, in the low five bits of this byte.
    ca_state = Member("inet_connection_sock", "icsk_ca_state");
    /// Retransmission timeouts in a row.
    retransmits = Member("inet_connection_sock", "icsk_retransmits");
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
    /// A number that only this network namespace ever has, 64 bits (0 up to 5.11, until somebody asks for it).
    net_cookie = Member("net", "net_cookie");
    /// `net.ipv4.tcp_syncookies` of a network namespace (an int up to 5.10, a byte later).
    tcp_syncookies = Member("net", "ipv4", "sysctl_tcp_syncookies");
    /// `net.ipv4.tcp_max_syn_backlog` of a network namespace.
    max_syn_backlog = Member("net", "ipv4", "sysctl_max_syn_backlog");
    /// Protocol of a packet, network byte order.
    skb_protocol = Member("sk_buff", "protocol");
    /// The socket that a packet belongs to.
    skb_sk = Member("sk_buff", "sk");
    /// The device that a packet came from or leaves through.
    skb_dev = Member("sk_buff", "dev");
    /// The route of a packet; its lowest bit is a flag.
    skb_dst = Member("sk_buff", "_skb_refdst");
    /// Kind of an IPv4 route.
    route_type = Member("rtable", "rt_type");
    /// Flags of an IPv6 route.
    route6_flags = Member("rt6_info", "rt6i_flags");
    /// Where the memory of a packet begins.
    skb_head = Member("sk_buff", "head");
    /// Network header, from [`Self::skb_head`] on.
    skb_network_header = Member("sk_buff", "network_header");
    /// Transport header, from [`Self::skb_head`] on.
    skb_transport_header = Member("sk_buff", "transport_header");
    /// What TCP notes at a packet.
    skb_control = Member("sk_buff", "cb");
    /// Segments that a packet stands for, in what TCP notes at it.
    control_segments = Member("tcp_skb_cb", "tcp_gso_segs");
    /// Pointer to the network namespace of a device.
    device_net = Member("net_device", "nd_net", "net");
    /// The device of a route.
    dst_dev = Member("dst_entry", "dev");
    /// Pid of a task.
    task_tgid = Member("task_struct", "tgid");
    /// Pointer to the thread that stands for the whole process.
    task_leader = Member("task_struct", "group_leader");
    /// When a task was started: CLOCK_MONOTONIC in nanoseconds.
    task_started = Member("task_struct", "start_time");
    /// Pointer to what the threads of a process share.
    task_signal = Member("task_struct", "signal");
    /// Threads of a process that have not exited.
    signal_live = Member("signal_struct", "live");
    /// Pointer to the task that made a task.
    task_parent = Member("task_struct", "real_parent");
    /// Command name of a task.
    task_comm = Member("task_struct", "comm");
    /// Pointer to the cgroups of a task.
    task_cgroups = Member("task_struct", "cgroups");
    /// Pointers to the state of each controller, in the cgroups of a task.
    css_set_subsys = Member("css_set", "subsys");
    /// Pointer from a controller's state to the cgroup.
    css_cgroup = Member("cgroup_subsys_state", "cgroup");
    /// Index of the memory controller among them.
    memory_controller = EnumValue("cgroup_subsys_id", "memory_cgrp_id");
    /// Pointer from the memory controller's own structure to the cgroup.
    memcg_cgroup = Member("mem_cgroup", "css", "cgroup");
    /// `MEMCG_HIGH` and `MEMCG_MAX` of `__memcg_memory_event`.
    memcg_high = EnumValue("memcg_memory_event", "MEMCG_HIGH");
    /// See [`Self::memcg_high`].
    memcg_max = EnumValue("memcg_memory_event", "MEMCG_MAX");
    /// What limits the allocation that found no memory.
    oom_constraint = Member("oom_control", "constraint");
    /// Pointer from a run queue to its task group.
    cfs_rq_group = Member("cfs_rq", "tg");
    /// Pointer from the cpu controller's own structure to the cgroup.
    task_group_cgroup = Member("task_group", "css", "cgroup");
    /// The timer of a task group's CPU quota.
    period_timer = Member("task_group", "cfs_bandwidth", "period_timer");
    /// Periods of the quota so far.
    nr_periods = Member("task_group", "cfs_bandwidth", "nr_periods");
    /// Those of them in which it was used up.
    nr_throttled = Member("task_group", "cfs_bandwidth", "nr_throttled");
    /// What a timer calls.
    hrtimer_function = Member("hrtimer", "function");
    /// Arguments of `tcp_v4_syn_recv_sock` (6, or 7 in late stable releases from 6.1 on).
    syn_recv_v4_arity = Arity("tcp_v4_syn_recv_sock");
    /// Arguments of `tcp_v6_syn_recv_sock`.
    syn_recv_v6_arity = Arity("tcp_v6_syn_recv_sock");
    /// Arguments of `__inet_hash_connect` (4, 5 from 6.18 on).
    hash_connect_arity = Arity("__inet_hash_connect");
    /// Arguments of the tracepoint `tcp_retransmit_skb` (2; 3 with the error, in 6.18).
    tp_retransmit_arity = TracepointArity("tcp_retransmit_skb");
    /// Arguments of the tracepoint `tcp_send_reset` (2; 3 with the reason, from 6.10 on).
    tp_send_reset_arity = TracepointArity("tcp_send_reset");
    /// Arguments of the tracepoint `kfree_skb` (2; 3 with the reason, from 5.17 on; 4 with the socket, from
    /// 6.11 on).
    tp_kfree_skb_arity = TracepointArity("kfree_skb");
    /// Arguments of the tracepoint `mm_vmscan_memcg_reclaim_begin` (2; 3 with the cgroup, in 7.x).
    tp_reclaim_arity = TracepointArity("mm_vmscan_memcg_reclaim_begin");
    /// Whether the tracepoint `mark_victim` is given the task rather than its pid.
    tp_mark_victim_task = TracepointPointer("mark_victim");
}

impl Offsets {
    /// The kernel has no such member or function.
    pub const ABSENT: u32 = u32::MAX;
}

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, one integer type only, so no padding; any bit pattern is valid.
unsafe impl aya::Pod for Offsets {}

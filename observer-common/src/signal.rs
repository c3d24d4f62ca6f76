//! The signals: things the kernel does that are counted.

/// What a signal is attributed to, and so which fields of a [`Key`](crate::Key) it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectKind {
    /// A listening socket: its own address and port.
    Listener,
    /// The remote address and port that a socket connects to.
    Destination,
    /// A process, known only where the hook runs in the process's own context.
    Process,
    /// A whole network namespace.
    Namespace,
    /// One end of a connection: the listener that accepted it, or the destination that it connects to; the
    /// namespace alone where the side is not known. See [`key_flags::ACCEPTED`](crate::key_flags::ACCEPTED).
    Peer,
    /// A cgroup of the cpu controller (its own hierarchy on cgroup v1).
    CpuCgroup,
    /// A cgroup of the memory controller (its own hierarchy on cgroup v1).
    MemoryCgroup,
    /// The whole host.
    Host,
}

/// Defines the enum, its names and its order in one place.
macro_rules! signals {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $kind:ident;)+) => {
        /// One thing the kernel does that is counted, cumulatively, per subject.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Signal { $($(#[doc = $doc])+ $variant,)+ }

        impl Signal {
            /// Every signal, in the order of its number: `ALL[s as usize] == s`.
            pub const ALL: &'static [Signal] = &[$(Signal::$variant,)+];

            /// The stable name used in recordings, JSON and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Signal::$variant => $name,)+ }
            }

            /// What this signal is attributed to when a probe counts it.
            pub const fn subject_kind(self) -> SubjectKind {
                match self { $(Signal::$variant => SubjectKind::$kind,)+ }
            }
        }
    };
}

signals! {
    /// A SYN reached a listener (`tcp_conn_request` was entered).
    SynArrival = "syn_arrival", Listener;
    /// A connection was established on the listening side (SYN_RECV -> ESTABLISHED); `peak` is the deepest accept queue
    /// that one was appended to, itself included.
    ConnectionAccepted = "connection_accepted", Listener;
    /// A connection of the listening side left ESTABLISHED and CLOSE_WAIT.
    AcceptedClosed = "accepted_closed", Listener;
    /// A process began to connect (CLOSE -> SYN_SENT).
    ConnectAttempt = "connect_attempt", Destination;
    /// A connection was established on the connecting side (SYN_SENT -> ESTABLISHED).
    ConnectionOpened = "connection_opened", Destination;
    /// A connection of the connecting side left ESTABLISHED and CLOSE_WAIT.
    OpenedClosed = "opened_closed", Destination;
    /// A SYN was dropped because the accept queue was full (`tcp_conn_request`).
    AcceptOverflowSyn = "accept_overflow_syn", Listener;
    /// A final ACK was dropped because the accept queue was full (`tcp_v{4,6}_syn_recv_sock`).
    AcceptOverflowAck = "accept_overflow_ack", Listener;
    /// The kernel's own count of both accept-queue overflows (TcpExt ListenOverflows).
    ListenOverflow = "listen_overflow", Namespace;
    /// The kernel's own count of SYNs and ACKs dropped at a listener (`sk_drops`; TcpExt ListenDrops).
    /// One overflow at the final ACK adds two to a listener's `sk_drops`.
    ListenDrop = "listen_drop", Listener;
    /// A SYN was dropped because the SYN queue was full and cookies were off (TcpExt TCPReqQFullDrop), or
    /// had reached the last quarter of tcp_max_syn_backlog, which only probes and ListenDrops see.
    SynQueueDrop = "syn_queue_drop", Listener;
    /// A SYN was answered with a cookie because the SYN queue was full (TcpExt TCPReqQFullDoCookies, which
    /// also counts those that a full accept queue then drops).
    SynCookie = "syn_cookie", Listener;
    /// A connect found no free local port (EADDRNOTAVAIL from the port search).
    PortSearchFailed = "port_search_failed", Destination;
    /// A bind to port 0 found no free local port (EADDRINUSE from the port search).
    BindExhausted = "bind_exhausted", Listener;
    /// A bind or listen on a fixed port found it taken (EADDRINUSE).
    BindCollision = "bind_collision", Listener;
    /// A process was refused a descriptor at its RLIMIT_NOFILE (EMFILE); `limit` is that limit.
    DescriptorLimit = "descriptor_limit", Process;
    /// A process was refused a file because the host's table was full (ENFILE).
    FileTableFull = "file_table_full", Process;
    /// A connection entered TIME_WAIT: at its destination on the connecting side, else in its namespace.
    TimeWaitEntered = "time_wait_entered", Destination;
    /// A socket left TIME_WAIT: after its time, because its port was reused, or with its namespace.
    TimeWaitExited = "time_wait_exited", Namespace;
    /// A connection was closed without TIME_WAIT because there were tcp_max_tw_buckets of them
    /// (TcpExt TCPTimeWaitOverflow).
    TimeWaitOverflow = "time_wait_overflow", Namespace;
    /// A packet was dropped because the connection tracking table was full.
    ConntrackDrop = "conntrack_drop", Namespace;
    /// Unassured entries were evicted from a full connection tracking table to make room. (A probe counts the
    /// searches that found some, the kernel's counter the entries.)
    ConntrackEarlyDrop = "conntrack_early_drop", Namespace;
    /// A SYN was sent again.
    RetransmitSyn = "retransmit_syn", Destination;
    /// A SYN-ACK was sent again.
    RetransmitSynAck = "retransmit_syn_ack", Listener;
    /// A segment was sent again because later ones were acknowledged (fast retransmit).
    RetransmitFast = "retransmit_fast", Peer;
    /// A segment was sent again because no acknowledgement came in time (RTO).
    RetransmitTimeout = "retransmit_timeout", Peer;
    /// The last segment was sent again to ask for an acknowledgement (tail loss probe).
    RetransmitProbe = "retransmit_probe", Peer;
    /// TCP segments sent, retransmitted ones left out (Tcp OutSegs): what loss is measured against.
    SegmentsSent = "segments_sent", Namespace;
    /// The kernel's own count of retransmitted segments (Tcp RetransSegs).
    SegmentsRetransmitted = "segments_retransmitted", Namespace;
    /// Of those, the ones that did not even leave this host (TcpExt TCPRetransFail).
    RetransmitFailed = "retransmit_failed", Namespace;
    /// A reset was sent on a connection, or (kernel's counter OutRsts) at all; with the reason where the
    /// kernel has one.
    ResetSent = "reset_sent", Peer;
    /// A reset arrived on a connection that was established.
    ResetReceived = "reset_received", Peer;
    /// A SYN to a port on which nobody listens was answered with a reset.
    SynRefused = "syn_refused", Listener;
    /// A connect was answered with a reset (ECONNREFUSED), or with an ICMP message (the reason is its error number).
    ConnectRefused = "connect_refused", Destination;
    /// A connect was given up by the kernel after its last SYN (ETIMEDOUT; another error number is the reason).
    ConnectTimedOut = "connect_timed_out", Destination;
    /// A connect was given up by its process after the SYN had been sent again at least once.
    ConnectAbandoned = "connect_abandoned", Destination;
    /// A process was killed because memory ran out; the process is the victim.
    OomKill = "oom_kill", MemoryCgroup;
    /// Memory had to be reclaimed because the cgroup was at memory.max (v1: limit_in_bytes).
    MemoryMax = "memory_max", MemoryCgroup;
    /// Memory had to be reclaimed because the cgroup was above memory.high.
    MemoryHigh = "memory_high", MemoryCgroup;
    /// A process had to reclaim memory of its own cgroup before it went on.
    MemoryReclaim = "memory_reclaim", MemoryCgroup;
    /// A CPU's run queue of a cgroup was stopped because the quota of the period was used up.
    CpuThrottle = "cpu_throttle", CpuCgroup;
    /// Periods of a cgroup's CPU quota in which some run queue was stopped (nr_throttled).
    CpuThrottledPeriods = "cpu_throttled_periods", CpuCgroup;
    /// Periods of a cgroup's CPU quota that have elapsed while it ran (nr_periods).
    CpuPeriods = "cpu_periods", CpuCgroup;
    /// Microseconds for which run queues of a cgroup were stopped, summed over CPUs.
    CpuThrottledTime = "cpu_throttled_us", CpuCgroup;
    /// A packet was dropped; with the reason where the kernel has one.
    PacketDropped = "packet_dropped", Namespace;
    /// A packet was dropped because a CPU's input backlog was full (softnet_stat, second column).
    SoftnetDrop = "softnet_drop", Host;
    /// Packet processing of a CPU ran out of budget or time (softnet_stat, third column).
    SoftnetSqueeze = "softnet_squeeze", Host;
    /// Microseconds in which some task waited for a CPU (PSI).
    CpuPressure = "cpu_pressure_us", Host;
    /// Microseconds in which some task waited for memory (PSI).
    MemoryPressure = "memory_pressure_us", Host;
    /// Microseconds in which some task waited for block I/O (PSI).
    IoPressure = "io_pressure_us", Host;
}

impl Signal {
    /// How many signals there are.
    pub const COUNT: usize = Self::ALL.len();

    /// What the probes tell the segments apart into that were sent again.
    pub const SENT_AGAIN: &'static [Signal] = &[
        Signal::RetransmitSyn,
        Signal::RetransmitSynAck,
        Signal::RetransmitFast,
        Signal::RetransmitTimeout,
        Signal::RetransmitProbe,
    ];

    /// Whether probes note when it happened last. What every connection does is counted without: reading the clock
    /// would cost as much as counting.
    pub const fn is_timed(self) -> bool {
        self.column().is_none()
    }

    /// The signal with this number, if there is one.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The signal with this name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|signal| signal.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::Signal;

    #[test]
    fn numbers_and_names_are_unique_and_round_trip() {
        for (number, signal) in Signal::ALL.iter().enumerate() {
            assert_eq!(*signal as usize, number);
            assert_eq!(Signal::from_number(number as u16), Some(*signal));
            assert_eq!(Signal::from_name(signal.name()), Some(*signal));
        }
        assert_eq!(Signal::from_number(Signal::COUNT as u16), None);
    }
}

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
    /// A connection was established on the listening side (SYN_RECV -> ESTABLISHED).
    ConnectionAccepted = "connection_accepted", Listener;
    /// A connection of the listening side left ESTABLISHED and CLOSE_WAIT.
    AcceptedClosed = "accepted_closed", Listener;
    /// A connection was appended to an accept queue; `peak` is the deepest queue seen at that moment.
    AcceptEnqueued = "accept_enqueued", Listener;
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
}

impl Signal {
    /// How many signals there are.
    pub const COUNT: usize = Self::ALL.len();

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

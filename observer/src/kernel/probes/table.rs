//! The table of probes, one slice per file of programs.

use observer_common::Signal as S;

use super::{
    Hook::{FEntry, FExit, KProbe, KRetProbe, TracePoint},
    Need, Probe,
    Wanted::{Beside, Instead, PreciseInstead, With, WithCommand},
};

/// Every family.
pub(super) const FAMILIES: &[&[Probe]] = &[
    LISTENER, TIME_WAIT, CONNECT, DESCRIPTOR, TREE, RETRANSMIT, RESET, CONNTRACK, OOM, MEMORY, THROTTLE, DROP,
];

const LISTENER: &[Probe] = &[
    Probe::new("syn_queued", FEntry("inet_csk_reqsk_queue_hash_add"), &[]),
    Probe::new("syn_cookie_v4", FEntry("cookie_v4_init_sequence"), &[]),
    Probe::new("syn_cookie_v6", FEntry("cookie_v6_init_sequence"), &[]),
    Probe::new("syn_fast_open", FEntry("inet_csk_reqsk_queue_add"), &[]),
    Probe::new("syn_arrival", FEntry("tcp_conn_request"), &[S::SynArrival]),
    Probe::new("syn_fate", FExit("tcp_conn_request"), &[S::AcceptOverflowSyn, S::SynQueueDrop, S::SynCookie])
        // Not with the IPv6 cookie's: a kernel may have IPv6 as a module, or not at all.
        .wanted(With(&["syn_queued", "syn_cookie_v4", "syn_fast_open", "syn_arrival"])),
    Probe::new("accept_overflow_v4", FExit("tcp_v4_syn_recv_sock"), &[S::AcceptOverflowAck]),
    Probe::new("accept_overflow_v6", FExit("tcp_v6_syn_recv_sock"), &[S::AcceptOverflowAck]),
    Probe::new("accept_overflow_v4_entry", KProbe("tcp_v4_syn_recv_sock"), &[])
        .wanted(Instead("accept_overflow_v4")),
    Probe::new("accept_overflow_v4_return", KRetProbe("tcp_v4_syn_recv_sock"), &[S::AcceptOverflowAck])
        .wanted(With(&["accept_overflow_v4_entry"])),
    Probe::new("accept_overflow_v6_entry", KProbe("tcp_v6_syn_recv_sock"), &[])
        .wanted(Instead("accept_overflow_v6")),
    Probe::new("accept_overflow_v6_return", KRetProbe("tcp_v6_syn_recv_sock"), &[S::AcceptOverflowAck])
        .wanted(With(&["accept_overflow_v6_entry"])),
];

const CONNECT: &[Probe] = &[
    Probe::new("port_search_failed", FExit("__inet_hash_connect"), &[S::PortSearchFailed]),
    Probe::new("bind_failed", FExit("inet_csk_get_port"), &[S::BindExhausted, S::BindCollision]),
    Probe::new("socket_state", TracePoint("inet_sock_set_state"), CONNECTIONS)
        .wanted(Beside("time_wait"))
        .or_fallback(&[S::PortSearchFailed]),
    Probe::new("socket_state_and_time_wait", TracePoint("inet_sock_set_state"), CONNECTIONS_AND_TIME_WAIT)
        .wanted(Instead("time_wait"))
        .or_fallback(&[S::PortSearchFailed]),
];

const CONNECTIONS: &[S] = CONNECTIONS_AND_TIME_WAIT.split_at(8).0;
const CONNECTIONS_AND_TIME_WAIT: &[S] = &[
    S::ConnectionAccepted,
    S::AcceptedClosed,
    S::ConnectAttempt,
    S::ConnectionOpened,
    S::OpenedClosed,
    S::ConnectRefused,
    S::ConnectTimedOut,
    S::ConnectAbandoned,
    S::TimeWaitEntered,
];

const DESCRIPTOR: &[Probe] = &[
    Probe::new("descriptor_limit", FExit("alloc_fd"), &[S::DescriptorLimit]),
    Probe::new("file_table_full", FExit("alloc_empty_file"), &[S::FileTableFull]),
    Probe::new("descriptor_limit_precise", TracePoint("sys_exit"), &[])
        .wanted(PreciseInstead("descriptor_limit"))
        .or_fallback(&[S::DescriptorLimit, S::FileTableFull]),
];

const TREE: &[Probe] = &[
    Probe::new("process_fork", TracePoint("sched_process_fork"), &[]).wanted(WithCommand),
    Probe::new("process_exit", TracePoint("sched_process_exit"), &[]).wanted(WithCommand),
];

const RETRANSMIT: &[Probe] = &[
    Probe::new(
        "retransmit",
        TracePoint("tcp_retransmit_skb"),
        &[S::RetransmitSyn, S::RetransmitFast, S::RetransmitTimeout, S::RetransmitProbe],
    ),
    Probe::new("retransmit_syn_ack", TracePoint("tcp_retransmit_synack"), &[S::RetransmitSynAck]),
];

const RESET: &[Probe] = &[
    Probe::new("reset_sent", TracePoint("tcp_send_reset"), &[S::ResetSent, S::SynRefused]).needs(
        Need::Arguments {
            given: |offsets| offsets.tp_send_reset_arity,
            at_least: 3,
            otherwise: "before 6.10 it gives no reason and leaves out resets without a socket",
        },
    ),
    Probe::new("reset_sent_by_socket", TracePoint("tcp_send_reset"), &[S::ResetSent])
        .wanted(Instead("reset_sent")),
    Probe::new("reset_sent_v4", FEntry("tcp_v4_send_reset"), &[S::ResetSent, S::SynRefused])
        .wanted(Instead("reset_sent")),
    Probe::new("reset_sent_v6", FEntry("tcp_v6_send_reset"), &[S::ResetSent, S::SynRefused])
        .wanted(Instead("reset_sent")),
    Probe::new("reset_received", TracePoint("tcp_receive_reset"), &[S::ResetReceived]),
];

const TIME_WAIT: &[Probe] = &[
    Probe::new("time_wait", FExit("inet_twsk_alloc"), &[S::TimeWaitEntered, S::TimeWaitOverflow]),
    Probe::new("time_wait_exited", FEntry("inet_twsk_kill"), &[S::TimeWaitExited]),
];

const CONNTRACK: &[Probe] = &[
    Probe::new("conntrack_full", FExit("early_drop"), &[S::ConntrackDrop, S::ConntrackEarlyDrop])
        .needs(Need::Conntrack),
    Probe::new("conntrack_full_entry", KProbe("early_drop"), &[])
        .wanted(Instead("conntrack_full"))
        .needs(Need::Conntrack),
    Probe::new("conntrack_full_return", KRetProbe("early_drop"), &[S::ConntrackDrop, S::ConntrackEarlyDrop])
        .wanted(With(&["conntrack_full_entry"])),
];

const OOM: &[Probe] = &[
    Probe::new("oom_constraint", FEntry("oom_kill_process"), &[]),
    Probe::new("oom_kill", TracePoint("mark_victim"), &[S::OomKill]),
];

const MEMORY: &[Probe] = &[
    Probe::new("memory_reclaim", TracePoint("mm_vmscan_memcg_reclaim_begin"), &[S::MemoryReclaim]),
    Probe::new("memory_event", FEntry("__memcg_memory_event"), &[S::MemoryMax, S::MemoryHigh]),
];

const THROTTLE: &[Probe] = &[
    Probe::new("cpu_throttle", FExit("throttle_cfs_rq"), &[S::CpuThrottle]),
    Probe::new("cpu_periods", TracePoint("hrtimer_expire_entry"), &[S::CpuPeriods, S::CpuThrottledPeriods])
        .wanted(Instead("cpu_throttle"))
        .needs(Need::PeriodTimer),
];

const DROP: &[Probe] =
    &[Probe::new("packet_dropped", TracePoint("kfree_skb"), &[S::PacketDropped]).needs(Need::Arguments {
        given: |offsets| offsets.tp_kfree_skb_arity,
        at_least: 3,
        otherwise: "before 5.17 it gives no reason",
    })];

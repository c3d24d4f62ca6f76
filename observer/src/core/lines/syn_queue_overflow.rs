//! A listener has too many half-open connections, and cookies are off.
//!
//! Kernel: `inet_csk_reqsk_queue_is_full` and `tcp_syn_flood_action` in `tcp_conn_request`. The SYN queue is
//! compared with the accept queue's limit; net.ipv4.tcp_max_syn_backlog matters only without cookies.

use observer_common::Signal;

use super::{Case, Exposure, Failure, FaultLine, Layer, in_namespace, number, port_filter};
use crate::core::{
    chain::{Edge, Mechanism},
    frame::Resource,
    verdict::{HitSubject, HitUsage, Kind},
};

pub struct SynQueueOverflow;

impl FaultLine for SynQueueOverflow {
    fn id(&self) -> &'static str {
        "syn_queue_overflow"
    }

    fn title(&self) -> &'static str {
        "SYN queue full"
    }

    fn kind(&self) -> Kind {
        Kind::Resource
    }

    fn layer(&self) -> Layer {
        Layer::Sockets
    }

    fn what(&self) -> &'static str {
        "A connection is half-open from its SYN to its final ACK. When a listener has more of them than its limit and \
         net.ipv4.tcp_syncookies is 0, the kernel drops new SYNs; with cookies it answers them without remembering \
         them, which costs TCP options but loses no one: that is strain, not a hit. The kernel's log says once per \
         listener `Possible SYN flooding on port`."
    }

    fn causes(&self) -> &'static [&'static str] {
        &[
            "clients that do not finish their handshakes: a flood, spoofed sources, lost SYN-ACKs or ACKs on the path",
            "a full accept queue: final ACKs are dropped, so requests stay half-open",
            "a small limit: the smaller of the backlog argument and net.core.somaxconn, and without cookies also \
             net.ipv4.tcp_max_syn_backlog",
        ]
    }

    fn failures(&self) -> &'static [Failure] {
        const FAILURES: &[Failure] = &[Failure::refused_connection(Signal::SynQueueDrop)];
        FAILURES
    }

    fn strain(&self) -> &'static [Signal] {
        &[Signal::SynCookie]
    }

    fn context(&self) -> &'static [Signal] {
        &[Signal::SynCookie, Signal::ListenDrop, Signal::SynArrival]
    }

    fn exposure(&self) -> Exposure {
        Exposure::Connections
    }

    fn resource(&self) -> Option<Resource> {
        Some(Resource::SynQueue)
    }

    fn caused_by(&self) -> &'static [Edge] {
        &[Edge {
            cause: "accept_queue_overflow",
            mechanism: Mechanism::SameListener,
            max_lag_ns: 60_000_000_000,
        }]
    }

    fn because(&self, case: &Case) -> String {
        let queue = match case.place.listener {
            Some(listener) => format!("the SYN queue of {listener} was full"),
            None => "a SYN queue was full".to_owned(),
        };
        let limit =
            case.usage.and_then(|usage| Some(format!(" (limit {})", usage.limit?))).unwrap_or_default();
        format!(
            "{queue}{limit}: {} SYNs were dropped because net.ipv4.tcp_syncookies is 0",
            number(case.count(Signal::SynQueueDrop) as f64)
        )
    }

    fn verify(&self, place: &HitSubject) -> Vec<String> {
        let filter = port_filter(place);
        vec![
            format!(
                "{}   # the half-open connections",
                in_namespace(place, &format!("ss -nt state syn-recv 'sport = {filter}' | wc -l"))
            ),
            in_namespace(
                place,
                "nstat -az TcpExtTCPReqQFullDrop TcpExtTCPReqQFullDoCookies TcpExtSyncookiesSent",
            ),
            "dmesg | grep 'SYN flooding'".into(),
        ]
    }

    fn remedy(&self, _place: &HitSubject, _usage: Option<&HitUsage>) -> Vec<String> {
        vec![
            "set net.ipv4.tcp_syncookies=1, the default: no SYN is dropped for want of room".into(),
            "raise the backlog argument of listen() together with net.core.somaxconn and \
             net.ipv4.tcp_max_syn_backlog (up to 65535); all three bound this queue"
                .into(),
            "look for lost SYN-ACKs: retransmits of the handshake, a firewall or conntrack on the way back"
                .into(),
        ]
    }
}

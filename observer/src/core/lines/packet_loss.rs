//! Segments have to be sent again.
//!
//! Kernel: `tcp_retransmit_skb` and `tcp_rtx_synack` (net/ipv4/tcp_output.c). A drop on the way out of this host is not
//! among them (TCPRetransFail).

use observer_common::Signal;

use super::{Case, Exposure, Failure, FaultLine, Layer, in_namespace, number};
use crate::core::{
    chain::{Edge, Mechanism},
    frame::Resource,
    ledger::{Increment, Ledger},
    verdict::{HitSubject, HitUsage, Kind},
};

/// The signals that tell a retransmission's kind.
const KINDS: &[Signal] =
    &[Signal::RetransmitSyn, Signal::RetransmitSynAck, Signal::RetransmitFast, Signal::RetransmitTimeout];

pub struct PacketLoss;

impl FaultLine for PacketLoss {
    fn id(&self) -> &'static str {
        "packet_loss"
    }

    fn title(&self) -> &'static str {
        "segments lost and sent again"
    }

    fn kind(&self) -> Kind {
        Kind::Symptom
    }

    fn layer(&self) -> Layer {
        Layer::Network
    }

    fn what(&self) -> &'static str {
        "More than one in a hundred TCP segments had to be sent again. A lost SYN costs its client 1, 3, 7 seconds, a \
         lost last segment of a reply 200 ms or more, and every loss halves the sending rate. It is a symptom: a full \
         queue or table on this host drops packets as well as a bad cable does, so whatever else was hit is looked at \
         first."
    }

    fn causes(&self) -> &'static [&'static str] {
        &[
            "a queue on the way overflows: switch, NIC ring, qdisc, virtual interface, the receiver's backlog",
            "a policer or rate limit (cloud instances have one on packets and one on bytes)",
            "a firewall or a full table that drops, an unstable link, a duplex mismatch",
        ]
    }

    fn failures(&self) -> &'static [Failure] {
        const FAILURES: &[Failure] = &[
            Failure::lost_handshake(Signal::RetransmitSyn),
            Failure::lost_handshake(Signal::RetransmitSynAck),
            Failure::lost_segment(Signal::RetransmitFast),
            Failure::lost_segment(Signal::RetransmitTimeout),
            Failure::lost_segment(Signal::SegmentsRetransmitted).instead_of(KINDS),
        ];
        FAILURES
    }

    fn context(&self) -> &'static [Signal] {
        &[Signal::RetransmitProbe, Signal::SegmentsSent, Signal::PacketDropped]
    }

    fn exposure(&self) -> Exposure {
        Exposure::Segments
    }

    /// Only connections that the load opens count: what an old connection to somewhere else loses is not the
    /// test's.
    fn is_failure(&self, ledger: &Ledger, increment: &Increment) -> bool {
        let at = &increment.subject;
        let began = |signals: &[Signal]| {
            signals.iter().any(|signal| ledger.in_run(*signal, at).is_some_and(|count| count > 0))
        };
        match increment.signal {
            Signal::RetransmitFast | Signal::RetransmitTimeout if at.listener.is_some() => {
                began(&[Signal::SynArrival, Signal::ConnectionAccepted])
            }
            Signal::RetransmitFast | Signal::RetransmitTimeout => began(&[Signal::ConnectAttempt]),
            _ => true,
        }
    }

    fn resource(&self) -> Option<Resource> {
        None
    }

    fn caused_by(&self) -> &'static [Edge] {
        const LAG_NS: u64 = 60_000_000_000;
        &[
            Edge { cause: "conntrack_full", mechanism: Mechanism::DroppedUntracked, max_lag_ns: LAG_NS },
            Edge {
                cause: "accept_queue_overflow",
                mechanism: Mechanism::HandshakesDropped,
                max_lag_ns: LAG_NS,
            },
            Edge { cause: "syn_queue_overflow", mechanism: Mechanism::HandshakesDropped, max_lag_ns: LAG_NS },
        ]
    }

    fn because(&self, case: &Case) -> String {
        let of = |signal, name: &str| {
            let count = case.count(signal);
            (count > 0).then(|| format!("{} {name}", number(count as f64)))
        };
        let kinds: Vec<String> = [
            of(Signal::RetransmitSyn, "SYNs"),
            of(Signal::RetransmitSynAck, "SYN-ACKs"),
            of(Signal::RetransmitFast, "after later ones had arrived"),
            of(Signal::RetransmitTimeout, "after a timeout"),
            of(Signal::SegmentsRetransmitted, "segments"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let share = case.count_in_namespace(Signal::SegmentsSent).filter(|sent| *sent > 0).map(|sent| {
            let again: u64 = KINDS.iter().map(|kind| case.count(*kind)).sum();
            let again = again.max(case.count(Signal::SegmentsRetransmitted));
            format!(", {:.1} % of the {} sent there", again as f64 / sent as f64 * 100.0, number(sent as f64))
        });
        let place = match (case.place.listener, case.place.destination) {
            (Some(listener), _) => format!(" from {listener}"),
            (None, Some(destination)) => format!(" to {destination}"),
            (None, None) => String::new(),
        };
        format!("segments{place} were lost and sent again: {}{}", kinds.join(", "), share.unwrap_or_default())
    }

    fn verify(&self, place: &HitSubject) -> Vec<String> {
        let peer = place.destination.map_or_else(|| "ADDRESS".to_owned(), |to| to.ip().to_string());
        vec![
            in_namespace(place, "nstat -az TcpRetransSegs TcpOutSegs TcpExtTCPSynRetrans TcpExtTCPTimeouts"),
            format!("{}   # retrans: per connection", in_namespace(place, "ss -ti")),
            format!("mtr -rw {peer}; ip -s link; nstat -az TcpExtTCPBacklogDrop   # where they get lost"),
        ]
    }

    fn remedy(&self, _place: &HitSubject, _usage: Option<&HitUsage>) -> Vec<String> {
        vec![
            "find the hop that drops: counters of interfaces (`ip -s link`, `ethtool -S`), qdiscs (`tc -s qdisc`), switches".into(),
            "stay below the instance's packet and bandwidth allowance, or take a larger one".into(),
            "once the drop is found and cannot be removed, BBR (net.ipv4.tcp_congestion_control=bbr) suffers less from it".into(),
        ]
    }
}

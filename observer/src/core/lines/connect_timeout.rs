//! Connects are never answered.
//!
//! Kernel: `tcp_write_timeout` and `tcp_write_err` (net/ipv4/tcp_timer.c) give up with ETIMEDOUT after
//! net.ipv4.tcp_syn_retries; most programs give up earlier and close the socket while it is in SYN_SENT.

use observer_common::Signal;

use super::{Case, Exposure, Failure, FaultLine, Layer, in_namespace, is_beside_the_load, number};
use crate::core::{
    chain::{Edge, Mechanism},
    frame::Resource,
    ledger::Ledger,
    subject::Subject,
    verdict::{HitSubject, HitUsage, Kind},
};

pub struct ConnectTimeout;

impl FaultLine for ConnectTimeout {
    fn id(&self) -> &'static str {
        "connect_timeout"
    }

    fn title(&self) -> &'static str {
        "connects timed out"
    }

    fn kind(&self) -> Kind {
        Kind::Symptom
    }

    fn layer(&self) -> Layer {
        Layer::Network
    }

    fn what(&self) -> &'static str {
        "A connect got no answer at all, although its SYN was sent again at least once: the kernel gave it up \
         (ETIMEDOUT, after about two minutes by default) or the program did, earlier. Something between the two drops \
         SYNs or SYN-ACKs without a word: a full accept queue, a full tracking table, a firewall, a lost route. Connects \
         given up within the first second are not counted: programs that try several addresses do that all the time."
    }

    fn causes(&self) -> &'static [&'static str] {
        &[
            "a full accept queue, SYN queue or connection tracking table at the other end",
            "a firewall or security group that drops instead of rejecting",
            "packet loss on the way, an address that nobody has",
        ]
    }

    fn failures(&self) -> &'static [Failure] {
        const FAILURES: &[Failure] = &[
            Failure::refused_connection(Signal::ConnectTimedOut),
            Failure::refused_connection(Signal::ConnectAbandoned),
        ];
        FAILURES
    }

    fn context(&self) -> &'static [Signal] {
        &[Signal::RetransmitSyn, Signal::ConnectAttempt, Signal::ConnectionOpened]
    }

    fn exposure(&self) -> Exposure {
        Exposure::Connections
    }

    fn stands(&self, ledger: &Ledger, subject: &Subject) -> bool {
        !is_beside_the_load(ledger, subject)
    }

    fn resource(&self) -> Option<Resource> {
        None
    }

    fn caused_by(&self) -> &'static [Edge] {
        const LAG_NS: u64 = 150_000_000_000;
        &[
            Edge { cause: "packet_loss", mechanism: Mechanism::SynsLost, max_lag_ns: LAG_NS },
            Edge {
                cause: "accept_queue_overflow",
                mechanism: Mechanism::HandshakesDropped,
                max_lag_ns: LAG_NS,
            },
            Edge { cause: "syn_queue_overflow", mechanism: Mechanism::HandshakesDropped, max_lag_ns: LAG_NS },
            Edge { cause: "conntrack_full", mechanism: Mechanism::DroppedUntracked, max_lag_ns: LAG_NS },
        ]
    }

    fn because(&self, case: &Case) -> String {
        let to = case
            .place
            .destination
            .map_or_else(|| "the destination".to_owned(), |destination| destination.to_string());
        let (by_kernel, by_program) =
            (case.count(Signal::ConnectTimedOut), case.count(Signal::ConnectAbandoned));
        let reasons = case.reasons(Signal::ConnectTimedOut);
        let reasons = reasons.map_or_else(String::new, |reasons| format!("; {reasons}"));
        format!(
            "{to} did not answer: {} connects timed out ({} given up by the kernel, {} by the program), {} SYNs were sent \
             again{reasons}",
            number((by_kernel + by_program) as f64),
            number(by_kernel as f64),
            number(by_program as f64),
            number(case.count(Signal::RetransmitSyn) as f64)
        )
    }

    fn verify(&self, place: &HitSubject) -> Vec<String> {
        let to = place
            .destination
            .map_or_else(|| "ADDRESS:PORT".to_owned(), |destination| destination.to_string());
        vec![
            format!(
                "{}   # connects that wait for an answer",
                in_namespace(place, &format!("ss -tno state syn-sent 'dst {to}'"))
            ),
            in_namespace(place, "nstat -az TcpExtTCPSynRetrans TcpExtTCPTimeouts TcpAttemptFails"),
        ]
    }

    fn remedy(&self, _place: &HitSubject, _usage: Option<&HitUsage>) -> Vec<String> {
        vec![
            "look at the other end's queues first: `ss -lnt`, `nstat TcpExtListenOverflows`, conntrack, firewall".into(),
            "check the way there: routes, security groups, `mtr -T -P PORT ADDRESS`".into(),
        ]
    }
}

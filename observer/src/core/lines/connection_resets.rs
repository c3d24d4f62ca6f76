//! Established connections are broken off.
//!
//! Kernel: `tcp_send_active_reset` (net/ipv4/tcp_output.c), `tcp_v4_send_reset` (net/ipv4/tcp_ipv4.c), `tcp_reset`
//! (net/ipv4/tcp_input.c); the reasons are `enum sk_rst_reason`, from 6.10 on.

use observer_common::Signal;

use super::{Case, Exposure, Failure, FaultLine, Layer, in_namespace, number, port_filter};
use crate::core::{
    chain::{Edge, Mechanism},
    frame::Resource,
    ledger::{Increment, Ledger},
    subject::Subject,
    verdict::{HitSubject, HitUsage, Kind},
};

pub struct ConnectionResets;

impl FaultLine for ConnectionResets {
    fn id(&self) -> &'static str {
        "connection_resets"
    }

    fn title(&self) -> &'static str {
        "connections reset"
    }

    fn kind(&self) -> Kind {
        Kind::Symptom
    }

    fn layer(&self) -> Layer {
        Layer::Network
    }

    fn what(&self) -> &'static str {
        "The serving side broke connections off with a reset: clients see ECONNRESET, `Connection reset by peer`. The \
         kernel sends one when a process closes a socket with unread data, when it dies, or when something arrives for \
         a connection that is no longer there. Resets that clients send (many tools close that way) are not counted."
    }

    fn causes(&self) -> &'static [&'static str] {
        &[
            "the service closes without reading the rest of the request: a size limit, an error path, a timeout",
            "the service closes an idle keep-alive connection just as the client sends the next request on it",
            "the service was killed or restarted",
            "net.ipv4.tcp_abort_on_overflow=1 and a full accept queue",
        ]
    }

    fn failures(&self) -> &'static [Failure] {
        const FAILURES: &[Failure] = &[
            Failure::broken_connection(Signal::ResetSent),
            Failure::broken_connection(Signal::ResetReceived),
        ];
        FAILURES
    }

    fn exposure(&self) -> Exposure {
        Exposure::Connections
    }

    /// Only what the accepting side does to the connecting one.
    fn is_failure(&self, _ledger: &Ledger, increment: &Increment) -> bool {
        match increment.signal {
            Signal::ResetSent => increment.subject.listener.is_some(),
            _ => increment.subject.destination.is_some(),
        }
    }

    /// Both ends of a connection may be on this host: the side that broke it off says more.
    fn stands(&self, ledger: &Ledger, subject: &Subject) -> bool {
        let Some((netns, listener)) = ledger.listener_behind(subject) else { return true };
        let sent = ledger.in_run(Signal::ResetSent, &Subject::listener(netns, listener));
        subject.listener.is_some() || sent.is_none_or(|count| count == 0)
    }

    fn resource(&self) -> Option<Resource> {
        None
    }

    fn caused_by(&self) -> &'static [Edge] {
        &[
            Edge { cause: "oom_kill", mechanism: Mechanism::VictimServed, max_lag_ns: 10_000_000_000 },
            Edge {
                cause: "accept_queue_overflow",
                mechanism: Mechanism::AbortOnOverflow,
                max_lag_ns: 60_000_000_000,
            },
        ]
    }

    fn because(&self, case: &Case) -> String {
        let reasons = case.reasons(Signal::ResetSent).or_else(|| case.reasons(Signal::ResetReceived));
        let reasons = reasons.map_or_else(String::new, |reasons| format!(" ({reasons})"));
        match (case.place.listener, case.place.destination) {
            (Some(listener), _) => format!(
                "{} broke off {} connections at {listener} with a reset{reasons}",
                case.who(),
                number(case.count(Signal::ResetSent) as f64)
            ),
            (None, Some(destination)) => format!(
                "{destination} broke off {} connections with a reset{reasons}",
                number(case.count(Signal::ResetReceived) as f64)
            ),
            (None, None) => "connections were broken off with a reset".to_owned(),
        }
    }

    fn verify(&self, place: &HitSubject) -> Vec<String> {
        let port = match (place.listener, place.destination) {
            (None, Some(destination)) => destination.port().to_string(),
            _ => port_filter(place).trim_start_matches(':').to_owned(),
        };
        vec![
            in_namespace(place, "nstat -az TcpOutRsts TcpEstabResets 'TcpExtTCPAbortOn*'"),
            in_namespace(
                place,
                &format!("tcpdump -ni any -c 20 'tcp[tcpflags] & tcp-rst != 0 and port {port}'"),
            ),
        ]
    }

    fn remedy(&self, _place: &HitSubject, _usage: Option<&HitUsage>) -> Vec<String> {
        vec![
            "TCP_ABORT_ON_CLOSE (closed with unread data): read the request to its end before answering an error; raise \
             body size limits and timeouts"
                .into(),
            "let the client's keep-alive timeout be shorter than the service's, along the whole chain of proxies".into(),
            "look whether the service died or was restarted: its log, `journalctl -u SERVICE`, oom_kill".into(),
        ]
    }
}

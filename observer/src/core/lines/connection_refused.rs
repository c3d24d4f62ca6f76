//! Connects are refused: nobody listens.
//!
//! Kernel: a SYN that finds no listener is answered with a reset (`tcp_v4_rcv`, net/ipv4/tcp_ipv4.c); the connecting
//! side then goes from SYN_SENT to CLOSE with ECONNREFUSED (`tcp_reset`, net/ipv4/tcp_input.c).

use observer_common::Signal;

use super::{Case, Exposure, Failure, FaultLine, Layer, in_namespace, is_beside_the_load, number};
use crate::core::{
    chain::{Edge, Mechanism},
    frame::Resource,
    ledger::Ledger,
    subject::Subject,
    verdict::{HitSubject, HitUsage, Kind},
};

pub struct ConnectionRefused;

impl FaultLine for ConnectionRefused {
    fn id(&self) -> &'static str {
        "connection_refused"
    }

    fn title(&self) -> &'static str {
        "connects refused"
    }

    fn kind(&self) -> Kind {
        Kind::Symptom
    }

    fn layer(&self) -> Layer {
        Layer::Network
    }

    fn what(&self) -> &'static str {
        "A connect was answered with a reset: ECONNREFUSED, `Connection refused`. It means that nobody listens on that \
         address and port (any more), or that a firewall rejects. An overflowing accept queue does not refuse: it stays \
         silent."
    }

    fn causes(&self) -> &'static [&'static str] {
        &[
            "the service is not running: crashed, killed, restarting, not yet started",
            "it listens on another address or port, or in another network namespace",
            "a firewall rule that rejects with a reset",
        ]
    }

    fn failures(&self) -> &'static [Failure] {
        const FAILURES: &[Failure] = &[
            Failure::refused_connection(Signal::ConnectRefused),
            Failure::refused_connection(Signal::SynRefused),
        ];
        FAILURES
    }

    fn context(&self) -> &'static [Signal] {
        &[Signal::ConnectAttempt, Signal::ConnectionOpened]
    }

    fn exposure(&self) -> Exposure {
        Exposure::Connections
    }

    fn stands(&self, ledger: &Ledger, subject: &Subject) -> bool {
        match (subject.listener, subject.destination) {
            // The one who was refused is on this host as well, and says more.
            (Some(address), _) => !ledger
                .of_signal(Signal::ConnectRefused)
                .any(|(other, series)| other.destination == Some(address) && series.in_run > 0),
            (None, Some(_)) => !is_fallback(ledger, subject) && !is_beside_the_load(ledger, subject),
            (None, None) => true,
        }
    }

    fn resource(&self) -> Option<Resource> {
        None
    }

    fn caused_by(&self) -> &'static [Edge] {
        &[Edge { cause: "oom_kill", mechanism: Mechanism::VictimServed, max_lag_ns: 60_000_000_000 }]
    }

    fn because(&self, case: &Case) -> String {
        let attempts = case.count(Signal::ConnectAttempt);
        let of_attempts =
            if attempts > 0 { format!(" of {}", number(attempts as f64)) } else { String::new() };
        match (case.place.destination, case.place.listener) {
            (Some(destination), _) => format!(
                "nobody listened on {destination}: {}{of_attempts} connects were refused (ECONNREFUSED)",
                number(case.count(Signal::ConnectRefused) as f64)
            ),
            (None, Some(address)) => format!(
                "nobody listened on {address}: {} SYNs were answered with a reset",
                number(case.count(Signal::SynRefused) as f64)
            ),
            (None, None) => "connects were refused".to_owned(),
        }
    }

    fn verify(&self, place: &HitSubject) -> Vec<String> {
        let address = place.destination.or(place.listener);
        let port = address.map_or_else(|| "PORT".to_owned(), |address| address.port().to_string());
        vec![
            format!(
                "{}   # nothing: nobody listens",
                in_namespace(place, &format!("ss -ltnp 'sport = :{port}'"))
            ),
            in_namespace(place, "nstat -az TcpAttemptFails TcpOutRsts"),
        ]
    }

    fn remedy(&self, _place: &HitSubject, _usage: Option<&HitUsage>) -> Vec<String> {
        vec![
            "see why the service is gone: `systemctl status SERVICE`, its log, `dmesg | grep -i killed`".into(),
            "check the address it listens on (127.0.0.1 is not reachable from elsewhere, nor from a container)".into(),
            "let the process manager restart it with a listening socket that stays open (systemd socket activation)".into(),
        ]
    }
}

/// A name such as `localhost` has two addresses: clients that are refused at one try the other, and nothing is
/// wrong.
fn is_fallback(ledger: &Ledger, refused: &Subject) -> bool {
    let Some(to) = refused.destination else { return false };
    let opened_here = ledger.in_run(Signal::ConnectionOpened, refused).is_some_and(|count| count > 0);
    let other_family = |other: &Subject| {
        other.netns == refused.netns
            && other.destination.is_some_and(|at| at.port() == to.port() && at.is_ipv4() != to.is_ipv4())
    };
    !opened_here
        && ledger
            .of_signal(Signal::ConnectionOpened)
            .any(|(other, series)| series.in_run > 0 && other_family(other))
}

//! Connects are refused: nobody listens.
//!
//! Kernel: a SYN that finds no listener is answered with a reset (`tcp_v4_rcv`, net/ipv4/tcp_ipv4.c); the connecting
//! side then goes from SYN_SENT to CLOSE with ECONNREFUSED (`tcp_reset`, net/ipv4/tcp_input.c). An ICMP message that
//! the destination cannot be reached does the same with an error of its own (`tcp_v4_err`, net/ipv4/tcp_ipv4.c).

use observer_common::Signal;

use super::{
    Case, Exposure, Failure, FaultLine, LOAD_SHARE, Layer, in_namespace, is_beside_the_load, number,
};
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
         address and port (any more), or that a firewall rejects. Or the answer was an ICMP message: EHOSTUNREACH, `No \
         route to host`, ENETUNREACH, EACCES; a firewall rejects, or a router knows no way there. An overflowing accept queue does not refuse: it stays \
         silent."
    }

    fn causes(&self) -> &'static [&'static str] {
        &[
            "the service is not running: crashed, killed, restarting, not yet started",
            "it listens on another address or port, or in another network namespace",
            "a firewall rule that rejects, with a reset or an ICMP message",
            "a router that knows no way to the address",
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
            (Some(_), _) => !says_less(ledger, subject) && !is_knocked_at(ledger, subject),
            (None, Some(_)) => !is_fallback(ledger, subject) && !is_beside_the_load(ledger, subject),
            // Where very many addresses are knocked at, the probe does not tell them apart: a scan.
            (None, None) => ledger.in_run(Signal::ConnectRefused, subject).is_some(),
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
            (Some(destination), _) => {
                let refused = case.count(Signal::ConnectRefused);
                let what = match unreachable(case) * 2 > refused {
                    true => format!("{destination} cannot be reached"),
                    false => format!("nobody listened on {destination}"),
                };
                let how =
                    match (case.reasons(Signal::ConnectRefused), refused - unreachable(case).min(refused)) {
                        (None, _) => "ECONNREFUSED".to_owned(),
                        (Some(reasons), 0) => reasons,
                        (Some(reasons), by_reset) => {
                            format!("ECONNREFUSED {}, {reasons}", number(by_reset as f64))
                        }
                    };
                format!("{what}: {}{of_attempts} connects were refused ({how})", number(refused as f64))
            }
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
            in_namespace(place, "nstat -az TcpAttemptFails TcpOutRsts IcmpInDestUnreachs"),
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

/// How many were told that the destination cannot be reached.
fn unreachable(case: &Case) -> u64 {
    let refused = case.evidence.iter().find(|evidence| evidence.signal == Signal::ConnectRefused);
    let reasons = refused.and_then(|evidence| evidence.reasons.as_ref());
    reasons.map_or(0, |reasons| reasons.values().sum())
}

/// Whether most of those who were refused here are on this host: they say more.
fn says_less(ledger: &Ledger, address: &Subject) -> bool {
    let refused = ledger.in_run(Signal::SynRefused, address).unwrap_or(0);
    let known_of = ledger.of_signal(Signal::ConnectRefused);
    let known_of = known_of.filter(|(other, _)| other.destination == address.listener);
    let known_of: u64 = known_of.map(|(_, series)| series.in_run).sum();
    known_of > 0 && known_of * 2 >= refused
}

/// Whether nobody ever listened here, and few SYNs came compared with the connections that others accept: a scanner,
/// a collector of metrics whose exporter does not run.
fn is_knocked_at(ledger: &Ledger, address: &Subject) -> bool {
    let listened = address
        .listener
        .zip(address.netns)
        .is_some_and(|(at, netns)| ledger.listeners.contains(&(netns, ledger.listener_of(netns, at))));
    let accepted = |probed: bool| {
        let counted = ledger.of_signal(Signal::ConnectionAccepted);
        let counted = counted.filter(|(_, series)| series.tier.is_probe() == probed);
        counted.map(|(_, series)| series.in_run).sum::<u64>()
    };
    let accepted = [true, false].map(accepted).into_iter().max().unwrap_or(0);
    let is_named = address.listener.is_some_and(|at| ledger.named_ports.contains(&at.port()));
    let refused = ledger.in_run(Signal::SynRefused, address).unwrap_or(0);
    !listened && !is_named && refused * LOAD_SHARE < accepted
}

/// A name such as `localhost` has two addresses: clients that are refused at one try the other, and nothing is
/// wrong.
fn is_fallback(ledger: &Ledger, refused: &Subject) -> bool {
    let Some(to) = refused.destination else { return false };
    let in_run = |signal, at: &Subject| ledger.in_run(signal, at).unwrap_or(0);
    if in_run(Signal::ConnectionOpened, refused) > 0 {
        return false;
    }
    let is_other = |other: &Subject| {
        other.netns == refused.netns
            && other.destination.is_some_and(|at| {
                at.port() == to.port()
                    && at.is_ipv4() != to.is_ipv4()
                    && at.ip().is_loopback() == to.ip().is_loopback()
            })
    };
    let at_others = |signal| {
        let counted = ledger.of_signal(signal).filter(|(other, _)| is_other(other));
        counted.map(|(_, series)| series.in_run).sum::<u64>()
    };
    let opened = at_others(Signal::ConnectionOpened);
    let tried = at_others(Signal::ConnectAttempt);
    // Whoever else has a connection to that port does not stand for those who were refused. Some of these may be about to
    // try the other address.
    opened > 0 && tried * 10 >= in_run(Signal::ConnectAttempt, refused) * 9
}

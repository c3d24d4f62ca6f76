//! No local port is left towards a destination, or for a bind to port 0.
//!
//! Kernel: `__inet_hash_connect` (net/ipv4/inet_hashtables.c), `inet_csk_find_open_port`
//! (net/ipv4/inet_connection_sock.c). A connect needs a free (source, port, destination, port), a bind a free
//! port.

use observer_common::Signal;

use super::{Case, Failure, FaultLine, Layer, in_namespace, number};
use crate::core::{
    frame::Resource,
    subject::Subject,
    verdict::{HitSubject, HitUsage, Kind},
};

pub struct PortExhaustion;

impl FaultLine for PortExhaustion {
    fn id(&self) -> &'static str {
        "port_exhaustion"
    }

    fn title(&self) -> &'static str {
        "no ephemeral port left"
    }

    fn kind(&self) -> Kind {
        Kind::Resource
    }

    fn layer(&self) -> Layer {
        Layer::Ports
    }

    fn what(&self) -> &'static str {
        "A connecting socket is given a local port from net.ipv4.ip_local_port_range. The limit holds per (source \
         address, destination address, destination port), and the side that closes first keeps its port in TIME_WAIT \
         for 60 s. With none left connect() fails with EADDRNOTAVAIL, `Cannot assign requested address`, and bind() to \
         port 0 with EADDRINUSE. A generator sees it directly; a gateway turns it into 502 or 504."
    }

    fn causes(&self) -> &'static [&'static str] {
        &[
            "a connection per request, opened faster than TIME_WAIT gives ports back: range / 60 s is the sustained rate",
            "many connections held open to one destination from one source address",
            "a narrow net.ipv4.ip_local_port_range, or reserved ports in it",
            "sockets bound before they connect (no IP_BIND_ADDRESS_NO_PORT), which take a port from all destinations",
        ]
    }

    fn failures(&self) -> &'static [Failure] {
        const FAILURES: &[Failure] =
            &[Failure::terminal(Signal::PortSearchFailed), Failure::terminal(Signal::BindExhausted)];
        FAILURES
    }

    fn context(&self) -> &'static [Signal] {
        &[Signal::ConnectAttempt, Signal::ConnectionOpened, Signal::TimeWaitEntered]
    }

    fn resource(&self) -> Option<Resource> {
        Some(Resource::EphemeralPorts)
    }

    fn because(&self, case: &Case) -> String {
        let range = match case.usage.and_then(|usage| usage.limit) {
            Some(limit) => format!(" ({} ports in net.ipv4.ip_local_port_range)", number(limit as f64)),
            None => String::new(),
        };
        match case.place.destination {
            Some(destination) => format!(
                "{} had no local port left towards {destination}{range}: {} connects failed with EADDRNOTAVAIL{}",
                case.who(),
                number(case.count(Signal::PortSearchFailed) as f64),
                churn(case).unwrap_or_default()
            ),
            None => format!(
                "{} found no free port to bind{range}: {} binds to port 0 failed with EADDRINUSE",
                case.who(),
                number(case.count(Signal::BindExhausted) as f64)
            ),
        }
    }

    fn verify(&self, place: &HitSubject) -> Vec<String> {
        let destination = place
            .destination
            .map_or_else(|| "ADDRESS:PORT".to_owned(), |destination| destination.to_string());
        vec![
            format!(
                "{}   # ports in use towards it, TIME_WAIT included",
                in_namespace(place, &format!("ss -Hnta 'dst {destination}' | wc -l"))
            ),
            in_namespace(
                place,
                "sysctl net.ipv4.ip_local_port_range net.ipv4.ip_local_reserved_ports net.ipv4.tcp_tw_reuse",
            ),
        ]
    }

    fn remedy(&self, _place: &HitSubject, _usage: Option<&HitUsage>) -> Vec<String> {
        vec![
            "keep connections alive and pool them (nginx upstream: `keepalive 128`): the one remedy that scales".into(),
            "widen net.ipv4.ip_local_port_range (for example `1024 65535`)".into(),
            "set net.ipv4.tcp_tw_reuse=1 on the side that connects: ports in TIME_WAIT become reusable after 1 s (its \
             default, 2, does so on loopback only)"
                .into(),
            "connect from more source addresses, or to more destination addresses or ports: the limit is per pair".into(),
        ]
    }
}

/// How many of the ports are merely waiting for their time to pass.
fn churn(case: &Case) -> Option<String> {
    let Subject { netns, destination, .. } = *case.subject;
    let of_destination = case.ledger.usages.iter().filter(|((resource, at), _)| {
        *resource == Resource::TimeWaitPorts && at.netns == netns && at.destination == destination
    });
    let waiting = of_destination.map(|(_, usage)| usage.peak.used).max().filter(|waiting| *waiting > 0)?;
    Some(format!("; {} of the ports were in TIME_WAIT", number(waiting as f64)))
}

//! A fixed local port is taken.
//!
//! Kernel: `inet_csk_get_port` (net/ipv4/inet_connection_sock.c), reached from bind() and from listen().

use observer_common::Signal;

use super::{Case, Failure, FaultLine, Layer, in_namespace, number};
use crate::core::{
    frame::Resource,
    verdict::{HitSubject, HitUsage, Kind},
};

pub struct PortCollision;

impl FaultLine for PortCollision {
    fn id(&self) -> &'static str {
        "port_collision"
    }

    fn title(&self) -> &'static str {
        "fixed port taken"
    }

    /// Programs that look for a free port meet it as a matter of course: first only if nothing else was.
    fn kind(&self) -> Kind {
        Kind::Symptom
    }

    fn layer(&self) -> Layer {
        Layer::Ports
    }

    fn what(&self) -> &'static str {
        "A process asked for a particular local port that another socket holds: bind() or listen() fails with \
         EADDRINUSE, `Address already in use`. The service does not start, or a generator's worker does not."
    }

    fn causes(&self) -> &'static [&'static str] {
        &[
            "another process listens on the port, often an earlier instance that has not ended",
            "the port lies in net.ipv4.ip_local_port_range and an outgoing connection was given it",
            "sockets of an earlier run in TIME_WAIT, and no SO_REUSEADDR",
        ]
    }

    fn failures(&self) -> &'static [Failure] {
        const FAILURES: &[Failure] = &[Failure::terminal(Signal::BindCollision)];
        FAILURES
    }

    fn resource(&self) -> Option<Resource> {
        None
    }

    /// Load does not cause it: a run that cannot see it is judged on the others.
    fn optional(&self) -> bool {
        true
    }

    fn because(&self, case: &Case) -> String {
        let port =
            case.place.listener.map_or_else(|| "its port".to_owned(), |at| format!("port {}", at.port()));
        format!(
            "{} could not have {port}: another socket holds it ({} failed with EADDRINUSE)",
            case.who(),
            number(case.count(Signal::BindCollision) as f64)
        )
    }

    fn verify(&self, place: &HitSubject) -> Vec<String> {
        let port = place.listener.map_or_else(|| "PORT".to_owned(), |at| at.port().to_string());
        vec![format!("{}   # who holds it", in_namespace(place, &format!("ss -tanp 'sport = :{port}'")))]
    }

    fn remedy(&self, place: &HitSubject, _usage: Option<&HitUsage>) -> Vec<String> {
        let port = place.listener.map_or_else(|| "PORT".to_owned(), |at| at.port().to_string());
        vec![
            "end the process that holds the port, or give one of the two another port".into(),
            format!("keep the port out of the ephemeral range: net.ipv4.ip_local_reserved_ports={port}"),
            "set SO_REUSEADDR before bind(), so that sockets in TIME_WAIT do not hold the port".into(),
        ]
    }
}

//! `/proc/PID/net/snmp`: the connections of a namespace, opened, accepted and standing, and its segments.
//!
//! It counts every TCP segment that arrives (InSegs), of IPv4 and IPv6 alike. While none does, no
//! listener can drop anything and no queue can grow, and the dearer sources do not read again. Where some do
//! anyway, it is read at every second tick, and whenever something was sent again: that is judged by how much was sent.

use observer_common::Signal;

use super::{
    Clock, Samples, Source, Window,
    error::{Problems, SourceError},
    text,
    world::{Namespace, World},
};
use crate::core::{frame::Resource, subject::Subject};

/// A namespace is quiet when no segment has arrived for this long. A segment is counted first and takes its
/// effect within microseconds, so what was read during this time has seen the effect of the last one.
const QUIET_NS: u64 = 1_000_000_000;

/// Reads the namespaces whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Snmp {
    buffer: Vec<u8>,
}

impl Source for Snmp {
    fn name(&self) -> &'static str {
        "snmp"
    }

    fn due(&self, _now_ns: u64, world: &World) -> bool {
        world.namespaces.iter().any(|namespace| namespace.due)
    }

    fn read(
        &mut self,
        world: &mut World,
        clock: Clock<'_>,
        out: &mut Samples<'_>,
    ) -> Result<(), SourceError> {
        let mut problems = Problems::default();
        for namespace in world.due_namespaces() {
            namespace.quiet = None;
            if !is_due(namespace) {
                continue;
            }
            let (window, text) = Window::around(clock, || namespace.read("snmp", &mut self.buffer));
            let Some(text) = problems.check(text) else { continue };
            let parsed =
                parse(text).map_err(|problem| SourceError::malformed(namespace.file("snmp"), problem));
            let Some(tcp) = problems.check(parsed) else { continue };
            let subject = Subject::namespace(namespace.id);
            out.signal(Signal::ConnectAttempt, &subject, tcp.opened, window);
            out.signal(Signal::ConnectionAccepted, &subject, tcp.accepted, window);
            out.signal(Signal::SegmentsSent, &subject, tcp.sent, window);
            out.signal(Signal::SegmentsRetransmitted, &subject, tcp.retransmitted, window);
            out.signal(Signal::ResetSent, &subject, tcp.resets, window);
            out.usage(Resource::Connections, &subject, tcp.established, None, window);
            // What is sent and never answered is traffic too.
            let sent = tcp.sent.saturating_add(tcp.retransmitted);
            if namespace.sent.replace(sent) != Some(sent) {
                namespace.active_ns = window.before_ns;
            }
            if namespace.arrived.replace(tcp.arrived) != Some(tcp.arrived) {
                namespace.active_ns = window.before_ns;
                namespace.arrival_ns = window.before_ns;
            }
            let quiet_ns = window.before_ns.saturating_sub(namespace.arrival_ns);
            namespace.quiet = (quiet_ns >= QUIET_NS).then_some(window);
        }
        problems.finish()
    }
}

/// Whether it is read at the namespace's turn.
const fn is_due(namespace: &Namespace) -> bool {
    namespace.rest_due || namespace.losing
}

/// What is of interest in section Tcp.
#[derive(Debug, PartialEq, Eq)]
struct Tcp {
    opened: u64,
    accepted: u64,
    established: u64,
    arrived: u64,
    sent: u64,
    retransmitted: u64,
    resets: u64,
}

/// Reads section Tcp.
fn parse(text: &str) -> Result<Tcp, String> {
    let columns = ["ActiveOpens", "PassiveOpens", "CurrEstab", "InSegs", "OutSegs", "RetransSegs", "OutRsts"];
    let [opened, accepted, established, arrived, sent, retransmitted, resets] =
        text::columns(text, "Tcp", columns)?;
    Ok(Tcp {
        opened: opened.ok_or("has no column ActiveOpens")?,
        accepted: accepted.ok_or("has no column PassiveOpens")?,
        established: established.ok_or("has no column CurrEstab")?,
        arrived: arrived.ok_or("has no column InSegs")?,
        sent: sent.ok_or("has no column OutSegs")?,
        retransmitted: retransmitted.ok_or("has no column RetransSegs")?,
        resets: resets.ok_or("has no column OutRsts")?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sources::world::counted_in;

    /// A column that is not asked for may be negative, as MaxConn is.
    const SNMP: &str = "Ip: Forwarding DefaultTTL\nIp: 2 64\n\
        Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts\n\
        Tcp: 1 200 120000 -1 300 200 4 5 17 1234 1300 26 0 9\nUdp: InDatagrams\nUdp: 9\n";

    #[test]
    fn connections_are_read() {
        let expected = Tcp {
            opened: 300,
            accepted: 200,
            established: 17,
            arrived: 1_234,
            sent: 1_300,
            retransmitted: 26,
            resets: 9,
        };
        assert_eq!(parse(SNMP), Ok(expected));
    }

    #[test]
    fn what_was_sent_is_read_when_something_was_sent_again() {
        let mut world = World::default();
        world.namespaces.push(Namespace::new(7, 1, true));
        world.namespaces[0].rest_due = false;
        let mut is_due_after = |signals: &[Signal]| {
            world.stir(2, &counted_in(7, signals));
            is_due(&world.namespaces[0])
        };
        assert!(is_due_after(&[Signal::ConnectAttempt, Signal::RetransmitSyn]));
        assert!(!is_due_after(&[Signal::ConnectAttempt]));
    }

    #[test]
    fn every_cut_of_the_values_is_an_error() {
        let end = SNMP.find("\nUdp").expect("the next section");
        for end in 0..=end {
            assert!(parse(&SNMP[..end]).is_err(), "{:?}", &SNMP[..end]);
        }
        assert!(parse(&SNMP[..end + 1]).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(Tcp:|[ A-Za-z0-9\n-]|\\PC){0,80}") {
            let _ = parse(&text);
        }
    }
}

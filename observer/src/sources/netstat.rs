//! `/proc/PID/net/netstat`: what the kernel dropped at the listeners of a namespace and at the end of its
//! connections, as one sum per namespace.
//!
//! It has hundreds of columns, which the kernel writes out anew for each read. What is dropped at a listener is counted there
//! as well (`tcp_listendrop` in include/net/tcp.h), so the file is read at once when that has moved, and otherwise at every
//! second tick.

use std::collections::HashMap;

use observer_common::Signal;

use super::{
    Clock, Samples, Source, Window,
    error::{Problems, SourceError},
    text,
    world::{Namespace, World},
};
use crate::core::subject::Subject;

/// While no segment arrives, the file is read this often. A connection whose end was only waited for may
/// still go into TIME_WAIT then, or fail to.
const QUIET_INTERVAL_NS: u64 = 350_000_000;

/// Columns of section TcpExt, and the signal that each one counts.
const COLUMNS: [(&str, Signal); 6] = [
    ("ListenOverflows", Signal::ListenOverflow),
    ("ListenDrops", Signal::ListenDrop),
    ("TCPReqQFullDrop", Signal::SynQueueDrop),
    ("TCPReqQFullDoCookies", Signal::SynCookie),
    ("TCPTimeWaitOverflow", Signal::TimeWaitOverflow),
    ("TCPRetransFail", Signal::RetransmitFailed),
];

/// Reads the namespaces whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Netstat {
    buffer: Vec<u8>,
    /// Per namespace, as it was read last.
    latest: HashMap<u32, Latest>,
}

/// What was read of a namespace, and when.
#[derive(Clone, Copy, Debug)]
struct Latest {
    values: [u64; COLUMNS.len()],
    window: Window,
}

impl Latest {
    /// Whether what it says of the listeners is still so, no segment having arrived until `quiet`.
    fn still_holds(&self, quiet: Window) -> bool {
        quiet.after_ns.saturating_sub(self.window.before_ns) < QUIET_INTERVAL_NS
    }
}

impl Source for Netstat {
    fn name(&self) -> &'static str {
        "netstat"
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
            if !is_due(namespace) {
                continue;
            }
            let known = self.latest.remove(&namespace.id);
            let quiet = namespace.quiet.filter(|_| !namespace.dropping);
            let unchanged = quiet.and_then(|quiet| Some((quiet, known?)));
            let subject = Subject::namespace(namespace.id);
            if let Some((quiet, known)) = unchanged.filter(|(quiet, known)| known.still_holds(*quiet)) {
                for ((_, signal), value) in COLUMNS.iter().zip(known.values) {
                    if !moves_in_quiet(*signal) {
                        out.signal(*signal, &subject, value, quiet);
                    }
                }
                self.latest.insert(namespace.id, known);
                continue;
            }
            let Some(read) = problems.check(self.read_file(namespace, clock)) else { continue };
            namespace.dropping = false;
            for ((_, signal), value) in COLUMNS.iter().zip(read.values) {
                out.signal(*signal, &subject, value, read.window);
                if *signal == Signal::ListenDrop {
                    namespace.dropped = Some(value);
                }
            }
            self.latest.insert(namespace.id, read);
        }
        self.latest.retain(|id, _| world.namespaces.iter().any(|namespace| namespace.id == *id));
        problems.finish()
    }
}

impl Netstat {
    /// Reads the file of one namespace.
    fn read_file(&mut self, namespace: &mut Namespace, clock: Clock<'_>) -> Result<Latest, SourceError> {
        let (window, text) = Window::around(clock, || namespace.read("netstat", &mut self.buffer));
        let malformed = |problem| SourceError::malformed(namespace.file("netstat"), problem);
        let values = parse(text?).map_err(malformed)?;
        Ok(Latest { values, window })
    }
}

/// Whether it may tell something new that is to be known at once. Without an answer of the listeners only this tells.
const fn is_due(namespace: &Namespace) -> bool {
    namespace.rest_due || namespace.dropping || namespace.diag.is_err()
}

/// Whether a signal may move while no segment arrives: with the timers of connections.
fn moves_in_quiet(signal: Signal) -> bool {
    matches!(signal, Signal::TimeWaitOverflow | Signal::RetransmitFailed)
}

/// The values of [`COLUMNS`], which every kernel from 4.x on has.
fn parse(text: &str) -> Result<[u64; COLUMNS.len()], String> {
    let found = text::columns(text, "TcpExt", COLUMNS.map(|(name, _)| name))?;
    let mut values = [0; COLUMNS.len()];
    for ((value, found), (name, _)) in values.iter_mut().zip(found).zip(COLUMNS) {
        *value = found.ok_or_else(|| format!("has no column {name}"))?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sources::{sock_diag::DiagSocket, world::Diag};

    #[test]
    fn it_may_wait_unless_a_listener_has_dropped_something_or_cannot_say() {
        let mut namespace = Namespace::new(7, 1, true);
        namespace.rest_due = false;
        assert!(is_due(&namespace), "no socket to ask the listeners is open");
        let open = || DiagSocket::open().expect("anybody may ask");
        namespace.diag = Ok(Diag { short: open(), long: None });
        assert!(!is_due(&namespace));
        namespace.dropping = true;
        assert!(is_due(&namespace));
        (namespace.dropping, namespace.rest_due) = (false, true);
        assert!(is_due(&namespace));
    }

    #[test]
    fn the_columns_are_found_wherever_they_stand() {
        let text = "TcpExt: TW ListenOverflows ListenDrops TCPTimeWaitOverflow TCPReqQFullDoCookies TCPRetransFail TCPReqQFullDrop\n\
             TcpExt: 50 20 21 40 3 7 15\nIpExt: InNoRoutes\nIpExt: 0\n";
        assert_eq!(parse(text), Ok([20, 21, 15, 3, 40, 7]));
    }

    #[test]
    fn a_missing_column_is_named() {
        let error = parse("TcpExt: ListenOverflows\nTcpExt: 1\n").expect_err("columns are missing");
        assert_eq!(error, "has no column ListenDrops");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            let _ = parse(&text);
        }
    }
}

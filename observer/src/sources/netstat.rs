//! `/proc/PID/net/netstat`: what the kernel dropped at the listeners of a namespace, as one sum per namespace.

use observer_common::Signal;

use super::{
    Clock, Samples, Source, Window,
    error::{Problems, SourceError},
    text,
    world::World,
};
use crate::core::subject::Subject;

/// Columns of section TcpExt, and the signal that each one counts.
const COLUMNS: [(&str, Signal); 4] = [
    ("ListenOverflows", Signal::ListenOverflow),
    ("ListenDrops", Signal::ListenDrop),
    ("TCPReqQFullDrop", Signal::SynQueueDrop),
    ("TCPReqQFullDoCookies", Signal::SynCookie),
];

/// Reads the namespaces whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Netstat {
    buffer: Vec<u8>,
}

impl Source for Netstat {
    fn name(&self) -> &'static str {
        "netstat"
    }

    fn due(&self, _now_ns: u64, world: &World) -> bool {
        world.namespaces.iter().any(|namespace| namespace.due)
    }

    fn read(&mut self, world: &mut World, clock: Clock<'_>, out: &mut Samples<'_>) -> Result<(), SourceError> {
        let mut problems = Problems::default();
        for namespace in world.due_namespaces() {
            let file = namespace.file("netstat");
            let (window, text) = Window::around(clock, || text::read(&file, &mut self.buffer));
            let Some(text) = problems.check(text) else { continue };
            let parsed = parse(text).map_err(|problem| SourceError::malformed(file, problem));
            let Some(values) = problems.check(parsed) else { continue };
            let subject = Subject::namespace(namespace.id);
            for ((_, signal), value) in COLUMNS.iter().zip(values) {
                if out.signal(*signal, &subject, value, window) {
                    namespace.active_ns = window.after_ns;
                }
            }
        }
        problems.finish()
    }
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

    #[test]
    fn the_columns_are_found_wherever_they_stand() {
        let text = "TcpExt: TW ListenOverflows ListenDrops TCPReqQFullDoCookies TCPReqQFullDrop\n\
                    TcpExt: 50 20 21 3 15\nIpExt: InNoRoutes\nIpExt: 0\n";
        assert_eq!(parse(text), Ok([20, 21, 15, 3]));
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

//! `/proc/PID/net/sockstat`: TIME_WAIT sockets of a namespace, and what TCP holds of the whole host.

use super::{
    Clock, Samples, Source, Window,
    error::{Problems, SourceError},
    text,
    world::{Namespace, World},
};
use crate::core::{frame::Resource, subject::Subject};

/// How often it is read: what it counts takes seconds to fill anything.
const INTERVAL_NS: u64 = 350_000_000;

/// Reads the namespaces whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Sockstat {
    buffer: Vec<u8>,
}

impl Source for Sockstat {
    fn name(&self) -> &'static str {
        "sockstat"
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
        let (host, everywhere) = (world.host, world.everywhere);
        for namespace in world.due_namespaces() {
            if !everywhere && !is_due(namespace) {
                continue;
            }
            let (window, text) = Window::around(clock, || namespace.read("sockstat", &mut self.buffer));
            namespace.sockstat_ns = Some(window.before_ns);
            let Some(text) = problems.check(text) else { continue };
            let parsed =
                parse(text).map_err(|problem| SourceError::malformed(namespace.file("sockstat"), problem));
            let Some(tcp) = problems.check(parsed) else { continue };
            let limit = namespace.sysctls.max_time_wait.map(|limit| (limit, "net.ipv4.tcp_max_tw_buckets"));
            out.usage(Resource::TimeWait, &Subject::namespace(namespace.id), tcp.time_wait, limit, window);
            // These two are sums over all namespaces, whichever one is asked.
            if namespace.own {
                let limit = host.max_orphans.map(|limit| (limit, "net.ipv4.tcp_max_orphans"));
                out.usage(Resource::Orphans, &Subject::HOST, tcp.orphans, limit, window);
                let limit = host.tcp_memory.map(|limit| (limit, "net.ipv4.tcp_mem"));
                out.usage(Resource::TcpMemory, &Subject::HOST, tcp.memory, limit, window);
            }
            let v6_in_use = match namespace.read("sockstat6", &mut self.buffer) {
                Ok(text) => {
                    let malformed = |problem| SourceError::malformed(namespace.file("sockstat6"), problem);
                    problems.check(parse_v6(text).map_err(malformed))
                }
                // A kernel without IPv6 has no such file.
                Err(error) => {
                    problems.note(error);
                    Some(0)
                }
            };
            namespace.tcp_sockets =
                v6_in_use.map(|v6| tcp.in_use.saturating_add(tcp.time_wait).saturating_add(v6));
            namespace.fewest_sockets = namespace.fewest_sockets.min(namespace.tcp_sockets.unwrap_or(0));
        }
        problems.finish()
    }
}

fn is_due(namespace: &Namespace) -> bool {
    namespace.sockstat_ns.is_none_or(|read_ns| namespace.read_ns.saturating_sub(read_ns) >= INTERVAL_NS)
}

/// What the line `TCP:` says.
#[derive(Debug, PartialEq, Eq)]
struct Tcp {
    /// Sockets of IPv4 in the namespace.
    in_use: u64,
    /// Sockets of the host that no process holds any more.
    orphans: u64,
    /// TIME_WAIT sockets of the namespace.
    time_wait: u64,
    /// Pages of the host.
    memory: u64,
}

/// Reads `sockstat`.
fn parse(text: &str) -> Result<Tcp, String> {
    let value = |key| value(text, "TCP:", key);
    Ok(Tcp {
        in_use: value("inuse")?,
        orphans: value("orphan")?,
        time_wait: value("tw")?,
        memory: value("mem")?,
    })
}

/// The sockets in use of `sockstat6`.
fn parse_v6(text: &str) -> Result<u64, String> {
    value(text, "TCP6:", "inuse")
}

/// The value that follows `key` on the line that begins with `prefix`.
fn value(text: &str, prefix: &str, key: &str) -> Result<u64, String> {
    let line = text.split_inclusive('\n').find_map(|line| line.strip_prefix(prefix));
    let line = line.ok_or_else(|| format!("has no line {prefix}"))?;
    let mut words = text::line(line)?.split_ascii_whitespace();
    while let (Some(name), value) = (words.next(), words.next()) {
        if name == key {
            let value = value.ok_or_else(|| format!("has no value of {prefix} {key}"))?;
            return text::number(value).map_err(|problem| format!("{prefix} {key}: {problem}"));
        }
    }
    Err(format!("has no value of {prefix} {key}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOCKSTAT: &str =
        "sockets: used 13\nTCP: inuse 7 orphan 2 tw 50 alloc 9 mem 49\nUDP: inuse 1 mem 0\nRAW: inuse 0\n";

    #[test]
    fn the_line_of_tcp_is_read() {
        assert_eq!(parse(SOCKSTAT), Ok(Tcp { in_use: 7, orphans: 2, time_wait: 50, memory: 49 }));
        assert_eq!(parse_v6("TCP6: inuse 3\nUDP6: inuse 1\n"), Ok(3));
    }

    #[test]
    fn every_cut_of_the_line_is_an_error() {
        let end = SOCKSTAT.find("\nUDP").expect("the next line");
        for end in 0..=end {
            assert!(parse(&SOCKSTAT[..end]).is_err(), "{:?}", &SOCKSTAT[..end]);
        }
        assert!(parse("TCP: inuse\n").is_err());
        assert!(parse("TCP: inuse x orphan 0 tw 0 alloc 1 mem 49\n").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(TCP:|[ a-z0-9\n]|\\PC){0,80}") {
            let _ = parse(&text);
        }
    }
}

//! The sysctls in force, of the host and of each network namespace.
//!
//! `/proc/sys/net` shows the namespace of the task that opens a file, so those of another namespace are
//! read during a visit.

use super::{
    Clock, Pace, Samples, Source, Window,
    error::{Problems, SourceError},
    namespaces::inside,
    text,
    world::{Namespace, Sysctls as Values, World},
};
use crate::core::frame::Fact;

/// How often each is read.
const INTERVAL_NS: u64 = 5_000_000_000;

/// Namespaces that are visited at one tick, at most.
const MOST_VISITS: usize = 4;

/// Sysctls that hold for the whole host. Those of `net` are shown in the initial namespace only.
const OF_HOST: [&str; 4] = ["fs.file-max", "fs.nr_open", "net.ipv4.tcp_mem", "net.ipv4.tcp_max_orphans"];

/// Sysctls that each network namespace has for itself.
const OF_NAMESPACE: [&str; 9] = [
    SOMAXCONN,
    PORT_RANGE,
    RESERVED_PORTS,
    MAX_TIME_WAIT,
    MAX_CONNTRACK,
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_abort_on_overflow",
];

const SOMAXCONN: &str = "net.core.somaxconn";
const PORT_RANGE: &str = "net.ipv4.ip_local_port_range";
const RESERVED_PORTS: &str = "net.ipv4.ip_local_reserved_ports";
const MAX_TIME_WAIT: &str = "net.ipv4.tcp_max_tw_buckets";
/// One limit for all namespaces, each of which has its own table; there is none before connections are
/// tracked.
pub(super) const MAX_CONNTRACK: &str = "net.netfilter.nf_conntrack_max";

/// A sysctl as it was read.
type Read = Result<String, SourceError>;

/// Reads all of them every five seconds, and those of a new namespace at once.
#[derive(Debug)]
pub(super) struct Sysctls {
    host: Pace,
}

impl Default for Sysctls {
    fn default() -> Self {
        Self { host: Pace::every_ms(INTERVAL_NS / 1_000_000) }
    }
}

impl Source for Sysctls {
    fn name(&self) -> &'static str {
        "sysctls"
    }

    fn due(&self, now_ns: u64, world: &World) -> bool {
        self.host.is_due(now_ns) || world.namespaces.iter().any(|namespace| is_due(namespace, now_ns))
    }

    fn read(
        &mut self,
        world: &mut World,
        clock: Clock<'_>,
        out: &mut Samples<'_>,
    ) -> Result<(), SourceError> {
        let mut problems = Problems::default();
        let now_ns = clock();
        if self.host.is_due(now_ns) {
            self.host.ran(now_ns);
            for name in OF_HOST {
                let Some(value) = problems.check(read(name)) else { continue };
                let number = |text: &str| problems_of(name, text::number(text));
                match name {
                    "net.ipv4.tcp_max_orphans" => world.host.max_orphans = problems.check(number(&value)),
                    "net.ipv4.tcp_mem" => {
                        let upper = value.split_ascii_whitespace().nth(2).unwrap_or_default();
                        world.host.tcp_memory = problems.check(number(upper));
                    }
                    _ => {}
                }
                out.fact(Fact::Limit { name: name.into(), value, place: "host".into() });
            }
        }
        let due = world.namespaces.iter_mut().filter(|namespace| is_due(namespace, now_ns));
        for namespace in due.take(MOST_VISITS) {
            let read_all = || OF_NAMESPACE.map(read);
            // The time of the read is noted even if it fails: a refused visit is not repeated at every tick.
            let (window, values) = Window::around(clock, || match namespace.own {
                true => Ok(read_all()),
                false => inside(namespace.id, namespace.pid, read_all),
            });
            namespace.sysctls.read_ns = window.after_ns.max(1);
            let Some(values) = problems.check(values) else { continue };
            let place = format!("netns {}", namespace.id);
            for (name, value) in OF_NAMESPACE.into_iter().zip(values) {
                let Some(value) = problems.check(value) else { continue };
                problems.check(problems_of(name, note(name, &value, &mut namespace.sysctls)));
                out.fact(Fact::Limit { name: name.into(), value, place: place.clone() });
            }
        }
        problems.finish()
    }
}

/// Whether the sysctls of a namespace are to be read.
pub(super) fn is_due(namespace: &Namespace, now_ns: u64) -> bool {
    let read_ns = namespace.sysctls.read_ns;
    namespace.due && (read_ns == 0 || now_ns.saturating_sub(read_ns) >= INTERVAL_NS)
}

/// Reads a sysctl as the calling thread sees it.
fn read(name: &str) -> Read {
    let file = path(name);
    let mut buffer = Vec::new();
    let text = text::read(&file, &mut buffer)?;
    let line = text::line(text).map_err(|problem| SourceError::malformed(file.as_str(), problem))?;
    Ok(line.split_ascii_whitespace().collect::<Vec<_>>().join(" "))
}

/// The file of a sysctl.
fn path(name: &str) -> String {
    format!("/proc/sys/{}", name.replace('.', "/"))
}

/// Names the file in what is wrong with its text.
fn problems_of<T>(name: &str, result: Result<T, String>) -> Result<T, SourceError> {
    result.map_err(|problem| SourceError::malformed(path(name), problem))
}

/// Keeps the number that gives a usage its limit.
fn note(name: &str, value: &str, sysctls: &mut Values) -> Result<(), String> {
    match name {
        SOMAXCONN => sysctls.somaxconn = Some(text::number(value)?),
        MAX_TIME_WAIT => sysctls.max_time_wait = Some(text::number(value)?),
        MAX_CONNTRACK => sysctls.max_conntrack = Some(text::number(value)?),
        PORT_RANGE => {
            let range = parse_range(value)?;
            sysctls.port_range = Some(range);
            sysctls.free_ports = Some(free_ports(range, &[]));
        }
        RESERVED_PORTS => {
            let reserved = parse_reserved(value)?;
            sysctls.free_ports = sysctls.port_range.map(|range| free_ports(range, &reserved));
        }
        _ => {}
    }
    Ok(())
}

/// Two ports, the lower one first.
fn parse_range(text: &str) -> Result<(u16, u16), String> {
    let mut words = text.split_ascii_whitespace();
    let (Some(low), Some(high), None) = (words.next(), words.next(), words.next()) else {
        return Err(format!("`{}` is not a range of ports", text::shorten(text)));
    };
    let (low, high) = (parse_port(low)?, parse_port(high)?);
    if low > high {
        Err(format!("`{}` is not a range of ports", text::shorten(text)))
    } else {
        Ok((low, high))
    }
}

/// A list of ports and ranges, such as `8080,9000-9010`; blank if there are none.
fn parse_reserved(text: &str) -> Result<Vec<(u16, u16)>, String> {
    text.trim()
        .split(',')
        .filter(|item| !item.is_empty())
        .map(|item| match item.split_once('-') {
            Some((low, high)) => Ok((parse_port(low)?, parse_port(high)?)),
            None => parse_port(item).map(|port| (port, port)),
        })
        .collect()
}

fn parse_port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("`{}` is not a port", text::shorten(text)))
}

/// The ports of a range that are not reserved. The kernel keeps the reserved ones as a set, so they are
/// printed in order and never overlap.
fn free_ports((low, high): (u16, u16), reserved: &[(u16, u16)]) -> u64 {
    let size = u64::from(high - low) + 1;
    let taken: u64 = reserved
        .iter()
        .map(|(from, to)| (u64::from(*to.min(&high)) + 1).saturating_sub(u64::from(*from.max(&low))))
        .sum();
    size.saturating_sub(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reserved_ports_inside_the_range_are_not_free() {
        let range = parse_range("32768 60999").expect("the default");
        assert_eq!(free_ports(range, &parse_reserved("").expect("none")), 28_232);
        let reserved = parse_reserved("80,32760-32769,40000,60990-65535").expect("a list");
        assert_eq!(free_ports(range, &reserved), 28_232 - 2 - 1 - 10);
        assert_eq!(free_ports((0, u16::MAX), &[(0, u16::MAX)]), 0);
    }

    #[test]
    fn damaged_lists_are_errors() {
        for text in ["32768", "60999 32768", "1 2 3", "a b", "1 65536"] {
            assert!(parse_range(text).is_err(), "{text}");
        }
        for text in ["8080,x", "1-", "-1", "70000"] {
            assert!(parse_reserved(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_visit_sees_the_sysctls_of_the_host() {
        assert!(read("net.core.somaxconn").is_ok_and(|value| text::number(&value).is_ok()));
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in "([0-9, -]|\\PC){0,40}") {
            if let (Ok(range), Ok(reserved)) = (parse_range(&text), parse_reserved("1-70,80")) {
                let _ = free_ports(range, &reserved);
            }
            let _ = parse_reserved(&text);
        }

        #[test]
        fn no_list_makes_more_ports(low in any::<u16>(), more in any::<u16>(), reserved in proptest::collection::vec(any::<(u16, u16)>(), 0..8)) {
            let high = low.saturating_add(more);
            prop_assert!(free_ports((low, high), &reserved) <= u64::from(high - low) + 1);
        }
    }
}

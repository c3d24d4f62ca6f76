//! Half-open requests per listener, through sock_diag.
//!
//! The kernel keeps them in the table of all connections, so asking for them walks that whole table, and
//! how often that happens follows from how long it takes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::{
    Clock, Pace, Samples, Source, Stopwatch, Window,
    error::SourceError,
    inet_diag::{Query, states},
    sock_diag::Datagram,
    world::{Listener, Namespace, World},
};
use crate::core::{frame::Resource, subject::Subject};

/// Walks take at most one in this many of the time,
const SHARE: u64 = 8_000;
/// and this when a queue is filling: one in [`FILLING`] of its limit waits.
const SHARE_FILLING: u64 = 500;
const FILLING: u64 = 16;

/// Reads the namespaces that have listeners, one at a time.
#[derive(Debug)]
pub(super) struct SynQueues {
    pace: Pace,
    datagram: Datagram,
    /// Requests per own address, as the dump shows them.
    requests: BTreeMap<SocketAddr, u64>,
    /// Where the turn is.
    latest: usize,
    /// Namespaces that had no request while they were quiet, and when a segment had arrived there last.
    empty: BTreeMap<u32, u64>,
    /// Namespaces where a queue was filling at the latest walk.
    filling: BTreeSet<u32>,
}

impl Default for SynQueues {
    fn default() -> Self {
        let pace = Pace::every_ms(100).at_most_one_in(SHARE);
        Self {
            pace,
            datagram: Datagram::default(),
            requests: BTreeMap::new(),
            latest: 0,
            empty: BTreeMap::new(),
            filling: BTreeSet::new(),
        }
    }
}

impl Source for SynQueues {
    fn name(&self) -> &'static str {
        "syn_queues"
    }

    fn due(&self, now_ns: u64, world: &World) -> bool {
        self.pace.is_due(now_ns) && world.namespaces.iter().any(|namespace| self.is_worth_it(namespace))
    }

    fn read(
        &mut self,
        world: &mut World,
        clock: Clock<'_>,
        out: &mut Samples<'_>,
    ) -> Result<(), SourceError> {
        let count = world.namespaces.len();
        let next = (1..=count)
            .map(|step| (self.latest + step) % count)
            .find(|at| world.namespaces.get(*at).is_some_and(|namespace| self.is_worth_it(namespace)));
        let Some(namespace) = next.and_then(|at| world.namespaces.get_mut(at)) else { return Ok(()) };
        self.latest = next.unwrap_or(0);
        let watch = Stopwatch::start(clock);
        let (window, outcome) = Window::around(clock, || self.dump(namespace));
        let cost = watch.cost(clock);
        if let Err(error) = outcome {
            namespace.diag = Err(error.to_string());
            self.pace.ran_at(window.before_ns, cost);
            return Err(error);
        }
        let requests = assign(&self.requests, &namespace.listeners);
        self.filling.remove(&namespace.id);
        for (address, listener) in &namespace.listeners {
            let subject = Subject { cgroup: listener.cgroup, ..Subject::listener(namespace.id, *address) };
            let used = requests.get(address).copied().unwrap_or(0);
            let by = listener.limit_set_by(namespace.sysctls.somaxconn);
            if used.saturating_mul(FILLING) > listener.backlog {
                self.filling.insert(namespace.id);
            }
            out.usage(Resource::SynQueue, &subject, used, Some((listener.backlog, by)), window);
        }
        if requests.is_empty() && namespace.quiet.is_some() {
            self.empty.insert(namespace.id, namespace.arrival_ns);
        } else {
            self.empty.remove(&namespace.id);
        }
        self.filling.retain(|id| world.namespaces.iter().any(|namespace| namespace.id == *id));
        self.pace.set_share(if self.filling.is_empty() { SHARE } else { SHARE_FILLING });
        self.pace.ran_at(window.before_ns, cost);
        Ok(())
    }
}

impl SynQueues {
    /// Whether a namespace may have requests: without a segment none come to where there were none.
    fn is_worth_it(&self, namespace: &Namespace) -> bool {
        let still_empty = self.empty.get(&namespace.id) == Some(&namespace.arrival_ns);
        !namespace.listeners.is_empty() && namespace.diag.is_ok() && !still_empty
    }

    /// Counts the requests of a namespace.
    fn dump(&mut self, namespace: &mut Namespace) -> Result<(), SourceError> {
        self.requests.clear();
        let Namespace { id, diag: Ok(diag), .. } = namespace else { return Ok(()) };
        let query = Query { states: states::SYN_RECV, with_drops: false, own_port: None };
        let requests = &mut self.requests;
        diag.short
            .dump(query, &mut self.datagram, &mut |entry| *requests.entry(entry.own).or_default() += 1)
            .map_err(|error| SourceError::SockDiag { netns: *id, problem: error.to_string() })
    }
}

/// Gives each request to the listener that the kernel would choose: of the same address, else of any address
/// of its family, else of any IPv6 address, which takes IPv4 too.
fn assign(
    requests: &BTreeMap<SocketAddr, u64>,
    listeners: &BTreeMap<SocketAddr, Listener>,
) -> BTreeMap<SocketAddr, u64> {
    let mut assigned = BTreeMap::new();
    for (own, count) in requests {
        let any = match own.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let candidates = [own.ip(), any, IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let listener = candidates
            .into_iter()
            .map(|address| SocketAddr::new(address, own.port()))
            .find(|address| listeners.contains_key(address));
        if let Some(listener) = listener {
            *assigned.entry(listener).or_default() += count;
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_request_belongs_to_the_most_specific_listener() {
        let listeners = ["10.0.0.1:80", "0.0.0.0:80", "[::]:80", "[::]:443"];
        let listeners = listeners.map(|text| (address(text), Listener::default())).into();
        let requests = [
            ("10.0.0.1:80", 3),
            ("10.0.0.2:80", 4),
            ("[fd00::1]:80", 5),
            ("10.0.0.1:443", 6),
            ("10.0.0.1:22", 7),
        ];
        let requests = requests.map(|(text, count)| (address(text), count)).into();
        let assigned = assign(&requests, &listeners);
        let expected = [("10.0.0.1:80", 3), ("0.0.0.0:80", 4), ("[::]:80", 5), ("[::]:443", 6)];
        assert_eq!(assigned, expected.map(|(text, count)| (address(text), count)).into());
    }
}

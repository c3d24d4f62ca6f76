//! Local ports in use towards each destination, through sock_diag.
//!
//! What runs out is the pairs of a port with one (source, destination, destination port), TIME_WAIT included.
//! A dump of every socket takes long where there are many, so it is received over as many ticks as it needs,
//! a little at each; rests follow that keep its share of the time low; and where `sockstat` shows few sockets
//! it is left out.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    net::{IpAddr, SocketAddr},
};

use super::{
    Clock, Pace, Samples, Source, Stopwatch, Window,
    error::{Problems, SourceError},
    inet_diag::{Entry, Progress, Query, states},
    pace::Cost,
    sock_diag::{Datagram, DiagError, DiagSocket},
    world::{Namespace, World},
};
use crate::core::{frame::Resource, subject::Subject};

/// What is still far from the end, as one in so many of a range.
const FAR: u64 = 16;
/// Receiving takes at most this long per tick.
const BUDGET_NS: u64 = 2_000_000;
/// Destinations that are told even if they use less than one in [`SMALL_SHARE`] of the range.
const TOP: usize = 20;
/// A destination that uses at least one in this many of the range is always told.
const SMALL_SHARE: u64 = 100;
/// Destinations that are told at all.
const MOST: usize = 200;
/// Fewer sockets than this are not worth a dump.
const HARDLY_ANY: u64 = 64;

/// Own address and destination of the connecting side.
type Pair = (IpAddr, SocketAddr);

/// One namespace after the other, then a rest.
#[derive(Debug)]
pub(super) struct Ports {
    pace: Pace,
    /// When there are many more sockets than at the latest dump.
    grown: Pace,
    datagram: Datagram,
    started_ns: u64,
    cost: Cost,
    waiting: VecDeque<u32>,
    dump: Option<Dump>,
    /// What the destination of this round that uses most of a range allows until the next.
    shares: Shares,
    told: HashMap<u32, HashSet<Pair>>,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            pace: Pace::every_ms(1_000),
            grown: Pace::every_ms(1_000).at_most_one_in(Shares::FAR.growing),
            datagram: Datagram::default(),
            started_ns: 0,
            cost: Cost::default(),
            waiting: VecDeque::new(),
            dump: None,
            shares: Shares::FAR,
            told: HashMap::new(),
        }
    }
}

/// A dump that is under way.
#[derive(Debug)]
struct Dump {
    netns: u32,
    /// Taken from the namespace, so that nobody else can ask or replace it meanwhile.
    socket: DiagSocket,
    before_ns: u64,
    range: (u16, u16),
    limit: u64,
    /// Ports of listeners, whose connections are of the accepting side.
    accepting: BTreeSet<u16>,
    /// Whether the answer is under way.
    asked: bool,
    in_use: HashMap<Pair, InUse>,
}

/// Ports of one pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct InUse {
    all: u64,
    /// Those that only wait for TIME_WAIT to pass.
    time_wait: u64,
}

impl Source for Ports {
    fn name(&self) -> &'static str {
        "ports"
    }

    fn due(&self, now_ns: u64, world: &World) -> bool {
        let has_grown = || world.namespaces.iter().any(|namespace| self.has_grown(namespace));
        self.is_under_way() || self.pace.is_due(now_ns) || (self.grown.is_due(now_ns) && has_grown())
    }

    fn read(
        &mut self,
        world: &mut World,
        clock: Clock<'_>,
        out: &mut Samples<'_>,
    ) -> Result<(), SourceError> {
        let mut problems = Problems::default();
        let watch = Stopwatch::start(clock);
        let began_ns = watch.started_ns();
        if !self.is_under_way() {
            (self.started_ns, self.cost, self.shares) = (began_ns, Cost::default(), Shares::FAR);
            self.told.retain(|id, _| world.namespaces.iter().any(|namespace| namespace.id == *id));
            self.waiting = world.namespaces.iter().filter(|n| self.is_worth_it(n)).map(|n| n.id).collect();
        }
        while clock().saturating_sub(began_ns) < BUDGET_NS {
            let Some(mut dump) = self.dump.take().or_else(|| self.next(world, clock)) else { break };
            let Some(namespace) = world.namespaces.iter_mut().find(|n| n.id == dump.netns) else { continue };
            match dump.advance(&mut self.datagram) {
                Ok(Progress::More) => self.dump = Some(dump),
                Ok(Progress::Done) => {
                    let socket = self.tell(dump, clock(), out);
                    if let Ok(diag) = &mut namespace.diag {
                        diag.long = Some(socket);
                    }
                }
                Err(error) => {
                    let problem = error.to_string();
                    namespace.diag = Err(problem.clone());
                    problems.note(SourceError::SockDiag { netns: dump.netns, problem });
                }
            }
        }
        self.cost = self.cost.and(watch.cost(clock));
        if !self.is_under_way() {
            self.pace.set_share(self.shares.standing);
            self.pace.ran_at(self.started_ns, self.cost);
            self.grown.set_share(self.shares.growing);
            self.grown.ran_at(self.started_ns, self.cost);
        }
        problems.finish()
    }
}

impl Ports {
    fn is_under_way(&self) -> bool {
        self.dump.is_some() || !self.waiting.is_empty()
    }

    /// Whether a namespace may hold enough sockets to tell of, or did at the last dump.
    fn is_worth_it(&self, namespace: &Namespace) -> bool {
        let Some(ports) = namespace.sysctls.free_ports else { return false };
        namespace.tcp_sockets.is_none_or(|sockets| sockets >= HARDLY_ANY.max(ports / SMALL_SHARE))
            || self.told.get(&namespace.id).is_some_and(|told| !told.is_empty())
    }

    /// Whether a namespace holds so many sockets more than it did at some time since its latest dump that a destination may
    /// have come close to the end of its range.
    fn has_grown(&self, namespace: &Namespace) -> bool {
        let grown = namespace.tcp_sockets.unwrap_or(0).saturating_sub(namespace.fewest_sockets);
        namespace.sysctls.free_ports.is_some_and(|ports| grown > ports / FAR) && self.is_worth_it(namespace)
    }

    /// Begins with the next namespace.
    fn next(&mut self, world: &mut World, clock: Clock<'_>) -> Option<Dump> {
        while let Some(id) = self.waiting.pop_front() {
            let Some(namespace) = world.namespaces.iter_mut().find(|n| n.id == id) else { continue };
            let (Some(range), Some(limit)) = (namespace.sysctls.port_range, namespace.sysctls.free_ports)
            else {
                continue;
            };
            let Some(socket) = namespace.diag.as_mut().ok().and_then(|diag| diag.long.take()) else {
                continue;
            };
            namespace.fewest_sockets = namespace.tcp_sockets.unwrap_or(0);
            return Some(Dump {
                netns: id,
                socket,
                before_ns: clock(),
                range,
                limit,
                accepting: namespace.listeners.keys().map(SocketAddr::port).collect(),
                asked: false,
                in_use: HashMap::new(),
            });
        }
        None
    }

    /// Tells what a finished dump gave, and gives its socket back.
    fn tell(&mut self, dump: Dump, after_ns: u64, out: &mut Samples<'_>) -> DiagSocket {
        let window = Window { before_ns: dump.before_ns, after_ns };
        let told = self.told.entry(dump.netns).or_default();
        let chosen = choose(&dump.in_use, dump.limit, told);
        let subject = |(source, destination): &Pair| Subject {
            source: Some(*source),
            destination: Some(*destination),
            ..Subject::namespace(dump.netns)
        };
        let limit = Some((dump.limit, "net.ipv4.ip_local_port_range"));
        let in_use = |pair| dump.in_use.get(pair).copied().unwrap_or_default();
        for pair in &chosen {
            let (used, subject) = (in_use(pair), subject(pair));
            self.shares = self.shares.min(Shares::at(used.all, dump.limit));
            out.usage(Resource::EphemeralPorts, &subject, used.all, limit, window);
            out.usage(Resource::TimeWaitPorts, &subject, used.time_wait, None, window);
        }
        for pair in told.difference(&chosen) {
            let (used, subject) = (in_use(pair), subject(pair));
            out.usage_ends(Resource::EphemeralPorts, &subject, used.all, window);
            out.usage_ends(Resource::TimeWaitPorts, &subject, used.time_wait, window);
        }
        *told = chosen;
        dump.socket
    }
}

impl Dump {
    /// Asks, or receives one datagram of the answer.
    fn advance(&mut self, datagram: &mut Datagram) -> Result<Progress, DiagError> {
        if !self.asked {
            self.socket.request(Query {
                states: states::HOLDS_PORT,
                with_drops: false,
                own_port: Some(self.range),
            })?;
            self.asked = true;
        }
        let (in_use, accepting) = (&mut self.in_use, &self.accepting);
        let receive = |entry: &Entry| {
            if !accepting.contains(&entry.own.port()) {
                let in_use = in_use.entry((entry.own.ip(), entry.remote)).or_default();
                in_use.all += 1;
                in_use.time_wait += u64::from(entry.state == states::TIME_WAIT);
            }
        };
        self.socket.receive(datagram, &mut { receive })
    }
}

/// Dumps take at most one in so many of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shares {
    /// While there are about as many sockets as at the latest one,
    standing: u64,
    /// and while there are so many more that a destination may have come close to the end of its range.
    growing: u64,
}

impl Shares {
    /// While no destination uses a sixteenth of a range.
    const FAR: Self = Self { standing: 8_000, growing: 2_000 };
    const SOME: Self = Self { standing: 4_000, growing: 1_000 };
    /// When a quarter is, some may be given up by one destination and taken by another, which leaves as many sockets.
    const CLOSER: Self = Self { standing: 2_000, growing: 1_000 };
    /// When half is, the whole may be before long.
    const NEAR: Self = Self { standing: 400, growing: 400 };

    /// Where so much of a range is used.
    const fn at(used: u64, limit: u64) -> Self {
        match used.saturating_mul(FAR) / if limit == 0 { 1 } else { limit } {
            0 => Self::FAR,
            1..4 => Self::SOME,
            4..8 => Self::CLOSER,
            _ => Self::NEAR,
        }
    }
}

/// The pairs worth telling: all that use a share of the range, and the largest of the others. Among equals
/// those stay that were told before.
fn choose(in_use: &HashMap<Pair, InUse>, limit: u64, told: &HashSet<Pair>) -> HashSet<Pair> {
    let rank = |(pair, used): (&Pair, &InUse)| (Reverse(used.all), !told.contains(pair), *pair);
    let mut ranked: Vec<_> = in_use.iter().map(rank).collect();
    // There may be a pair per socket; only the first of them have to be in order.
    if ranked.len() > MOST {
        ranked.select_nth_unstable(MOST);
        ranked.truncate(MOST);
    }
    ranked.sort_unstable();
    let large = ranked.iter().take_while(|(used, ..)| used.0.saturating_mul(SMALL_SHARE) >= limit).count();
    ranked.into_iter().take(large.clamp(TOP, MOST)).map(|(.., pair)| pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(all: u64) -> InUse {
        InUse { all, time_wait: 0 }
    }

    fn pair(port: u16) -> Pair {
        (IpAddr::from([127, 0, 0, 1]), SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[test]
    fn the_fuller_a_range_the_sooner_it_is_looked_at_again() {
        let at = |used| Shares::at(used, 200);
        assert_eq!([0, 12].map(at), [Shares::FAR; 2]);
        assert_eq!([13, 49].map(at), [Shares::SOME; 2]);
        assert_eq!([50, 99].map(at), [Shares::CLOSER; 2]);
        assert_eq!([100, 200].map(at), [Shares::NEAR; 2]);
        assert_eq!(Shares::at(0, 0), Shares::FAR);
        let by_nearness = [Shares::NEAR, Shares::CLOSER, Shares::SOME, Shares::FAR];
        assert!(by_nearness.is_sorted(), "the fullest one decides");
    }

    #[test]
    fn many_more_sockets_than_at_the_latest_dump_are_a_reason_for_the_next() {
        let ports = Ports::default();
        let mut namespace = Namespace::new(7, 1, true);
        namespace.sysctls.free_ports = Some(16_000);
        let mut has_grown = |fewest, now| {
            namespace.fewest_sockets = fewest;
            namespace.tcp_sockets = Some(now);
            ports.has_grown(&namespace)
        };
        assert!(!has_grown(0, 1_000));
        assert!(has_grown(0, 1_001));
        assert!(!has_grown(20_000, 21_000));
        assert!(has_grown(20_000, 21_001));
    }

    #[test]
    fn the_large_ones_are_all_told_and_of_the_small_ones_the_largest() {
        let small: HashMap<Pair, InUse> = (0..100).map(|port| (pair(port), uses(u64::from(port)))).collect();
        let chosen = choose(&small, 28_232, &HashSet::new());
        assert_eq!(chosen, (80..100).map(pair).collect());
        let large: HashMap<Pair, InUse> = (0..100).map(|port| (pair(port), uses(300))).collect();
        assert_eq!(choose(&large, 28_232, &HashSet::new()).len(), 100);
        let many: HashMap<Pair, InUse> = (0..1_000).map(|port| (pair(port), uses(300))).collect();
        assert_eq!(choose(&many, 28_232, &HashSet::new()).len(), MOST);
    }

    #[test]
    fn among_equals_those_told_before_stay() {
        let equal: HashMap<Pair, InUse> = (0..100).map(|port| (pair(port), uses(1))).collect();
        let told: HashSet<Pair> = (40..60).map(pair).collect();
        assert_eq!(choose(&equal, 28_232, &told), told);
    }
}

//! The network namespaces: which there are, through which process each is read, and whose turn it is.
//!
//! Counters come from `/proc/PID/net`, through any process that lives there. sock_diag answers for the
//! namespace that its socket was opened in, so that takes a visit, done by a thread that ends with it: the
//! namespace of observer's own threads never changes. An open socket keeps its namespace alive, so it is
//! closed soon after no process of the namespace is left, which is checked before each read, or three times a second where
//! files stay open: they are the namespace's, and keep it alive as well.

use std::{collections::BTreeMap, fs, fs::File, io, os::unix::fs::MetadataExt, thread};

use nix::sched::{CloneFlags, setns};

use super::{
    Clock, Samples, Source, Window,
    error::{Problems, SourceError},
    sock_diag::DiagSocket,
    sysctls,
    world::{Diag, Namespace, World},
};

/// Namespaces with listeners or traffic that are read at one tick, at most.
const MOST_BUSY: usize = 16;
/// Others that are read at one tick, at most.
const MOST_IDLE: usize = 4;
/// Traffic is recent for this long.
const ACTIVE_NS: u64 = 2_000_000_000;
/// How often a namespace with listeners and without traffic is read: a first failure is to be known within a quarter of a
/// second where only counters tell.
const LISTENING_NS: u64 = 200_000_000;
/// Of a namespace with traffic the sums that may wait are read at every second tick: so much later at least.
const REST_NS: u64 = 150_000_000;
/// Namespaces with traffic or listeners whose files stay open, at most.
const MOST_KEPT: usize = 16;
/// How often it is checked whether a namespace whose files stay open has a process still.
const LIVES_NS: u64 = 300_000_000;
/// How often one without either is read.
const IDLE_NS: u64 = 500_000_000;
/// One tick is not exactly as long as the next.
const SLACK_NS: u64 = 20_000_000;
/// When to try again to open what was refused.
const RETRY_NS: u64 = 10_000_000_000;
/// Namespaces that are visited at one tick, at most.
const MOST_VISITS: usize = 4;
/// Namespaces that are followed at all.
const MOST: usize = 1_024;

/// Keeps [`World::namespaces`].
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    /// [`World::process_changes`] at the last look.
    seen: Option<u64>,
}

impl Source for Namespaces {
    fn name(&self) -> &'static str {
        "namespaces"
    }

    fn due(&self, _now_ns: u64, _world: &World) -> bool {
        true
    }

    fn read(
        &mut self,
        world: &mut World,
        clock: Clock<'_>,
        out: &mut Samples<'_>,
    ) -> Result<(), SourceError> {
        let mut problems = Problems::default();
        let now_ns = clock();
        if world.namespaces.is_empty() {
            let id = problems.check(id_of(world.own_pid));
            // Without an id of its own the namespace could not be named; 0 is nobody's.
            world.namespaces.push(Namespace::new(id.unwrap_or(0), world.own_pid, true));
        }
        if self.seen.replace(world.process_changes) != Some(world.process_changes) {
            discover(world);
        }
        take_turns(world, now_ns);
        for ended in revalidate(world, now_ns) {
            out.namespace_ends(ended, Window { before_ns: now_ns, after_ns: clock() });
        }
        let closed = |namespace: &&mut Namespace| {
            let retry = |tried_ns| now_ns.saturating_sub(tried_ns) >= RETRY_NS;
            namespace.due && namespace.diag.is_err() && namespace.opened_ns.is_none_or(retry)
        };
        for namespace in world.namespaces.iter_mut().filter(closed).take(MOST_VISITS) {
            namespace.opened_ns = Some(now_ns);
            namespace.diag = open_diag(namespace).map_err(|error| {
                let text = error.to_string();
                problems.note(error);
                text
            });
        }
        problems.finish()
    }
}

/// Decides which namespaces are read at this tick.
fn take_turns(world: &mut World, now_ns: u64) {
    let World { namespaces, generator, everywhere, .. } = world;
    let (mut busy, mut idle) = (Vec::new(), Vec::new());
    let mut kept = namespaces.iter().filter(|namespace| namespace.keeps_files()).count();
    for namespace in namespaces.iter_mut() {
        namespace.due = *everywhere;
        let rested_ns = now_ns.saturating_sub(namespace.read_ns) + SLACK_NS;
        let is_active =
            generator.contains(&namespace.pid) || now_ns.saturating_sub(namespace.active_ns) < ACTIVE_NS;
        namespace.rest_due = *everywhere || !is_active || now_ns.saturating_sub(namespace.rest_ns) >= REST_NS;
        let listens = !namespace.listeners.is_empty();
        // Those with traffic are read most: they may have the places of those that only listen.
        let most = if is_active { MOST_KEPT } else { MOST_KEPT / 2 };
        let keeps = namespace.own
            || (is_active && namespace.keeps_files())
            || ((is_active || listens) && kept - usize::from(namespace.keeps_files()) < most);
        kept = kept + usize::from(keeps) - usize::from(namespace.keeps_files());
        namespace.keep_files(keeps);
        if is_active || (listens && rested_ns >= LISTENING_NS) {
            busy.push(namespace);
        } else if !listens && rested_ns >= IDLE_NS {
            idle.push(namespace);
        }
    }
    for (mut ripe, most) in [(busy, MOST_BUSY), (idle, MOST_IDLE)] {
        // Those first that have waited longest, so that all get their turn.
        ripe.sort_by_key(|namespace| namespace.read_ns);
        ripe.into_iter().take(most).for_each(|namespace| namespace.due = true);
    }
    for namespace in world.due_namespaces() {
        namespace.read_ns = now_ns.max(1);
        if namespace.rest_due {
            namespace.rest_ns = now_ns;
        }
    }
}

/// Looks whether the process that stands for each namespace still lives there, before it is read; if not, another one has
/// to. Returns the namespaces without any.
fn revalidate(world: &mut World, now_ns: u64) -> Vec<u32> {
    let World { namespaces, processes, .. } = world;
    let mut ended = Vec::new();
    namespaces.retain_mut(|namespace| {
        let id = namespace.id;
        let lives_there = |pid| id_of(pid).is_ok_and(|found| found == id);
        let is_visited = namespace.diag.is_err() || sysctls::is_due(namespace, now_ns);
        let is_recent = namespace.keeps_files() && now_ns.saturating_sub(namespace.seen_ns) < LIVES_NS;
        if namespace.own || !namespace.due || (is_recent && !is_visited) {
            return true;
        }
        namespace.seen_ns = now_ns;
        if lives_there(namespace.pid) {
            return true;
        }
        // It may have gone elsewhere just when they were opened.
        namespace.keep_files(false);
        let mut others = processes.iter().filter(|(_, process)| process.netns == Some(id));
        let other = others.find(|(pid, _)| lives_there(**pid));
        match other {
            Some((pid, _)) => namespace.pid = *pid,
            None => ended.push(id),
        }
        other.is_some()
    });
    ended
}

/// Adds the namespaces that processes have been seen in.
fn discover(world: &mut World) {
    let mut found = BTreeMap::new();
    for (pid, process) in &world.processes {
        if let Some(id) = process.netns {
            found.entry(id).or_insert(*pid);
        }
    }
    for namespace in &world.namespaces {
        found.remove(&namespace.id);
    }
    let room = MOST.saturating_sub(world.namespaces.len());
    world.namespaces.extend(found.into_iter().take(room).map(|(id, pid)| Namespace::new(id, pid, false)));
}

/// Opens the sockets for asking inside a namespace.
fn open_diag(namespace: &Namespace) -> Result<Diag, SourceError> {
    let open = || Ok(Diag { short: DiagSocket::open()?, long: Some(DiagSocket::open()?) });
    let opened: io::Result<Diag> =
        if namespace.own { open() } else { inside(namespace.id, namespace.pid, open)? };
    opened.map_err(|error| SourceError::SockDiag {
        netns: namespace.id,
        problem: format!("cannot open a socket: {error}"),
    })
}

/// The network namespace of a process.
pub(super) fn id_of(pid: u32) -> Result<u32, SourceError> {
    let file = format!("/proc/{pid}/ns/net");
    let target =
        fs::read_link(&file).map_err(|error| SourceError::Unreadable { file: file.clone(), error })?;
    parse_id(&target.to_string_lossy()).map_err(|problem| SourceError::malformed(file, problem))
}

/// The number in `net:[4026531840]`.
fn parse_id(target: &str) -> Result<u32, String> {
    target
        .strip_prefix("net:[")
        .and_then(|rest| rest.strip_suffix(']'))
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| format!("`{}` does not name a network namespace", super::text::shorten(target)))
}

/// Does `work` inside the network namespace of `pid`, on a thread of its own.
pub(super) fn inside<T: Send>(
    netns: u32,
    pid: u32,
    work: impl FnOnce() -> T + Send,
) -> Result<T, SourceError> {
    let refused = |error: io::Error| SourceError::Enter { netns, pid, error };
    let namespace = File::open(format!("/proc/{pid}/ns/net")).map_err(refused)?;
    if namespace.metadata().map_err(refused)?.ino() != u64::from(netns) {
        return Err(refused(io::Error::from(io::ErrorKind::NotFound)));
    }
    thread::scope(|scope| {
        let visit = || {
            setns(&namespace, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)?;
            Ok(work())
        };
        let thread = thread::Builder::new().name("netns visit".into()).stack_size(256 * 1024);
        let visit = thread.spawn_scoped(scope, visit).map_err(refused)?;
        visit.join().unwrap_or_else(|_| Err(io::Error::other("the visiting thread failed"))).map_err(refused)
    })
}

#[cfg(test)]
mod tests {
    use observer_common::Signal;

    use super::*;
    use crate::sources::world::{Listener, Process, counted_in};

    #[test]
    fn the_link_names_the_namespace() {
        assert_eq!(parse_id("net:[4026531840]"), Ok(4_026_531_840));
        for damaged in ["", "net:[]", "net:[-1]", "net:[4026531840", "mnt:[4026531840]", "net:[99999999999]"]
        {
            assert!(parse_id(damaged).is_err(), "{damaged}");
        }
    }

    #[test]
    fn namespaces_come_from_processes_and_only_once() {
        let mut world = World::default();
        world.namespaces.push(Namespace::new(7, 1, true));
        for (pid, netns) in [(1, Some(7)), (2, Some(8)), (3, Some(8)), (4, None)] {
            world.processes.insert(pid, Process { netns, ..Process::default() });
        }
        discover(&mut world);
        discover(&mut world);
        let found: Vec<_> = world.namespaces.iter().map(|n| (n.id, n.pid, n.own)).collect();
        assert_eq!(found, [(7, 1, true), (8, 2, false)]);
    }

    #[test]
    fn a_quiet_namespace_waits_for_its_turn_unless_something_happens_there_or_everywhere() {
        let mut world = World::default();
        world.namespaces.push(Namespace::new(7, 1, true));
        let ms = |ms: u64| 10_000_000_000 + ms * 1_000_000;
        let is_due = |world: &mut World, now_ns| {
            take_turns(world, now_ns);
            world.due_namespaces().count() == 1
        };
        assert!(is_due(&mut world, ms(0)));
        assert!(!is_due(&mut world, ms(400)));
        assert!(is_due(&mut world, ms(500)));
        world.namespaces[0].listeners.insert(([127, 0, 0, 1], 80).into(), Listener::default());
        assert!(!is_due(&mut world, ms(600)));
        assert!(is_due(&mut world, ms(700)));
        world.everywhere = true;
        assert!(is_due(&mut world, ms(701)));
        world.everywhere = false;
        assert!(!is_due(&mut world, ms(702)));
        world.stir(ms(703), &counted_in(7, &[Signal::ConnectAttempt]));
        assert!(is_due(&mut world, ms(703)));
    }

    #[test]
    fn with_many_namespaces_a_tick_reads_a_bounded_number_and_all_get_their_turn() {
        let mut world = World::default();
        world.namespaces.push(Namespace::new(0, 1, true));
        for id in 1..100 {
            let mut namespace = Namespace::new(id, id, false);
            namespace.active_ns = u64::MAX;
            world.namespaces.push(namespace);
        }
        for tick in 1..=7_u64 {
            take_turns(&mut world, tick * 100_000_000);
            assert_eq!(world.due_namespaces().count(), MOST_BUSY);
        }
        assert!(world.namespaces.iter().all(|namespace| namespace.read_ns > 0));
    }

    #[test]
    fn what_may_wait_in_a_busy_namespace_is_read_at_every_second_tick_and_where_something_begins() {
        let mut world = World::default();
        world.namespaces.push(Namespace::new(7, 1, true));
        world.namespaces[0].active_ns = u64::MAX;
        let due = [0, 100, 230, 299, 400, 450].map(|ms: u64| {
            world.everywhere = ms == 450;
            take_turns(&mut world, 10_000_000_000 + ms * 1_000_000);
            assert!(world.namespaces[0].due);
            world.namespaces[0].rest_due
        });
        assert_eq!(due, [true, false, true, false, true, true]);
    }

    #[test]
    fn before_a_visit_the_process_is_looked_at_however_recently_it_was_seen() {
        let pid = std::process::id();
        let id = id_of(pid).expect("one's own may be seen");
        let mut world = World::default();
        let mut namespace = Namespace::new(id, u32::MAX, false);
        namespace.keep_files(true);
        namespace.seen_ns = 1_000;
        world.namespaces.push(namespace);
        world.processes.insert(pid, Process { netns: Some(id), ..Process::default() });
        assert!(revalidate(&mut world, 1_001).is_empty());
        let namespace = &world.namespaces[0];
        assert_eq!((namespace.pid, namespace.keeps_files()), (pid, false));
    }

    #[test]
    fn files_stay_open_of_a_bounded_number_of_namespaces_while_they_have_traffic() {
        let mut world = World::default();
        world.namespaces.push(Namespace::new(0, 1, true));
        for id in 1..100 {
            world.namespaces.push(Namespace::new(id, id, false));
        }
        let mut kept = |active_ns, now_ns| {
            world.namespaces.iter_mut().for_each(|namespace| namespace.active_ns = active_ns);
            take_turns(&mut world, now_ns);
            world.namespaces.iter().filter(|namespace| namespace.keeps_files()).count()
        };
        let now_ns = 100_000_000_000;
        assert_eq!(kept(now_ns, now_ns), MOST_KEPT);
        assert_eq!(kept(now_ns, now_ns + 100_000_000), MOST_KEPT);
        // Observer's own namespace cannot go away.
        assert_eq!(kept(now_ns, now_ns + ACTIVE_NS), 1);
        assert_eq!(kept(now_ns + ACTIVE_NS, now_ns + ACTIVE_NS), MOST_KEPT);
    }

    #[test]
    fn files_stay_open_of_fewer_namespaces_that_only_listen_and_those_with_traffic_come_first() {
        let mut world = World::default();
        world.namespaces.push(Namespace::new(0, 1, true));
        for id in 1..100 {
            let mut namespace = Namespace::new(id, id, false);
            namespace.listeners.insert(([127, 0, 0, 1], 80).into(), Listener::default());
            world.namespaces.push(namespace);
        }
        let keeping = |world: &mut World, now_ns| {
            take_turns(world, now_ns);
            take_turns(world, now_ns + 1);
            let keeps = |namespace: &Namespace| namespace.keeps_files().then_some(namespace.id);
            world.namespaces.iter().filter_map(keeps).collect::<Vec<_>>()
        };
        let now_ns = 100_000_000_000;
        assert_eq!(keeping(&mut world, now_ns), (0..8).collect::<Vec<_>>());
        world.namespaces[50..].iter_mut().for_each(|namespace| namespace.active_ns = now_ns);
        let kept = keeping(&mut world, now_ns);
        assert_eq!(kept.len(), MOST_KEPT);
        assert!(kept.iter().all(|id| *id == 0 || *id >= 50), "{kept:?}");
    }

    #[test]
    fn beside_a_busy_namespace_all_idle_ones_get_their_turn() {
        let mut world = World::default();
        for id in 1..=40 {
            world.namespaces.push(Namespace::new(id, id, false));
        }
        world.namespaces[20].active_ns = u64::MAX;
        for tick in 100..110_u64 {
            take_turns(&mut world, tick * 100_000_000);
            assert!(world.namespaces[20].due);
            assert_eq!(world.due_namespaces().count(), 1 + MOST_IDLE);
        }
        assert!(world.namespaces.iter().all(|namespace| namespace.read_ns > 0));
    }
}

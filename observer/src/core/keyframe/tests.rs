//! Whoever comes later knows the same.

use std::collections::BTreeMap;

use observer_common::Signal;
use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::core::{
    engine::Engine,
    frame::{LogTopic, PhaseSource, RunHeader, Tier},
    ledger::Ledger,
    subject::Controller,
};

const NETNS: u32 = 7;
const TICK_NS: u64 = 100_000_000;

fn listener(address: &str) -> Subject {
    Subject::listener(NETNS, address.parse().expect("an address"))
}

/// What is counted in the tests: by probes and by counters, at several places.
fn cells() -> Vec<(Signal, Tier, Subject, Option<&'static str>)> {
    let to = Subject {
        netns: Some(NETNS),
        destination: Some("10.0.0.1:80".parse().expect("an address")),
        ..Subject::HOST
    };
    let wildcard = Subject { cgroup: Some(5), ..listener("0.0.0.0:80") };
    vec![
        (Signal::SynArrival, Tier::Trampoline, wildcard, None),
        (Signal::ConnectionAccepted, Tier::Trampoline, listener("10.0.0.9:80"), None),
        (Signal::AcceptedClosed, Tier::Trampoline, listener("10.0.0.9:80"), None),
        (Signal::PortSearchFailed, Tier::Kprobe, to.clone(), Some("EADDRNOTAVAIL")),
        (Signal::PortSearchFailed, Tier::Kprobe, to, None),
        (Signal::ListenDrop, Tier::Counter, listener("0.0.0.0:80"), None),
        (Signal::SegmentsSent, Tier::Counter, Subject::namespace(NETNS), None),
    ]
}

/// What is used in the tests.
fn usages() -> Vec<(Resource, Subject)> {
    vec![
        (Resource::AcceptQueue, listener("0.0.0.0:80")),
        (Resource::Descriptors, Subject::process(1)),
        (Resource::Descriptors, Subject::process(2)),
        (Resource::Memory, Subject::cgroup(Controller::Memory, 9)),
        (Resource::Connections, Subject::namespace(NETNS)),
    ]
}

/// One thing that a frame tells.
#[derive(Clone, Debug)]
enum News {
    Counted { cell: usize, more: u64 },
    Used { usage: usize, used: u64, limit: Option<u64> },
    Ended { usage: usize },
    Learnt(Fact),
    Source { source: &'static str, error: Option<&'static str> },
    Lost { reason: &'static str, more: u64 },
}

fn fact() -> impl Strategy<Value = Fact> {
    let pid = 1..4_u32;
    let controller = proptest::sample::select(Controller::ALL);
    prop_oneof![
        (pid.clone(), 0..2_u32, "[ab]", any::<bool>()).prop_map(|(pid, parent, comm, generator)| {
            Fact::Process { pid, parent, comm, netns: Some(NETNS), cgroup: None, generator }
        }),
        (pid.clone(), 80..82_u16).prop_map(|(pid, port)| Fact::ListenerOwner {
            netns: NETNS,
            listener: ([0, 0, 0, 0], port).into(),
            pid
        }),
        (1..4_u64, option::of(controller.clone()), "/[ab]?")
            .prop_map(|(id, controller, path)| Fact::CgroupPath { id, controller, path }),
        (pid.clone(), controller, 1..4_u64).prop_map(|(pid, controller, cgroup)| Fact::ProcessCgroup {
            pid,
            controller,
            cgroup
        }),
        ("[ab]", "[0-9]").prop_map(|(name, value)| Fact::Limit { name, value, place: "host".into() }),
        (pid, "[ab]").prop_map(|(pid, comm)| Fact::OomVictim {
            at_ns: 3,
            pid,
            comm,
            constraint: "CONSTRAINT_NONE".into(),
            limit_owner: None,
            cgroup: None
        }),
    ]
}

fn news() -> impl Strategy<Value = News> {
    let (cells, usages) = (cells().len(), usages().len());
    let error = option::of(proptest::sample::select(vec!["x", "y"]));
    prop_oneof![
        4 => (0..cells, 0..5_u64).prop_map(|(cell, more)| News::Counted { cell, more }),
        2 => (0..usages, 0..200_u64, option::of(1..3_u64))
            .prop_map(|(usage, used, limit)| News::Used { usage, used, limit: limit.map(|it| it * 128) }),
        1 => (1..usages).prop_map(|usage| News::Ended { usage }),
        3 => fact().prop_map(News::Learnt),
        1 => (proptest::sample::select(vec!["psi", "snmp"]), error)
            .prop_map(|(source, error)| News::Source { source, error }),
        1 => (proptest::sample::select(vec!["ring_full", "map_full:x"]), 1..5_u64)
            .prop_map(|(reason, more)| News::Lost { reason, more }),
    ]
}

/// Frames as an observation writes them: counts rise, and the first read of a counter is its origin.
fn frames() -> impl Strategy<Value = Vec<Frame>> {
    vec(vec(news(), 0..6), 2..25).prop_map(|ticks| {
        let mut counts = BTreeMap::new();
        let mut losses = BTreeMap::new();
        let tick = |(seq, news): (u64, Vec<News>)| {
            let mut frame = Instant { seq, mono_ns: (seq + 10) * TICK_NS, real_ns: 0 }.frame();
            news.into_iter().for_each(|news| tell(&mut frame, news, &mut counts, &mut losses));
            frame
        };
        (0..).zip(ticks).map(tick).collect()
    })
}

type Counts = BTreeMap<usize, SignalSample>;

fn tell(frame: &mut Frame, news: News, counts: &mut Counts, losses: &mut BTreeMap<&'static str, u64>) {
    let (now_ns, before_ns) = (frame.mono_ns, frame.mono_ns - TICK_NS);
    match news {
        News::Counted { cell, more } => {
            let (signal, tier, subject, reason) = cells().swap_remove(cell);
            let stamp = tier.is_probe().then_some(now_ns - 7);
            let former = counts.get(&cell);
            let is_counters_first = former.is_none() && !tier.is_probe();
            let sample = SignalSample {
                signal,
                tier,
                subject,
                reason: reason.map(str::to_owned),
                generator: false,
                count: former.map_or(0, |former| former.count) + more,
                first_ns: former.map_or(stamp, |former| former.first_ns),
                last_ns: stamp,
                peak: None,
                limit: None,
                read_ns: now_ns,
                since_ns: if is_counters_first { now_ns } else { before_ns },
            };
            counts.insert(cell, sample.clone());
            frame.signals.push(sample);
        }
        News::Used { usage, used, limit } => {
            frame.usages.push(used_of(usage, used, limit, limit.map(|_| "somebody".to_owned()), now_ns));
        }
        News::Ended { usage } => frame.usages.push(used_of(usage, 0, Some(128), None, now_ns)),
        News::Learnt(fact) => frame.facts.push(fact),
        News::Source { source, error } => frame.sources.push(SourceStatus {
            source: source.to_owned(),
            duration_ns: 1,
            error: error.map(str::to_owned),
        }),
        News::Lost { reason, more } => {
            let count = losses.entry(reason).or_default();
            *count += more;
            frame.losses.push(Loss { reason: reason.to_owned(), count: *count });
        }
    }
}

fn used_of(usage: usize, used: u64, limit: Option<u64>, by: Option<String>, now_ns: u64) -> UsageSample {
    let (resource, subject) = usages().swap_remove(usage);
    UsageSample {
        resource,
        subject,
        used,
        limit,
        limit_set_by: by,
        read_ns: now_ns,
        since_ns: now_ns - TICK_NS,
    }
}

/// The latest sample of each usage that has not ended.
fn in_use(ledger: &Ledger) -> Vec<UsageSample> {
    ledger.usages.values().map(|usage| usage.last.clone()).filter(|last| !has_ended(last)).collect()
}

fn check_same(full: &Ledger, later: &Ledger) -> Result<(), TestCaseError> {
    prop_assert_eq!(in_use(full), in_use(later));
    prop_assert_eq!(&full.processes, &later.processes);
    prop_assert_eq!(&full.owners, &later.owners);
    prop_assert_eq!(&full.cgroup_paths, &later.cgroup_paths);
    prop_assert_eq!(&full.process_cgroups, &later.process_cgroups);
    prop_assert_eq!(&full.victims, &later.victims);
    prop_assert_eq!(&full.failing, &later.failing);
    prop_assert_eq!(&full.listeners, &later.listeners);
    prop_assert!(full.limits.keys().eq(later.limits.keys()));
    Ok(())
}

/// The latest of each loss.
fn lost(frames: &[Frame]) -> BTreeMap<String, u64> {
    frames.iter().flat_map(|frame| &frame.losses).map(|loss| (loss.reason.clone(), loss.count)).collect()
}

proptest! {
    #[test]
    fn a_ledger_that_begins_with_a_keyframe_goes_on_as_one_that_saw_everything(frames in frames()) {
        for split in 1..frames.len() {
            let (mut full, mut later, mut known) =
                (Ledger::new(&RunHeader::on(Tier::Trampoline)), Ledger::new(&RunHeader::on(Tier::Trampoline)), Known::default());
            for frame in &frames[..split] {
                full.enter(frame);
                known.enter(frame);
            }
            for frame in known.opening() {
                prop_assert_eq!(frame.seq, frames[split - 1].seq);
                prop_assert_eq!(later.enter(&frame), [], "an increment out of nothing");
            }
            check_same(&full, &later)?;
            for frame in &frames[split..] {
                prop_assert_eq!(full.enter(frame), later.enter(frame));
                check_same(&full, &later)?;
            }
            let (before, all) = (lost(&frames[..split]), lost(&frames));
            let since = |(reason, count): (&String, &u64)| {
                let more = count - before.get(reason).copied().unwrap_or(0);
                (more > 0).then(|| (reason.clone(), more))
            };
            prop_assert_eq!(later.losses(), all.iter().filter_map(since).collect());
        }
    }

    #[test]
    fn whoever_follows_from_a_keyframe_on_tells_the_same(frames in frames()) {
        let (mut known, mut later) = (Known::default(), Known::default());
        let split = frames.len() / 2;
        frames[..split].iter().for_each(|frame| known.enter(frame));
        known.opening().iter().for_each(|frame| later.enter(frame));
        for frame in &frames[split..] {
            known.enter(frame);
            later.enter(frame);
        }
        let told = |known: &Known| {
            let mut opening = known.opening();
            // What did not change since is told as it was told there.
            opening.iter_mut().flat_map(|frame| &mut frame.signals).for_each(|sample| sample.since_ns = 0);
            opening
        };
        prop_assert_eq!(told(&known), told(&later));
    }
}

fn at(seq: u64) -> Frame {
    Instant { seq, mono_ns: (seq + 10) * TICK_NS, real_ns: 5 }.frame()
}

fn phase(at_ns: u64, name: &str, source: PhaseSource) -> Mark {
    Mark::Phase { at_ns, name: name.into(), source }
}

#[test]
fn before_the_first_frame_there_is_nothing_to_tell() {
    assert_eq!(Known::default().opening(), []);
}

#[test]
fn an_episode_under_way_begins_after_the_keyframe_in_the_phase_that_it_is_in() {
    let mut known = Known::default();
    let ns = |seq: u64| (seq + 10) * TICK_NS;
    let marks = [
        (1, Mark::CommandStarted { at_ns: ns(1), pid: Some(9) }),
        (1, phase(ns(1), "ramp_up", PhaseSource::Plan)),
        (1, phase(ns(8), "later", PhaseSource::Plan)),
        (3, phase(ns(3), "spike", PhaseSource::Mark)),
    ];
    for seq in 0..5 {
        let of_frame = marks.iter().filter(|(of, _)| *of == seq).map(|(_, mark)| mark.clone());
        known.enter(&Frame { marks: of_frame.collect(), ..at(seq) });
    }
    let opening = known.opening();
    assert_eq!(
        opening.iter().map(|frame| (frame.seq, frame.mono_ns)).collect::<Vec<_>>(),
        [(3, ns(4)), (4, ns(4))]
    );
    assert_eq!(opening[0].marks, []);
    let started = Mark::CommandStarted { at_ns: ns(4), pid: Some(9) };
    let [spike, planned] = [(ns(4), "spike", PhaseSource::Mark), (ns(8), "later", PhaseSource::Plan)]
        .map(|(at, n, s)| phase(at, n, s));
    // They stay in the order in which they were told.
    assert_eq!(opening[1].marks, [started, planned, spike]);
    let mut engine = Engine::new(RunHeader::on(Tier::Trampoline));
    opening.iter().for_each(|frame| drop(engine.step(frame)));
    assert_eq!(engine.verdict(None).run.clock.mono_ns, ns(4));

    known.enter(&Frame { marks: vec![Mark::CommandEnded { at_ns: ns(5), exit_status: None }], ..at(5) });
    let opening = known.opening();
    assert_eq!((opening.len(), opening[0].seq, &opening[0].marks), (1, 5, &Vec::new()));
}

#[test]
fn lines_of_the_log_are_of_their_episode() {
    let line = |at_ns| Fact::KernelLog { at_ns, about: LogTopic::ConntrackFull, text: "table full".into() };
    let lines = |known: &Known| known.opening()[0].facts.len();
    let mut known = Known::default();
    known.enter(&Frame { facts: vec![line(1)], ..at(0) });
    assert_eq!(lines(&known), 0);
    let started = vec![Mark::CommandStarted { at_ns: 2, pid: None }];
    known.enter(&Frame { facts: vec![line(3)], marks: started.clone(), ..at(1) });
    assert_eq!(lines(&known), 1);
    for seq in 2..400 {
        known.enter(&Frame { facts: vec![line(seq)], ..at(seq) });
    }
    assert_eq!(lines(&known), MOST_EVENTS);
    known.enter(&Frame { marks: started, ..at(400) });
    assert_eq!(lines(&known), 0);
}

#[test]
fn what_has_ended_is_forgotten() {
    let mut known = Known::default();
    let by = || Some("RLIMIT_NOFILE (soft)".to_owned());
    for pid in 0..20_000 {
        let subject = Subject::process(pid);
        let used = |used, limit_set_by| UsageSample {
            resource: Resource::Descriptors,
            subject: subject.clone(),
            used,
            limit: Some(1_024),
            limit_set_by,
            read_ns: 1,
            since_ns: 1,
        };
        let process =
            Fact::Process { pid, parent: 1, comm: "ab".into(), netns: None, cgroup: None, generator: true };
        let joined = Fact::ProcessCgroup { pid, controller: Controller::Cpu, cgroup: 3 };
        let limit = Fact::Limit {
            name: "RLIMIT_NOFILE".into(),
            value: "1024".into(),
            place: format!("pid {pid} (ab)"),
        };
        let seq = u64::from(pid) * 2;
        known.enter(&Frame { facts: vec![process, joined, limit], usages: vec![used(9, by())], ..at(seq) });
        known.enter(&Frame { usages: vec![used(0, None)], ..at(seq + 1) });
    }
    let keyframe = known.opening().remove(0);
    assert_eq!(keyframe.usages, []);
    assert_eq!(keyframe.facts.len(), 3 * MOST_GONE);
    assert!(keyframe.facts.iter().any(|fact| matches!(fact, Fact::Process { pid: 19_999, .. })));
}

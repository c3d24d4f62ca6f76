//! The rules of the design, each on frames written by hand.

use std::net::SocketAddr;

use proptest::prelude::*;

mod causes;
mod episodes;
mod queues;

use super::*;
use crate::core::{
    frame::{Fact, Resource, SignalSample, Target, UsageSample},
    keyframe::Known,
    subject::Role,
    verdict::Outcome,
};

const NETNS: u32 = 7;
const OTHER_NETNS: u32 = 8;
const START_S: u64 = 2;
const MS: u64 = 1_000_000;

/// Writes frames of 100 ms; the command starts after two seconds.
struct Story {
    engine: Engine,
    frame: Frame,
    known: Known,
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl Story {
    fn on(tier: Tier, targets: Vec<Target>) -> Self {
        let coverage = Signal::ALL
            .iter()
            .map(|signal| {
                let tier = match signal {
                    Signal::ListenOverflow | Signal::ListenDrop => Tier::Counter,
                    Signal::PortSearchFailed if tier == Tier::Counter => Tier::Tracepoint,
                    _ => tier,
                };
                SignalCoverage { signal: *signal, tier, source: "test".into(), why_degraded: None }
            })
            .collect();
        let header = RunHeader { command: vec!["load".into()], targets, coverage, ..RunHeader::on(tier) };
        let mut story =
            Self { engine: Engine::new(header), frame: Frame::default(), known: Known::default() };
        story.frame.mono_ns = 1_000 * MS;
        story
    }

    fn now_ns(&self) -> u64 {
        self.frame.mono_ns
    }

    fn counted(&mut self, signal: Signal, subject: Subject, count: u64) -> &mut Self {
        let now = self.now_ns();
        let tier = self.engine.header.coverage.iter().find(|c| c.signal == signal).map(|c| c.tier);
        let probe = tier.is_some_and(Tier::is_probe);
        let stamp = probe.then_some(now - 10 * MS);
        self.frame.signals.push(SignalSample {
            signal,
            tier: tier.unwrap_or(Tier::Counter),
            subject,
            reason: None,
            generator: signal == Signal::ConnectAttempt,
            count,
            first_ns: stamp,
            last_ns: stamp,
            peak: None,
            limit: None,
            read_ns: now,
            since_ns: now - 100 * MS,
        });
        self
    }

    fn used(&mut self, resource: Resource, subject: Subject, used: u64, limit: u64) -> &mut Self {
        let now = self.now_ns();
        self.frame.usages.push(UsageSample {
            resource,
            subject,
            used,
            limit: Some(limit),
            limit_set_by: None,
            read_ns: now,
            since_ns: now - 100 * MS,
        });
        self
    }

    fn owns(&mut self, pid: u32, netns: u32, port: u16) -> &mut Self {
        self.frame.facts.push(Fact::ListenerOwner { netns, listener: address(port), pid });
        self
    }

    fn step(&mut self) -> Update {
        let mut next =
            Frame { seq: self.frame.seq + 1, mono_ns: self.frame.mono_ns + 100 * MS, ..Frame::default() };
        next.real_ns = next.mono_ns;
        let frame = std::mem::replace(&mut self.frame, next);
        self.known.enter(&frame);
        self.engine.step(&frame)
    }

    /// The same story as somebody tells it who comes in now.
    fn told_from_here_on(mut self) -> Self {
        self.engine = Engine::new(self.engine.header.clone());
        self.known.opening().iter().for_each(|frame| drop(self.engine.step(frame)));
        self
    }

    /// The pre-roll, and the start of a command that connects to `port`.
    fn started(mut self, port: u16) -> Self {
        self.counters_at_rest();
        for _ in 0..START_S * 10 {
            self.step();
        }
        let at_ns = self.now_ns();
        self.frame.marks.push(Mark::CommandStarted { at_ns, pid: Some(1) });
        let to = Subject { netns: Some(NETNS), destination: Some(address(port)), ..Subject::HOST };
        self.counted(Signal::ConnectAttempt, to, 100);
        self.step();
        self
    }

    /// The origin of the counters.
    fn counters_at_rest(&mut self) {
        let origin = |sample: &mut SignalSample| sample.since_ns = sample.read_ns;
        for netns in [NETNS, OTHER_NETNS] {
            self.counted(Signal::ListenOverflow, Subject::namespace(netns), 1000);
            self.counted(Signal::SynQueueDrop, Subject::namespace(netns), 0);
            for port in [80, 81] {
                self.counted(Signal::ListenDrop, Subject::listener(netns, address(port)), 0);
                self.used(Resource::AcceptQueue, Subject::listener(netns, address(port)), 0, 16);
            }
        }
        self.frame.signals.iter_mut().filter(|sample| !sample.tier.is_probe()).for_each(origin);
    }

    fn end(&mut self) -> &mut Self {
        let at_ns = self.now_ns();
        self.frame.marks.push(Mark::CommandEnded { at_ns, exit_status: Some(0) });
        self.step();
        self
    }

    fn verdict(&self) -> Verdict {
        self.engine.verdict(None)
    }
}

fn listener(port: u16) -> Subject {
    Subject::listener(NETNS, address(port))
}

fn lines(hits: &[crate::core::verdict::Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.fault_line.as_str()).collect()
}

#[test]
fn a_probe_gives_the_onset_to_the_nanosecond_and_the_first_failure_is_flagged_at_once() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    let at = story.now_ns() - 10 * MS;
    story.counted(Signal::AcceptOverflowSyn, listener(80), 5);
    let update = story.step();
    assert_eq!(update.onsets.len(), 1);
    assert_eq!(update.onsets[0].2, Bracket { lo_ns: at, hi_ns: at });
    let verdict = story.verdict();
    let first = verdict.first.expect("a hit");
    assert_eq!((first.fault_line.as_str(), first.role), ("accept_queue_overflow", Role::Target));
    assert_eq!(verdict.outcome, Outcome::Hit);
    assert_eq!(first.onset_lo_s, first.onset_hi_s);
}

#[test]
fn a_counter_gives_the_interval_between_two_reads_and_the_listener_that_dropped() {
    let mut story = Story::on(Tier::Counter, vec![]).started(80);
    let (lo, hi) = (story.now_ns() - 100 * MS, story.now_ns());
    story.counted(Signal::ListenOverflow, Subject::namespace(NETNS), 1010);
    story.counted(Signal::ListenDrop, listener(80), 10);
    let update = story.step();
    assert_eq!(update.onsets, [("accept_queue_overflow", listener(80), Bracket { lo_ns: lo, hi_ns: hi })]);
}

#[test]
fn a_drop_of_one_listener_is_not_charged_to_another() {
    let mut story = Story::on(Tier::Counter, vec![]).started(80);
    story.counted(Signal::ListenOverflow, Subject::namespace(NETNS), 1010);
    story.counted(Signal::ListenDrop, listener(81), 10);
    story.step();
    let verdict = story.end().verdict();
    assert_eq!(verdict.first, None);
    assert_eq!(lines(&verdict.elsewhere), ["accept_queue_overflow"], "port 81 is not the target");
    assert_eq!(verdict.outcome, Outcome::Clear);
}

#[test]
fn two_lost_connections_among_many_are_no_fault() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    story.counted(Signal::SynArrival, listener(80), 10_000);
    story.counted(Signal::AcceptOverflowSyn, listener(80), 2);
    story.step();
    assert_eq!(story.end().verdict().outcome, Outcome::Clear);
}

#[test]
fn what_was_so_before_the_run_is_pre_existing() {
    let mut story = Story::on(Tier::Trampoline, vec![]);
    let to = Subject { netns: Some(NETNS), destination: Some(address(80)), ..Subject::HOST };
    story.counted(Signal::PortSearchFailed, to.clone(), 10);
    let mut story = story.started(80);
    for count in 11..16 {
        story.counted(Signal::PortSearchFailed, to.clone(), count);
        (0..5).for_each(|_| drop(story.step()));
    }
    let verdict = story.end().verdict();
    assert_eq!(verdict.outcome, Outcome::Inconclusive, "it went on in the run");
    assert_eq!(lines(&verdict.pre_existing), ["port_exhaustion"]);
    assert!(verdict.ruled_out.iter().all(|note| note.fault_line != "port_exhaustion"));
}

#[test]
fn the_teardown_of_the_test_is_not_the_test() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    story.end();
    story.counted(Signal::AcceptOverflowAck, listener(80), 50);
    story.step();
    assert_eq!(story.verdict().outcome, Outcome::Clear);
}

#[test]
fn cookies_are_strain_and_not_a_hit() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    story.counted(Signal::SynCookie, listener(80), 500);
    story.step();
    let verdict = story.end().verdict();
    assert_eq!(verdict.outcome, Outcome::Clear);
    let note =
        verdict.ruled_out.iter().find(|note| note.fault_line == "syn_queue_overflow").expect("ruled out");
    assert!(note.why.contains("500 syn_cookie"), "{}", note.why);
}

/// A service that accepts, runs out of descriptors, and whose queue then overflows.
fn starved(story: &mut Story, pid: u32, port: u16) {
    story.owns(pid, NETNS, port);
    for count in 1..=5 {
        story.counted(Signal::ConnectionAccepted, listener(port), count * 20);
        story.step();
    }
    story.counted(Signal::DescriptorLimit, Subject::process(pid), 3);
    story.step();
    story.counted(Signal::ConnectionAccepted, listener(port), 117);
    story.used(Resource::AcceptQueue, listener(port), 17, 16);
    story.step();
    (0..5).for_each(|_| drop(story.step()));
}

#[test]
fn descriptors_that_run_out_explain_the_overflow_of_their_own_service() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    starved(&mut story, 42, 80);
    story.counted(Signal::AcceptOverflowSyn, listener(80), 30);
    story.step();
    let verdict = story.end().verdict();
    assert_eq!(verdict.first.as_ref().map(|hit| hit.fault_line.as_str()), Some("fd_saturation"));
    assert_eq!(lines(&verdict.hits), ["fd_saturation", "accept_queue_overflow"]);
    assert_eq!(verdict.hits[1].explained_by.as_deref(), Some("fd_saturation"));
    assert_eq!(verdict.chain.len(), 1);
    assert!(verdict.chain[0].lag_s > 0.0);
}

#[test]
fn descriptors_of_one_service_do_not_explain_the_overflow_of_another() {
    let mut story = Story::on(Tier::Trampoline, vec![Target::Port(80), Target::Port(81)]).started(80);
    starved(&mut story, 42, 80);
    story.owns(43, NETNS, 81);
    story.counted(Signal::AcceptOverflowSyn, listener(81), 30);
    story.step();
    let verdict = story.end().verdict();
    assert_eq!(lines(&verdict.hits), ["fd_saturation", "accept_queue_overflow"]);
    assert!(verdict.chain.is_empty());
    assert_eq!(verdict.hits[1].explained_by, None);
}

#[test]
fn a_service_that_goes_on_accepting_was_not_stopped_by_its_descriptors() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    starved(&mut story, 42, 80);
    for count in 1..=20 {
        story.counted(Signal::ConnectionAccepted, listener(80), 117 + count * 20);
        if count == 10 {
            story.counted(Signal::AcceptOverflowSyn, listener(80), 30);
        }
        story.step();
    }
    assert!(story.end().verdict().chain.is_empty());
}

#[test]
fn emfile_is_inferred_from_a_full_table_and_a_queue_that_is_not_drained() {
    let mut story = Story::on(Tier::Counter, vec![]).started(80);
    story.owns(42, NETNS, 80);
    let lo = story.now_ns() - 100 * MS;
    story.used(Resource::Descriptors, Subject::process(42), 64, 64);
    story.step();
    (0..5).for_each(|_| assert!(story.step().onsets.is_empty(), "nobody waits"));
    let hi = story.now_ns();
    story.used(Resource::AcceptQueue, listener(80), 1, 16);
    story.step();
    let update = story.step();
    assert_eq!(update.onsets, [("fd_saturation", Subject::process(42), Bracket { lo_ns: lo, hi_ns: hi })]);
    let first = story.end().verdict().first.expect("a hit");
    assert!(first.because.contains("inferred"), "{}", first.because);
    assert!(first.evidence.is_empty(), "an inferred failure has no count");
}

#[test]
fn a_line_without_a_source_makes_the_run_inconclusive_and_never_clear() {
    let mut story = Story::on(Tier::Absent, vec![]).started(80);
    let verdict = story.end().verdict();
    assert_eq!(verdict.outcome, Outcome::Inconclusive);
    let unseen: Vec<_> = verdict.not_measurable.iter().map(|note| note.fault_line.as_str()).collect();
    assert!(unseen.contains(&"port_exhaustion"), "{unseen:?}");
}

#[test]
fn without_a_command_every_process_that_suffers_is_in_scope() {
    let mut story = Story::on(Tier::Trampoline, vec![]);
    story.engine.header.command.clear();
    story.counters_at_rest();
    (0..START_S * 10).for_each(|_| drop(story.step()));
    let at_ns = story.now_ns();
    story.frame.marks.push(Mark::CommandStarted { at_ns, pid: None });
    story.counted(Signal::DescriptorLimit, Subject::process(99), 3);
    story.step();
    assert_eq!(lines(&story.end().verdict().hits), ["fd_saturation"]);
}

#[test]
fn a_hit_behind_address_translation_is_not_called_clear() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(8080);
    story.counted(Signal::AcceptOverflowSyn, Subject::listener(OTHER_NETNS, address(80)), 40);
    story.step();
    let verdict = story.end().verdict();
    assert_eq!(verdict.outcome, Outcome::Inconclusive);
    let note = verdict.not_measurable.first().expect("a note");
    assert!(note.why.contains("--target") && note.why.contains("8080"), "{}", note.why);
}

#[test]
fn both_kinds_of_overflow_in_a_tick_are_one_onset_at_the_earlier_one() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    story.counted(Signal::AcceptOverflowSyn, listener(80), 2);
    story.counted(Signal::AcceptOverflowAck, listener(80), 2);
    let earlier = story.now_ns() - 50 * MS;
    story.frame.signals[1].first_ns = Some(earlier);
    assert_eq!(story.step().onsets[0].2, Bracket { lo_ns: earlier, hi_ns: earlier });
}

#[test]
fn a_target_that_is_not_there_is_never_clear() {
    let mut story = Story::on(Tier::Trampoline, vec![Target::Port(9999)]).started(80);
    let verdict = story.end().verdict();
    assert_eq!(verdict.outcome, Outcome::Inconclusive);
    assert!(verdict.not_measurable.iter().any(|note| note.why.contains(":9999")));
}

#[test]
fn what_another_namespace_suffers_is_elsewhere() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    story.counted(Signal::AcceptOverflowSyn, Subject::listener(OTHER_NETNS, address(80)), 40);
    story.step();
    let verdict = story.end().verdict();
    assert_eq!((verdict.outcome, verdict.elsewhere.len()), (Outcome::Clear, 1));
}

#[test]
fn a_target_in_another_namespace_is_known_by_the_address_at_which_it_accepts() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    let (wildcard, routed) = (SocketAddr::from(([0, 0, 0, 0], 80)), SocketAddr::from(([10, 0, 0, 1], 80)));
    let to = Subject { netns: Some(NETNS), destination: Some(routed), ..Subject::HOST };
    story.counted(Signal::ConnectAttempt, to, 100);
    story.used(Resource::AcceptQueue, Subject::listener(OTHER_NETNS, wildcard), 0, 16);
    story.counted(Signal::ConnectionAccepted, Subject::listener(OTHER_NETNS, routed), 9);
    story.step();
    story.counted(Signal::AcceptOverflowSyn, Subject::listener(OTHER_NETNS, wildcard), 40);
    story.step();
    assert_eq!(lines(&story.end().verdict().hits), ["accept_queue_overflow"]);
}

/// The same, at a loopback address: that is another listener altogether.
#[test]
fn a_loopback_address_never_leaves_its_namespace() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    story.counted(Signal::ConnectionAccepted, Subject::listener(OTHER_NETNS, address(80)), 9);
    story.step();
    story.counted(Signal::AcceptOverflowSyn, Subject::listener(OTHER_NETNS, address(80)), 40);
    story.step();
    let verdict = story.end().verdict();
    assert_eq!((lines(&verdict.hits).len(), lines(&verdict.elsewhere).len()), (0, 1));
}

proptest! {
    /// Whatever the frames say, the engine neither panics nor depends on anything but them.
    #[test]
    fn the_same_frames_give_the_same_bytes(
        script in proptest::collection::vec((0_usize..Signal::COUNT, 0_u16..3, 0_u64..500, any::<bool>()), 0..120),
    ) {
        let play = || {
            let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
            for (signal, port, count, step) in &script {
                let signal = Signal::ALL[*signal];
                story.counted(signal, listener(80 + port), *count);
                story.used(Resource::AcceptQueue, listener(80 + port), *count, 16);
                if *step {
                    story.step();
                }
            }
            serde_json::to_string(&story.end().verdict()).expect("a verdict is JSON")
        };
        prop_assert_eq!(play(), play());
    }
}

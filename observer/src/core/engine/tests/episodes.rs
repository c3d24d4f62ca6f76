//! Several tests in one observation: each is judged by itself.

use super::*;
use crate::core::{frame::Loss, subject::Controller};

#[test]
fn what_broke_in_one_episode_is_not_the_first_of_the_next() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    story.frame.losses.push(Loss { reason: "ring_full".into(), count: 3 });
    story.counted(Signal::AcceptOverflowSyn, listener(80), 5);
    story.used(Resource::AcceptQueue, listener(80), 129, 128);
    story.step();
    story.used(Resource::AcceptQueue, listener(80), 12, 128);
    assert_eq!(story.end().verdict().outcome, Outcome::Hit);

    let second_ns = story.now_ns();
    story.frame.marks.push(Mark::CommandStarted { at_ns: second_ns, pid: None });
    story.step();
    let verdict = story.verdict();
    assert_eq!(verdict.outcome, Outcome::Clear);
    assert_eq!(verdict.run.clock.mono_ns, second_ns);
    assert_eq!(verdict.coverage.events_lost, [].into(), "they were lost in the first one");
    assert_eq!(verdict.headroom[0].peak_used, 12, "the peak was the first one's");

    let at = story.now_ns() - 10 * MS;
    story.counted(Signal::AcceptOverflowSyn, listener(80), 9);
    assert_eq!(story.step().onsets.len(), 1);
    let first = story.verdict().first.expect("a hit");
    assert_eq!(first.evidence[0].count, 4, "of the nine, five were the first one's");
    assert_eq!(first.onset_hi_s, (at - second_ns) as f64 / 1e9);
}

#[test]
fn what_happened_before_the_load_was_seen_is_the_episodes() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    story.end();
    (0..30).for_each(|_| drop(story.step()));
    story.counted(Signal::AcceptOverflowSyn, listener(80), 2);
    (0..5).for_each(|_| drop(story.step()));
    assert_eq!(story.verdict().outcome, Outcome::Clear, "there was no load");

    let began_ns = story.now_ns();
    story.step();
    story.step();
    let burst_ns = story.now_ns() - 10 * MS;
    story.counted(Signal::AcceptOverflowSyn, listener(80), 7);
    assert_eq!(story.step().onsets, []);
    (0..3).for_each(|_| drop(story.step()));
    story.frame.marks.push(Mark::CommandStarted { at_ns: began_ns, pid: None });
    let onsets = story.step().onsets;
    assert!(matches!(onsets[..], [(_, _, at)] if at.hi_ns == burst_ns), "{onsets:?}");
    let first = story.verdict().first.expect("a hit");
    assert_eq!(first.evidence[0].count, 5, "two came before it began");
    assert_eq!(first.onset_hi_s, 0.19);
}

#[test]
fn an_episode_names_the_limits_that_were_in_force_when_it_began() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    let tell = |story: &mut Story, value: &str| {
        let (name, place) = ("net.core.somaxconn".to_owned(), "host".to_owned());
        story.frame.facts.push(Fact::Limit { name, place, value: value.to_owned() });
        story.step();
    };
    let told = |story: &Story| story.engine.verdict(None).run.limits[0].value.clone();
    tell(&mut story, "128");
    tell(&mut story, "4096");
    assert_eq!(told(&story), "128");
    let at_ns = story.now_ns();
    story.frame.marks.push(Mark::CommandStarted { at_ns, pid: None });
    story.step();
    assert_eq!(told(&story), "4096");
}

#[test]
fn what_is_open_when_an_episode_begins_stays_open() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    let at = Subject { netns: Some(NETNS), listener: Some(address(80)), ..Subject::HOST };
    story.counted(Signal::SynArrival, listener(80), 1);
    story.counted(Signal::ConnectionAccepted, at.clone(), 40);
    story.step();
    (0..50).for_each(|_| drop(story.step()));
    let at_ns = story.now_ns();
    story.frame.marks.push(Mark::CommandStarted { at_ns, pid: None });
    story.counted(Signal::AcceptedClosed, at, 10);
    (0..20).for_each(|_| drop(story.step()));
    let phases = story.verdict().phases;
    assert_eq!(phases.last().and_then(|phase| phase.load.concurrency), Some(30.0));
}

#[test]
fn a_recording_that_begins_in_the_middle_is_judged_from_there_on() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    let at = Subject { netns: Some(NETNS), listener: Some(address(80)), ..Subject::HOST };
    story.counted(Signal::SynArrival, listener(80), 1);
    story.counted(Signal::ConnectionAccepted, at.clone(), 40);
    story.counted(Signal::AcceptOverflowSyn, listener(80), 5);
    story.used(Resource::AcceptQueue, listener(80), 12, 128);
    story.step();
    let begins_ns = story.now_ns() - 100 * MS;
    let mut story = story.told_from_here_on();
    let verdict = story.verdict();
    assert_eq!(verdict.outcome, Outcome::Clear, "nothing has happened since");
    assert_eq!(verdict.run.clock.mono_ns, begins_ns);
    assert_eq!(verdict.headroom[0].peak_used, 12);

    story.counted(Signal::AcceptedClosed, at, 10);
    story.counted(Signal::AcceptOverflowSyn, listener(80), 9);
    assert_eq!(story.step().onsets.len(), 1);
    (0..20).for_each(|_| drop(story.step()));
    let verdict = story.verdict();
    assert_eq!(verdict.first.expect("a hit").evidence[0].count, 4);
    assert_eq!(
        verdict.phases.last().and_then(|phase| phase.load.concurrency),
        Some(30.0),
        "what was open stays open"
    );
}

#[test]
fn who_stood_at_a_limit_before_is_no_hit_of_the_next_episode() {
    let mut story = Story::on(Tier::Counter, vec![]).started(80);
    story.used(Resource::Descriptors, Subject::process(5), 64, 64);
    (0..10).for_each(|_| drop(story.step()));
    assert_eq!(story.engine.watches.len(), 1, "it was refused, as far as anyone can tell");
    let at_ns = story.now_ns();
    story.frame.marks.push(Mark::CommandStarted { at_ns, pid: None });
    (0..10).for_each(|_| drop(story.step()));
    assert_eq!(story.engine.watches.len(), 0);
    // Once it has come down, it can be refused anew.
    story.used(Resource::Descriptors, Subject::process(5), 12, 64);
    story.step();
    story.used(Resource::Descriptors, Subject::process(5), 64, 64);
    (0..10).for_each(|_| drop(story.step()));
    assert_eq!(story.engine.watches.len(), 1);
}

#[test]
fn a_service_that_still_stands_at_its_limit_is_the_cause_in_the_next_episode_too() {
    let mut story = Story::on(Tier::Counter, vec![]).started(80);
    story.owns(5, NETNS, 80);
    let waits = |story: &mut Story| {
        for _ in 0..10 {
            story.used(Resource::Descriptors, Subject::process(5), 64, 64);
            story.used(Resource::AcceptQueue, listener(80), 3, 16);
            story.step();
        }
        lines(&story.verdict().hits).len()
    };
    assert_eq!(waits(&mut story), 1);
    let at_ns = story.now_ns();
    story.frame.marks.push(Mark::CommandStarted { at_ns, pid: None });
    story.used(Resource::AcceptQueue, listener(80), 0, 16);
    story.step();
    assert_eq!(lines(&story.verdict().hits).len(), 0, "nobody waits");
    assert_eq!(waits(&mut story), 1);
    assert!(story.verdict().hits[0].onset_s >= 0.0);
}

#[test]
fn what_is_killed_long_after_an_episode_is_not_its_first() {
    let killed_after = |seconds: u64| {
        let mut story = Story::on(Tier::Trampoline, vec![]);
        story.engine.header.command.clear();
        let mut story = story.started(80);
        story.end();
        (0..seconds * 10).for_each(|_| drop(story.step()));
        let memory =
            Subject { cgroup: Some(5), controller: Some(Controller::Memory), pid: Some(17), ..Subject::HOST };
        story.owns(17, NETNS, 80);
        story.counted(Signal::OomKill, memory, 1);
        story.step();
        story.verdict().hits.len()
    };
    assert_eq!((killed_after(55), killed_after(65)), (1, 0));
}

#[test]
fn connections_from_before_the_first_look_do_not_hide_those_that_are_open() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    let at = Subject { netns: Some(NETNS), listener: Some(address(80)), ..Subject::HOST };
    story.counted(Signal::SynArrival, listener(80), 1);
    story.counted(Signal::ConnectionAccepted, at.clone(), 1);
    story.step();
    story.counted(Signal::AcceptedClosed, at.clone(), 1_001);
    (0..10).for_each(|_| drop(story.step()));
    story.counted(Signal::ConnectionAccepted, at, 901);
    (0..20).for_each(|_| drop(story.step()));
    let phases = story.verdict().phases;
    assert_eq!(phases.last().and_then(|phase| phase.load.concurrency), Some(900.0));
}

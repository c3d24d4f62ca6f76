//! How long accept queues were, and against which limit.

use super::*;

/// So many were accepted at a port so far, and the longest queue that one of them joined.
fn accepted(story: &mut Story, port: u16, count: u64, peak: u64) {
    let at = Subject { netns: Some(NETNS), listener: Some(address(port)), ..Subject::HOST };
    story.counted(Signal::ConnectionAccepted, at, count);
    if let Some(sample) = story.frame.signals.last_mut() {
        (sample.peak, sample.limit) = (Some(peak), Some(128));
    }
}

#[test]
fn a_queue_that_was_longer_between_two_looks_counts_as_that_long() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    let accepted = |story: &mut Story, count: u64, peak: u64| {
        story.used(Resource::AcceptQueue, listener(80), 2, 128);
        accepted(story, 80, count, peak);
        story.step();
        story.verdict().headroom[0].peak_used
    };
    accepted(&mut story, 40, 1);
    assert_eq!(accepted(&mut story, 80, 100), 100);
    assert_eq!(accepted(&mut story, 90, 100), 100);
    let at_ns = story.now_ns();
    story.frame.marks.push(Mark::CommandStarted { at_ns, pid: None });
    assert_eq!(accepted(&mut story, 95, 100), 2, "the probe notes the longest of all times: this one is old");
    assert_eq!(accepted(&mut story, 99, 101), 101);
}

#[test]
fn a_queue_that_was_long_is_held_against_the_limit_that_it_had() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    let peak = |story: &mut Story| {
        story.step();
        let headroom = story.verdict().headroom;
        (headroom[0].peak_used, headroom[0].limit)
    };
    story.used(Resource::AcceptQueue, listener(80), 2, 16);
    assert_eq!(peak(&mut story), (2, 16));
    // Another service has begun to listen there, and nobody has looked since.
    accepted(&mut story, 80, 40, 96);
    assert_eq!(peak(&mut story), (96, 128));
    story.used(Resource::AcceptQueue, listener(80), 110, 512);
    assert_eq!(peak(&mut story), (96, 128), "further from its limit, though longer");
    story.used(Resource::AcceptQueue, listener(80), 17, 16);
    assert_eq!(peak(&mut story), (17, 16));
}

#[test]
fn a_queue_that_was_long_before_the_first_look_counts_as_that_long() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    let peak_used = |story: &Story| {
        let headroom = story.verdict().headroom;
        headroom.iter().find(|it| it.subject.listener == Some(address(90))).map(|it| it.peak_used)
    };
    let to = Subject { netns: Some(NETNS), destination: Some(address(90)), ..Subject::HOST };
    story.counted(Signal::ConnectAttempt, to, 40);
    accepted(&mut story, 90, 40, 100);
    story.step();
    assert_eq!(peak_used(&story), None, "nobody has looked");
    story.used(Resource::AcceptQueue, listener(90), 2, 128);
    story.step();
    assert_eq!(peak_used(&story), Some(100));
}

#[test]
fn a_queue_that_was_long_before_the_load_was_seen_is_the_episodes() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    story.used(Resource::AcceptQueue, listener(80), 2, 128);
    story.end();
    (0..30).for_each(|_| drop(story.step()));
    let began_ns = story.now_ns();
    story.used(Resource::AcceptQueue, listener(80), 3, 128);
    story.step();
    accepted(&mut story, 80, 40, 100);
    (0..3).for_each(|_| drop(story.step()));
    assert_eq!(story.verdict().headroom[0].peak_used, 2, "it was not the one before's");
    story.frame.marks.push(Mark::CommandStarted { at_ns: began_ns, pid: None });
    story.step();
    assert_eq!(story.verdict().headroom[0].peak_used, 100);
}

#[test]
fn a_queue_that_overflowed_is_held_against_its_own_limit() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    // There was a service with a longer queue before.
    story.used(Resource::AcceptQueue, listener(80), 200, 512);
    set_by(&mut story, "net.core.somaxconn");
    story.step();
    story.counted(Signal::AcceptOverflowSyn, listener(80), 5);
    if let Some(sample) = story.frame.signals.last_mut() {
        (sample.peak, sample.limit) = (Some(129), Some(128));
    }
    story.step();
    story.used(Resource::AcceptQueue, listener(80), 3, 128);
    set_by(&mut story, "backlog argument");
    story.step();
    let usage = story.end().verdict().first.and_then(|hit| hit.usage).expect("its usage");
    assert_eq!((usage.used, usage.limit, usage.peak_ratio), (129, Some(128), Some(1.0078)));
    assert_eq!(usage.limit_set_by.as_deref(), Some("backlog argument"));
}

/// Of the limit that was looked at last.
fn set_by(story: &mut Story, who: &str) {
    if let Some(look) = story.frame.usages.last_mut() {
        look.limit_set_by = Some(who.to_owned());
    }
}

#[test]
fn a_queue_that_looks_found_long_before_the_load_was_seen_is_the_episodes() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    story.used(Resource::AcceptQueue, listener(80), 2, 128);
    story.end();
    (0..30).for_each(|_| drop(story.step()));
    story.used(Resource::AcceptQueue, listener(80), 120, 128).step();
    let began_ns = story.now_ns();
    for used in [100, 4, 3] {
        story.used(Resource::AcceptQueue, listener(80), used, 128);
        story.step();
    }
    assert_eq!(story.verdict().headroom[0].peak_used, 2, "it was not the one before's");
    story.frame.marks.push(Mark::CommandStarted { at_ns: began_ns, pid: None });
    story.step();
    assert_eq!(story.verdict().headroom[0].peak_used, 100);
}

#[test]
fn the_longest_queue_that_nobody_has_looked_at_is_kept() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    let to = Subject { netns: Some(NETNS), destination: Some(address(90)), ..Subject::HOST };
    story.counted(Signal::ConnectAttempt, to, 40);
    accepted(&mut story, 90, 40, 100);
    story.step();
    // Another service has begun there.
    accepted(&mut story, 90, 50, 3);
    if let Some(sample) = story.frame.signals.last_mut() {
        sample.limit = Some(16);
    }
    story.step();
    story.used(Resource::AcceptQueue, listener(90), 2, 16).step();
    let headroom = story.verdict().headroom;
    let queue = headroom.iter().find(|it| it.subject.listener == Some(address(90))).expect("its queue");
    assert_eq!((queue.peak_used, queue.limit), (100, 128));
}

#[test]
fn a_service_that_begins_after_the_end_has_used_nothing_of_its_queue() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    let to = Subject { netns: Some(NETNS), destination: Some(address(90)), ..Subject::HOST };
    story.counted(Signal::ConnectAttempt, to.clone(), 40);
    story.used(Resource::AcceptQueue, listener(80), 2, 128);
    story.end().step();
    story.used(Resource::AcceptQueue, listener(80), 7, 128);
    story.used(Resource::AcceptQueue, listener(90), 128, 128);
    story.step();
    let peaks = |story: &Story| story.verdict().headroom.iter().map(|it| it.peak_used).max();
    assert_eq!(peaks(&story), Some(2));
    let at_ns = story.now_ns();
    story.frame.marks.push(Mark::CommandStarted { at_ns, pid: None });
    story.counted(Signal::ConnectAttempt, to, 80);
    story.step();
    assert_eq!(peaks(&story), Some(128), "it stands there when the next one begins");
}

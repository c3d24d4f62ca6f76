//! Pressure, symptoms and kills: what is a fault, and what explains what.

use std::net::SocketAddr;

use observer_common::Signal;

use super::{NETNS, Story, address, lines, listener};
use crate::core::{
    frame::{Fact, Tier},
    subject::{Controller, Role, Subject},
};

fn destination(port: u16) -> Subject {
    Subject { netns: Some(NETNS), destination: Some(address(port)), ..Subject::HOST }
}

const CPU: Subject = Subject { cgroup: Some(5), controller: Some(Controller::Cpu), ..Subject::HOST };

/// A service of cgroup `/web` that is stopped in `throttled` of 10 periods a second for `seconds`, whose
/// queue overflows from the second one on.
fn throttled_service(story: &mut Story, before: u64, throttled: u64, seconds: u64) {
    story.owns(17, NETNS, 80);
    let facts = [
        Fact::CgroupPath { id: 5, controller: CPU.controller, path: "/web".into() },
        Fact::ProcessCgroup { pid: 17, controller: Controller::Cpu, cgroup: 5 },
    ];
    story.frame.facts.extend(facts);
    let (mut periods, mut stopped) = (before * 10, before);
    for second in 0..seconds {
        for tick in 0..10 {
            periods += 1;
            stopped += u64::from(tick < throttled);
            story.counted(Signal::CpuPeriods, CPU, periods);
            story.counted(Signal::CpuThrottledPeriods, CPU, stopped);
            story.counted(Signal::CpuThrottledTime, CPU, stopped * 90_000);
            story.counted(Signal::ConnectionAccepted, listener(80), 100 + second * 50 + tick * 5);
            story.counted(Signal::SynArrival, listener(80), 1_000 + second * 300 + tick * 30);
            if second >= 2 {
                story.counted(Signal::AcceptOverflowSyn, listener(80), (second - 2) * 300 + tick * 30 + 30);
            }
            story.step();
        }
    }
}

#[test]
fn throttling_explains_the_overflow_of_a_service_that_stood_still() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    throttled_service(&mut story, 0, 9, 5);
    let verdict = story.end().verdict();
    let first = verdict.first.expect("a first");
    assert_eq!((first.fault_line.as_str(), first.role), ("cpu_throttling", Role::Target));
    assert_eq!(verdict.chain.len(), 1, "{:?}", verdict.chain);
}

#[test]
fn what_a_probe_counts_is_not_counted_again_by_its_counter() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    for periods in 1..=20 {
        story.counted(Signal::CpuPeriods, CPU, periods);
        story.counted(Signal::CpuThrottledPeriods, CPU, periods);
        // The counter lags behind, and counts the same.
        let mut again = story.frame.signals.clone();
        for sample in &mut again {
            (sample.tier, sample.first_ns, sample.last_ns) = (Tier::Counter, None, None);
            sample.count -= 1;
        }
        story.frame.signals.extend(again);
        story.step();
    }
    assert_eq!(story.engine.ledger.in_run(Signal::CpuThrottledPeriods, &CPU), Some(20));
}

#[test]
fn a_little_throttling_explains_nothing() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    throttled_service(&mut story, 0, 2, 5);
    let verdict = story.end().verdict();
    assert_eq!(lines(&verdict.hits), ["accept_queue_overflow"]);
    assert!(verdict.chain.is_empty());
}

#[test]
fn pressure_that_explains_nothing_comes_after_a_refusal() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    throttled_service(&mut story, 0, 9, 2);
    story.counted(Signal::ConntrackDrop, Subject::namespace(NETNS), 1);
    story.step();
    let verdict = story.end().verdict();
    assert_eq!(verdict.first.expect("a first").fault_line, "conntrack_full");
    assert!(verdict.hits.iter().any(|hit| hit.fault_line == "cpu_throttling"));
}

#[test]
fn a_kill_after_the_load_is_found_and_a_drop_after_it_is_not() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
    story.end();
    for _ in 0..20 {
        story.step();
    }
    let memory = Subject { controller: Some(Controller::Memory), ..CPU };
    story.owns(17, NETNS, 80);
    story.counted(Signal::OomKill, Subject { pid: Some(17), ..memory }, 1);
    story.counted(Signal::AcceptOverflowSyn, listener(80), 400);
    story.step();
    let verdict = story.verdict();
    assert_eq!(lines(&verdict.hits), ["oom_kill"]);
    assert_eq!(verdict.hits[0].phase.as_deref(), Some("recovery"));
}

#[test]
fn a_refused_address_beside_one_of_the_other_family_is_no_fault() {
    let refused = |opened_at: Option<SocketAddr>| {
        let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
        let v6 = Subject { destination: Some("[::1]:80".parse().expect("an address")), ..destination(80) };
        story.counted(Signal::ConnectAttempt, v6.clone(), 50);
        story.counted(Signal::ConnectRefused, v6, 50);
        if let Some(at) = opened_at {
            story.counted(Signal::ConnectionOpened, Subject { destination: Some(at), ..destination(80) }, 50);
        }
        story.step();
        lines(&story.end().verdict().elsewhere).len() + story.verdict().hits.len()
    };
    assert_eq!(refused(None), 1);
    assert_eq!(refused(Some(address(80))), 0);
    assert_eq!(refused(Some(address(81))), 1);
    assert_eq!(refused(Some(SocketAddr::from(([10, 0, 0, 7], 80)))), 1, "no name has both");
}

#[test]
fn a_single_connection_to_the_other_family_is_no_fallback() {
    let refused = |opened: u64, tried: u64| {
        let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
        let v6 = Subject { destination: Some("[::1]:80".parse().expect("an address")), ..destination(80) };
        story.counted(Signal::ConnectAttempt, v6.clone(), 1_000);
        story.counted(Signal::ConnectRefused, v6, 1_000);
        story.counted(Signal::ConnectAttempt, destination(80), 100 + tried);
        story.counted(Signal::ConnectionOpened, destination(80), opened);
        story.step();
        story.end().verdict().hits.len()
    };
    assert_eq!((refused(1, 1), refused(1_000, 1_000)), (1, 0));
    assert_eq!(refused(300, 1_000), 0, "they tried it, and got something else");
}

#[test]
fn who_is_refused_from_elsewhere_is_not_hidden_by_a_few_from_here() {
    let refused = |here: u64| {
        let mut story = Story::on(Tier::Trampoline, vec![]).started(9);
        story.counted(Signal::SynRefused, listener(9), 5_000);
        story.counted(Signal::ConnectRefused, destination(9), here);
        story.step();
        let verdict = story.end().verdict();
        verdict.hits.iter().map(|hit| hit.subject.listener.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(refused(2), [true]);
    assert_eq!(refused(5_000), [false], "that one says more");
}

#[test]
fn who_knocks_where_nobody_ever_listened_is_no_fault_of_a_load_that_is_served() {
    let refused = |accepted: u64| {
        let mut story = Story::on(Tier::Trampoline, vec![]).started(9);
        story.counted(Signal::ConnectionAccepted, listener(80), accepted);
        for count in 1..=6 {
            story.counted(Signal::SynRefused, listener(9), count);
            story.step();
        }
        story.end().verdict().hits.len()
    };
    assert_eq!((refused(10), refused(10_000)), (1, 0));
}

#[test]
fn an_address_beside_the_load_that_never_answers_is_no_fault() {
    let refused = |attempts: u64| {
        let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
        story.counted(Signal::ConnectAttempt, destination(80), 1_000);
        story.counted(Signal::ConnectAttempt, destination(9), attempts);
        story.counted(Signal::ConnectRefused, destination(9), attempts);
        story.step();
        story.end().verdict().hits.len()
    };
    assert_eq!((refused(50), refused(500)), (0, 1));
}

#[test]
fn what_others_on_the_host_connect_to_does_not_hide_where_the_command_gets_no_answer() {
    let mut story = Story::on(Tier::Trampoline, vec![]).started(9);
    story.counted(Signal::ConnectAttempt, destination(81), 100_000);
    story.frame.signals.iter_mut().for_each(|sample| sample.generator = false);
    story.counted(Signal::ConnectAttempt, destination(9), 150);
    story.counted(Signal::ConnectRefused, destination(9), 150);
    story.step();
    assert_eq!(lines(&story.end().verdict().hits), ["connection_refused"]);
}

#[test]
fn pressure_that_led_to_a_kill_elsewhere_makes_no_fault_of_harmless_pressure_here() {
    let hits = |killed_here: bool| {
        let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
        story.owns(17, NETNS, 80);
        let memory = |id| Subject { cgroup: Some(id), controller: Some(Controller::Memory), ..Subject::HOST };
        for (id, path, pid) in [(5, "/web", 17), (6, "/leaky", 18)] {
            let controller = Some(Controller::Memory);
            story.frame.facts.push(Fact::CgroupPath { id, controller, path: path.into() });
            story.frame.facts.push(Fact::ProcessCgroup { pid, controller: Controller::Memory, cgroup: id });
        }
        for tick in 1..=50 {
            story.counted(Signal::MemoryMax, memory(5), tick * 5);
            story.counted(Signal::MemoryMax, memory(6), tick * 5);
            story.step();
        }
        let (id, pid) = if killed_here { (5, 17) } else { (6, 18) };
        story.counted(Signal::OomKill, Subject { pid: Some(pid), ..memory(id) }, 1);
        story.step();
        let verdict = story.end().verdict();
        lines(&verdict.hits).iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(hits(true), ["memory_pressure", "oom_kill"]);
    assert_eq!(hits(false), [""; 0]);
}

#[test]
fn one_lost_segment_in_a_thousand_is_no_fault_and_one_in_twenty_is() {
    let lost = |per_tick: u64| {
        let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
        for tick in 1..=30 {
            story.counted(Signal::SegmentsSent, Subject::namespace(NETNS), tick * 1_000);
            story.counted(Signal::RetransmitTimeout, destination(80), tick * per_tick);
            story.step();
        }
        lines(&story.end().verdict().hits).len()
    };
    assert_eq!((lost(1), lost(50)), (0, 1));
}

#[test]
fn memory_pressure_is_a_hit_only_with_the_kill_that_it_led_to() {
    let pressed = |kill: bool| {
        let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
        let memory = Subject { controller: Some(Controller::Memory), ..CPU };
        story.owns(17, NETNS, 80);
        story.frame.facts.push(Fact::ProcessCgroup { pid: 17, controller: Controller::Memory, cgroup: 5 });
        for tick in 1..=20 {
            story.counted(Signal::MemoryMax, memory.clone(), tick * 5);
            story.step();
        }
        if kill {
            story.counted(Signal::OomKill, Subject { pid: Some(17), ..memory }, 1);
            story.step();
        }
        let verdict = story.end().verdict();
        (lines(&verdict.hits).join(" "), verdict.chain.len())
    };
    assert_eq!(pressed(false), (String::new(), 0));
    assert_eq!(pressed(true), ("memory_pressure oom_kill".to_owned(), 1));
}

/// SYNs to a port are sent again until their clients give up.
fn lost_syns(story: &mut Story, port: u16) {
    story.counted(Signal::ConnectAttempt, destination(port), 200);
    for tick in 1..=20 {
        story.counted(Signal::RetransmitSyn, destination(port), tick * 5);
        story.counted(Signal::ConnectAbandoned, destination(port), tick * 2);
        story.step();
    }
}

/// Cause and effect of every link.
fn chain(story: &Story) -> Vec<(String, String)> {
    story.verdict().chain.iter().map(|link| (link.cause.clone(), link.effect.clone())).collect()
}

fn link(cause: &str, effect: &str) -> (String, String) {
    (cause.to_owned(), effect.to_owned())
}

#[test]
fn an_overflow_explains_the_syns_that_are_sent_again_to_its_own_listener_only() {
    let overflow_at = |port: u16| {
        let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
        story.counted(Signal::AcceptOverflowSyn, listener(port), 40);
        lost_syns(&mut story, 80);
        chain(&story)
    };
    let explained = overflow_at(80);
    assert!(explained.contains(&link("accept_queue_overflow", "packet_loss")), "{explained:?}");
    assert!(explained.contains(&link("packet_loss", "connect_timeout")), "{explained:?}");
    assert!(!overflow_at(81).contains(&link("accept_queue_overflow", "packet_loss")));
}

#[test]
fn a_full_tracking_table_explains_what_passes_through_it_only() {
    let full_in = |netns: u32| {
        let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
        story.counted(Signal::ConntrackDrop, Subject::namespace(netns), 40);
        lost_syns(&mut story, 80);
        (chain(&story), story.verdict().first.expect("a first").fault_line)
    };
    let (explained, first) = full_in(NETNS);
    assert_eq!(first, "conntrack_full");
    assert!(explained.contains(&link("conntrack_full", "packet_loss")), "{explained:?}");
    let (elsewhere, first) = full_in(super::OTHER_NETNS);
    assert_eq!(first, "packet_loss");
    assert!(!elsewhere.contains(&link("conntrack_full", "packet_loss")), "{elsewhere:?}");
}

#[test]
fn a_kill_explains_the_refusals_of_what_the_victim_served_only() {
    let killed = |pid: u32| {
        let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
        story.owns(17, NETNS, 80).owns(18, NETNS, 81);
        let memory = Subject { pid: Some(pid), controller: Some(Controller::Memory), ..CPU };
        story.counted(Signal::OomKill, memory, 1);
        story.counted(Signal::ConnectAttempt, destination(80), 200);
        story.counted(Signal::ConnectRefused, destination(80), 50);
        story.step();
        chain(&story)
    };
    assert_eq!(killed(17), [link("oom_kill", "connection_refused")]);
    assert_eq!(killed(18), []);
}

#[test]
fn resets_come_of_an_overflow_only_where_the_kernel_is_told_to_send_them() {
    let reset = |abort: &str| {
        let mut story = Story::on(Tier::Trampoline, vec![]).started(80);
        story.frame.facts.push(Fact::Limit {
            name: "net.ipv4.tcp_abort_on_overflow".into(),
            value: abort.into(),
            place: format!("netns {NETNS}"),
        });
        story.counted(Signal::SynArrival, listener(80), 100);
        story.counted(Signal::AcceptOverflowAck, listener(80), 40);
        story.counted(Signal::ResetSent, listener(80), 40);
        story.step();
        chain(&story)
    };
    assert_eq!(reset("1"), [link("accept_queue_overflow", "connection_resets")]);
    assert_eq!(reset("0"), []);
}

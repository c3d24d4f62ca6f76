//! The collector against the running kernel, without any privilege: in its own namespaces, on loopback.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{self, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::socket::{Backlog, listen},
    time::{ClockId, clock_gettime},
};

use super::*;
use crate::core::{
    frame::{Fact, Resource, SignalSample, UsageSample},
    subject::Subject,
};

fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// A listener on a free port of `address`, with this backlog.
fn listener(address: Ipv4Addr, backlog: i32) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((address, 0)).expect("a free port");
    // To listen again changes the backlog.
    listen(&listener, Backlog::new(backlog).expect("a backlog")).expect("listen");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// Ticks until `done` says so of a frame, for five seconds at most; returns all that was collected.
fn collect(collector: &mut Collector, mut done: impl FnMut(&Frame) -> bool) -> Frame {
    let mut all = Frame::default();
    for _ in 0..100 {
        let mut frame = Frame::default();
        collector.tick(&now, &mut frame);
        all.signals.append(&mut frame.signals);
        all.usages.append(&mut frame.usages);
        all.facts.append(&mut frame.facts);
        all.sources.append(&mut frame.sources);
        if done(&all) {
            return all;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("not seen in five seconds; usages: {:#?}; sources: {:#?}", all.usages, all.sources);
}

fn collector() -> Collector {
    Collector::new(CollectorConfig { own_pid: process::id(), can_name_probed_pids: true })
}

fn usage_of(frame: &Frame, resource: Resource, listener: SocketAddr) -> Option<&UsageSample> {
    let of = |usage: &&UsageSample| usage.resource == resource && usage.subject.listener == Some(listener);
    frame.usages.iter().rev().find(of)
}

#[test]
fn an_accept_queue_is_seen_with_its_limit_its_drops_and_its_owner() {
    let (_listener, address) = listener(Ipv4Addr::LOCALHOST, 3);
    let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300));
    let mut waiting = vec![connect().expect("a place"), connect().expect("a place")];
    let mut collector = collector();

    let frame = collect(&mut collector, |frame| {
        let owner = |fact: &Fact| matches!(fact, Fact::ListenerOwner { listener, pid, .. } if *listener == address && *pid == process::id());
        let process = |fact: &Fact| matches!(fact, Fact::Process { pid, .. } if *pid == process::id());
        usage_of(frame, Resource::AcceptQueue, address).is_some_and(|usage| usage.used == 2)
            && usage_of(frame, Resource::SynQueue, address).is_some()
            && frame.facts.iter().any(owner)
            && frame.facts.iter().any(process)
    });
    let queue = usage_of(&frame, Resource::AcceptQueue, address).expect("the queue");
    assert_eq!((queue.used, queue.limit), (2, Some(3)));
    assert_eq!(queue.limit_set_by.as_deref(), Some("backlog argument"));
    assert_eq!(queue.subject.netns, namespaces::id_of(process::id()).ok());

    // A limit of 3 admits 4; the fifth is dropped, and dropped again when it is sent again.
    waiting.extend([connect().expect("a place"), connect().expect("the place above the limit")]);
    let before_ns = now();
    assert!(connect().is_err(), "the queue is full");
    let after_ns = now();
    let dropped = |sample: &&SignalSample| {
        sample.signal == observer_common::Signal::ListenDrop
            && sample.subject.listener == Some(address)
            && sample.count > 0
    };
    let frame = collect(&mut collector, |frame| frame.signals.iter().find(dropped).is_some());
    let sample = frame.signals.iter().find(dropped).expect("the drops");
    assert!(sample.since_ns < after_ns && sample.read_ns > before_ns, "{sample:?}");
    assert!(sample.since_ns < sample.read_ns);
    let overflow = |sample: &&SignalSample| sample.signal == observer_common::Signal::ListenOverflow;
    assert!(frame.signals.iter().any(|sample| overflow(&sample) && sample.since_ns < after_ns));
}

#[test]
fn a_closed_listener_is_no_longer_in_use() {
    let (listener, address) = listener(Ipv4Addr::LOCALHOST, 7);
    let _waiting = TcpStream::connect(address).expect("a place");
    let mut collector = collector();
    collect(&mut collector, |frame| usage_of(frame, Resource::AcceptQueue, address).is_some());
    drop(listener);
    let frame = collect(&mut collector, |frame| usage_of(frame, Resource::AcceptQueue, address).is_some());
    assert_eq!(usage_of(&frame, Resource::AcceptQueue, address).map(|usage| usage.used), Some(0));
}

#[test]
fn ports_towards_a_destination_are_counted_on_the_connecting_side_only() {
    // More than one in a hundred of the default range; what other tests use stays below that.
    const CONNECTIONS: u64 = 300;
    let (listener, address) = listener(Ipv4Addr::new(127, 0, 0, 77), 512);
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = TcpStream::connect(address).expect("a connection");
        open.push((client, listener.accept().expect("a connection")));
    }
    let of = |frame: &Frame| {
        let of = |usage: &&UsageSample| {
            usage.resource == Resource::EphemeralPorts && usage.subject.destination == Some(address)
        };
        frame.usages.iter().find(of).cloned()
    };
    let frame = collect(&mut collector(), |frame| of(frame).is_some());
    let usage = of(&frame).expect("the ports");
    assert_eq!(usage.used, CONNECTIONS);
    assert!(usage.limit.is_some_and(|limit| limit > CONNECTIONS));
    assert_eq!(usage.limit_set_by.as_deref(), Some("net.ipv4.ip_local_port_range"));
    assert_eq!(usage.subject.source, Some(Ipv4Addr::LOCALHOST.into()));
    let accepting = |usage: &UsageSample| usage.subject.source == Some(address.ip());
    assert!(!frame.usages.iter().any(accepting), "the accepting side holds no port of its own");
}

#[test]
fn the_command_and_its_children_are_followed_with_their_descriptors() {
    let mut command = Command::new("sh")
        .args(["-c", "ulimit -n 64; exec 9</dev/null; sleep 30 & wait"])
        .stdin(Stdio::null())
        .spawn()
        .expect("a command");
    let mut collector = collector();
    collector.set_command(command.id());
    let frame = collect(&mut collector, |frame| {
        let child =
            |fact: &Fact| matches!(fact, Fact::Process { comm, generator: true, .. } if comm == "sleep");
        let limit =
            |usage: &UsageSample| usage.subject == Subject::process(command.id()) && usage.limit == Some(64);
        frame.facts.iter().any(child) && frame.usages.iter().any(limit)
    });
    let limit = |fact: &Fact| matches!(fact, Fact::Limit { name, value, place } if name == "RLIMIT_NOFILE (soft)" && value == "64" && place.starts_with("pid "));
    assert!(frame.facts.iter().any(limit));
    let child = frame.facts.iter().find_map(|fact| match fact {
        Fact::Process { pid, comm, parent, .. } if comm == "sleep" && *parent == command.id() => Some(*pid),
        _ => None,
    });
    let _ = Command::new("kill").arg(child.expect("the child").to_string()).status();
    let _ = command.wait();
    let ended = |usage: &UsageSample| usage.subject == Subject::process(command.id()) && usage.used == 0;
    collect(&mut collector, |frame| frame.usages.iter().any(ended));
}

#[test]
fn what_is_named_by_a_frame_is_looked_up() {
    let mut collector = collector();
    collector.note_process(process::id());
    let frame = collect(&mut collector, |frame| !frame.facts.is_empty());
    assert!(
        frame
            .facts
            .iter()
            .any(|fact| matches!(fact, Fact::Process { pid, generator: false, .. } if *pid == process::id()))
    );
    assert!(frame.facts.iter().any(
        |fact| matches!(fact, Fact::Limit { name, place, .. } if name == "fs.file-max" && place == "host")
    ));
}

#[test]
fn the_cgroups_that_act_on_a_process_are_told_with_their_paths() {
    let mut collector = collector();
    collector.note_process(process::id());
    let frame = collect(&mut collector, |frame| {
        frame.facts.iter().any(|fact| matches!(fact, Fact::Process { pid, .. } if *pid == process::id()))
    });
    for hierarchy in &collector.world.cgroups.controllers {
        let told = frame.facts.iter().find_map(|fact| match fact {
            Fact::ProcessCgroup { pid, controller, cgroup } if *pid == process::id() => {
                (*controller == hierarchy.controller()).then_some(*cgroup)
            }
            _ => None,
        });
        let told = told.expect("the cgroup of this process");
        let path = |fact: &Fact| matches!(fact, Fact::CgroupPath { id, controller, .. } if *id == told && *controller == Some(hierarchy.controller()));
        assert!(frame.facts.iter().any(path), "{hierarchy:?}");
    }
}

#[test]
fn each_source_says_how_it_went_and_only_changes_are_told() {
    let mut collector = collector();
    let frame = collect(&mut collector, |_| true);
    let read: BTreeMap<_, _> = frame.sources.iter().map(|status| (status.source.as_str(), status)).collect();
    for source in [
        "netstat",
        "snmp",
        "conntrack",
        "sockstat",
        "softnet",
        "listeners",
        "sysctls",
        "namespaces",
        "processes",
        "file-nr",
        "vmstat",
        "psi",
        "kmsg",
        "cgroup limits",
    ] {
        assert!(read.contains_key(source), "{source} was not read");
    }
    for source in ["netstat", "conntrack", "softnet", "vmstat", "psi", "cgroup limits"] {
        assert_eq!(read[source].error, None, "{source}");
    }
    assert!(
        frame.signals.iter().all(|sample| sample.since_ns == sample.read_ns),
        "the first read sets the origin"
    );
    let repeated = collect(&mut collector, |_| true);
    assert!(!repeated.facts.iter().any(|fact| frame.facts.contains(fact)), "facts are told once");
}

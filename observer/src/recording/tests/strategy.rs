//! Any frame at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use observer_common::Signal;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::super::series::PLACE_BITS;
use crate::core::{
    frame::{
        Fact, Frame, LogTopic, Loss, Mark, PhaseSource, Resource, RunHeader, SignalCoverage, SignalSample,
        SourceStatus, Target, Tier, UsageSample,
    },
    subject::{Controller, Subject},
};

/// A number that a recording holds.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..10_u64, 0..=i64::MAX as u64, Just(i64::MAX as u64)]
}

/// Any text, NUL and quotes and all.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        vec(any::<char>(), 0..8).prop_map(|it| it.into_iter().collect()),
        Just("a'b\"c\0d\n".to_owned())
    ]
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|it| IpAddr::from(Ipv4Addr::from(it))),
        any::<u128>().prop_map(|it| IpAddr::from(Ipv6Addr::from(it))),
        any::<u32>().prop_map(|it| IpAddr::from(Ipv4Addr::from(it).to_ipv6_mapped())),
    ]
}

fn address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        (ip(), any::<u16>()).prop_map(SocketAddr::from),
        (any::<u128>(), any::<u16>(), any::<u32>()).prop_map(|(ip, port, scope)| SocketAddrV6::new(
            ip.into(),
            port,
            0,
            scope
        )
        .into()),
    ]
}

fn subject() -> impl Strategy<Value = Subject> {
    let any_32 = || option::of(any::<u32>());
    let addresses = (option::of(address()), option::of(address()), option::of(ip()));
    let controller = option::of(select(Controller::ALL));
    (any_32(), addresses, option::of(number()), controller, any_32()).prop_map(
        |(netns, (listener, destination, source), cgroup, controller, pid)| Subject {
            netns,
            listener,
            destination,
            source,
            cgroup,
            controller,
            pid,
        },
    )
}

fn tier() -> impl Strategy<Value = Tier> {
    select(vec![Tier::Trampoline, Tier::Kprobe, Tier::Tracepoint, Tier::Counter, Tier::Absent])
}

fn phase_source() -> impl Strategy<Value = PhaseSource> {
    select(vec![PhaseSource::Auto, PhaseSource::Mark, PhaseSource::Plan])
}

fn signal() -> impl Strategy<Value = SignalSample> {
    let maybe = || option::of(number());
    let what = (select(Signal::ALL), tier(), subject(), option::of(text()), any::<bool>(), number());
    (what, maybe(), maybe(), maybe(), maybe(), number(), number()).prop_map(
        |(
            (signal, tier, subject, reason, generator, count),
            first_ns,
            last_ns,
            peak,
            limit,
            read_ns,
            since_ns,
        )| {
            SignalSample {
                signal,
                tier,
                subject,
                reason,
                generator,
                count,
                first_ns,
                last_ns,
                peak,
                limit,
                read_ns,
                since_ns,
            }
        },
    )
}

fn usage() -> impl Strategy<Value = UsageSample> {
    let what = (select(Resource::ALL), subject());
    (what, number(), option::of(number()), option::of(text()), number(), number()).prop_map(
        |((resource, subject), used, limit, limit_set_by, read_ns, since_ns)| UsageSample {
            resource,
            subject,
            used,
            limit,
            limit_set_by,
            read_ns,
            since_ns,
        },
    )
}

fn fact() -> impl Strategy<Value = Fact> {
    let process =
        (any::<u32>(), any::<u32>(), text(), option::of(any::<u32>()), option::of(number()), any::<bool>());
    prop_oneof![
        process.prop_map(|(pid, parent, comm, netns, cgroup, generator)| Fact::Process {
            pid,
            parent,
            comm,
            netns,
            cgroup,
            generator
        }),
        (any::<u32>(), address(), any::<u32>()).prop_map(|(netns, listener, pid)| Fact::ListenerOwner {
            netns,
            listener,
            pid
        }),
        (number(), option::of(select(Controller::ALL)), text())
            .prop_map(|(id, controller, path)| Fact::CgroupPath { id, controller, path }),
        (any::<u32>(), select(Controller::ALL), number())
            .prop_map(|(pid, controller, cgroup)| Fact::ProcessCgroup { pid, controller, cgroup }),
        (number(), select(LogTopic::ALL), text()).prop_map(|(at_ns, about, text)| Fact::KernelLog {
            at_ns,
            about,
            text
        }),
        (number(), any::<u32>(), text(), text(), option::of(text()), option::of(text())).prop_map(
            |(at_ns, pid, comm, constraint, limit_owner, cgroup)| Fact::OomVictim {
                at_ns,
                pid,
                comm,
                constraint,
                limit_owner,
                cgroup
            }
        ),
        (text(), text(), text()).prop_map(|(name, value, place)| Fact::Limit { name, value, place }),
    ]
}

fn mark() -> impl Strategy<Value = Mark> {
    prop_oneof![
        (number(), option::of(any::<u32>())).prop_map(|(at_ns, pid)| Mark::CommandStarted { at_ns, pid }),
        (number(), option::of(any::<i32>()))
            .prop_map(|(at_ns, exit_status)| Mark::CommandEnded { at_ns, exit_status }),
        (number(), text(), phase_source()).prop_map(|(at_ns, name, source)| Mark::Phase {
            at_ns,
            name,
            source
        }),
    ]
}

/// Any frame, but for its number.
fn frame() -> impl Strategy<Value = Frame> {
    let status = (text(), number(), option::of(text()))
        .prop_map(|(source, duration_ns, error)| SourceStatus { source, duration_ns, error });
    let loss = (text(), number()).prop_map(|(reason, count)| Loss { reason, count });
    let lists = (
        vec(signal(), 0..6),
        vec(usage(), 0..6),
        vec(fact(), 0..6),
        vec(mark(), 0..4),
        vec(status, 0..4),
        vec(loss, 0..4),
    );
    (number(), number(), lists).prop_map(
        |(mono_ns, real_ns, (signals, usages, facts, marks, sources, losses))| Frame {
            seq: 0,
            mono_ns,
            real_ns,
            signals,
            usages,
            facts,
            marks,
            sources,
            losses,
        },
    )
}

/// Frames with rising numbers, gaps and all.
pub(crate) fn frames() -> impl Strategy<Value = Vec<Frame>> {
    // More than that no samples can refer to.
    (vec(frame(), 0..5), vec(number().prop_map(|seq| seq >> PLACE_BITS), 5)).prop_map(
        |(mut frames, mut numbers)| {
            numbers.sort_unstable();
            numbers.dedup();
            frames.truncate(numbers.len());
            frames.iter_mut().zip(numbers).for_each(|(frame, seq)| frame.seq = seq);
            frames
        },
    )
}

/// Any header.
pub(crate) fn header() -> impl Strategy<Value = RunHeader> {
    let target = prop_oneof![
        any::<u16>().prop_map(Target::Port),
        any::<u32>().prop_map(Target::Pid),
        text().prop_map(Target::Cgroup),
        text().prop_map(Target::Container),
    ];
    let coverage = (select(Signal::ALL), tier(), text(), option::of(text())).prop_map(
        |(signal, tier, source, why_degraded)| SignalCoverage { signal, tier, source, why_degraded },
    );
    let names = (text(), text(), text(), text(), option::of(any::<u32>()));
    let lists = (
        vec(text(), 0..4),
        vec(target, 0..4),
        vec(text(), 0..3),
        vec((text(), any::<u64>()), 0..3),
        vec(coverage, 0..4),
    );
    (names, lists).prop_map(
        |((id, observer_version, host, kernel, netns), (command, targets, ignore, plan, coverage))| {
            RunHeader { id, observer_version, host, kernel, netns, command, targets, ignore, plan, coverage }
        },
    )
}

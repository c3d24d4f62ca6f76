//! What an hour costs on the disk.

use observer_common::Signal;
use tempfile::tempdir;

use super::{super::Writer, frame, header};
use crate::core::{
    frame::{Frame, SignalSample, SourceStatus, Tier},
    subject::{Controller, Subject},
};

/// An hour of a busy host has this much.
const BUDGET_BYTES: u64 = 25_000_000;
/// What is written of it here: sizes grow evenly.
const FRAMES: u64 = 3_000;
const FRAMES_PER_HOUR: u64 = 36_000;
/// The clock of a host that has been up for ten days takes all bytes that it ever will.
const UPTIME_NS: u64 = 864_000_000_000_000;

/// Every tick all of these move: what a throttled service behind a full queue shows.
const PROBED: [Signal; 9] = [
    Signal::SynArrival,
    Signal::ConnectionAccepted,
    Signal::AcceptedClosed,
    Signal::ConnectAttempt,
    Signal::ConnectionOpened,
    Signal::OpenedClosed,
    Signal::AcceptOverflowSyn,
    Signal::TimeWaitEntered,
    Signal::CpuThrottle,
];
const COUNTERS: [Signal; 7] = [
    Signal::ListenOverflow,
    Signal::ListenDrop,
    Signal::SegmentsSent,
    Signal::SegmentsRetransmitted,
    Signal::CpuPeriods,
    Signal::CpuThrottledPeriods,
    Signal::CpuThrottledTime,
];

fn busy(seq: u64) -> Frame {
    let mut frame = frame(seq + 10);
    let mono_ns = UPTIME_NS + seq * 100_000_000;
    let place = frame.signals[0].subject.clone();
    let sample = |n: u64, signal: Signal, tier: Tier| {
        let is_probe = tier.is_probe();
        let read_ns = mono_ns + 2_000_000 + 3_100_000 * (n % 10);
        SignalSample {
            signal,
            tier,
            subject: if is_probe { place.clone() } else { Subject::cgroup(Controller::Cpu, 7) },
            reason: None,
            generator: false,
            count: seq * 83 * (n + 1),
            first_ns: is_probe.then_some(UPTIME_NS + n),
            last_ns: is_probe.then(|| read_ns - 1_700_000 * (1 + (seq + n) % 30)),
            peak: is_probe.then_some(129),
            limit: is_probe.then_some(128),
            read_ns,
            since_ns: read_ns - 100_000_000 - (seq % 17) * 10_000,
        }
    };
    let probed = (0..).zip(PROBED).map(|(n, signal)| sample(n, signal, Tier::Trampoline));
    let counters = (10..).zip(COUNTERS).map(|(n, signal)| sample(n, signal, Tier::Counter));
    frame.signals = probed.chain(counters).collect();
    let of = frame.usages[0].clone();
    frame.usages = (0..3)
        .map(|n| {
            let mut usage = of.clone();
            usage.subject.pid = Some(n);
            usage.used = (seq * 7 + u64::from(n)) % 129;
            usage.read_ns = mono_ns + 20_000_000 + seq % 1_000;
            usage.since_ns = usage.read_ns - 100_000_000;
            usage
        })
        .collect();
    let status = |n: u64| SourceStatus { source: format!("source {n}"), duration_ns: 900_000, error: None };
    frame.sources = if seq.is_multiple_of(100) { (0..20).map(status).collect() } else { Vec::new() };
    Frame { seq, mono_ns, ..frame }
}

#[test]
fn an_hour_of_a_busy_host_keeps_its_budget() {
    let folder = tempdir().unwrap();
    let bytes_of = |frames: u64| {
        let path = folder.path().join(frames.to_string());
        let mut writer = Writer::create(&path, &header()).unwrap();
        (0..frames).for_each(|seq| writer.frame(&busy(seq)).unwrap());
        writer.finish().unwrap();
        std::fs::metadata(&path).unwrap().len()
    };
    let empty = bytes_of(0);
    let an_hour = empty + (bytes_of(FRAMES) - empty) * FRAMES_PER_HOUR / FRAMES;
    assert!(an_hour < BUDGET_BYTES, "{an_hour} bytes an hour");
}

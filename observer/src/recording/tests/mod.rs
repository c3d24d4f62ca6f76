//! Recordings against what can happen to them.

mod damage;
mod documentation;
mod files;
mod full_disk;
mod killed;
mod ring;
mod ring_folder;
mod round_trip;
mod size;
pub(crate) mod strategy;
mod thread;

use std::path::Path;

use observer_common::Signal;

use super::{Reader, RecordingError, Writer};
use crate::core::{
    engine::Engine,
    event::{Event, Judged},
    frame::{
        Fact, Frame, Loss, Mark, PhaseSource, Resource, RunHeader, SignalCoverage, SignalSample,
        SourceStatus, Target, Tier, UsageSample,
    },
    subject::Subject,
};

pub(crate) fn header() -> RunHeader {
    RunHeader {
        id: "20260301T120000-4711".into(),
        observer_version: "0.1.0".into(),
        host: "api-1".into(),
        kernel: "6.12.0".into(),
        netns: Some(4_026_531_840),
        command: vec!["wrk".into(), "-c".into(), "400".into()],
        targets: vec![Target::Port(8080), Target::Pid(4711), Target::Cgroup("/nginx".into())],
        ignore: vec!["packet_loss".into()],
        plan: vec![("ramp_up".into(), 120_000_000_000)],
        coverage: vec![SignalCoverage {
            signal: Signal::SynArrival,
            tier: Tier::Counter,
            source: "/proc/net/netstat".into(),
            why_degraded: Some("no CAP_BPF".into()),
        }],
    }
}

/// A run that shows everything: load on one listener until its queue overflows.
pub(crate) fn frames(number: u64) -> Vec<Frame> {
    (0..number).map(frame).collect()
}

fn frame(seq: u64) -> Frame {
    let now = 1_000_000_000 + seq * 100_000_000;
    let listener = "0.0.0.0:8080".parse().unwrap();
    let place = Subject::listener(4_026_531_840, listener);
    let signal = |signal, count| SignalSample {
        signal,
        tier: Tier::Trampoline,
        subject: Subject { cgroup: Some(77), ..place.clone() },
        reason: None,
        generator: false,
        count,
        first_ns: Some(1_000_000_100),
        last_ns: Some(now - 7),
        peak: Some(seq * 20),
        limit: Some(128),
        read_ns: now + 5,
        since_ns: now + 5 - 100_000_000,
    };
    let mut frame = Frame {
        seq,
        mono_ns: now,
        real_ns: 1_772_366_400_000_000_000 + seq * 100_000_000,
        signals: vec![signal(Signal::SynArrival, 340 * seq), signal(Signal::ConnectionAccepted, 290 * seq)],
        usages: vec![UsageSample {
            resource: Resource::AcceptQueue,
            subject: place.clone(),
            used: (seq * 20).min(129),
            limit: Some(128),
            limit_set_by: Some("backlog argument".into()),
            read_ns: now + 9,
            since_ns: now + 9 - 100_000_000,
        }],
        sources: vec![SourceStatus { source: "sock_diag".into(), duration_ns: 800_000 + seq, error: None }],
        ..Frame::default()
    };
    if seq == 0 {
        frame.facts = vec![
            Fact::Process {
                pid: 4711,
                parent: 1,
                comm: "nginx".into(),
                netns: Some(4_026_531_840),
                cgroup: Some(77),
                generator: false,
            },
            Fact::ListenerOwner { netns: 4_026_531_840, listener, pid: 4711 },
            Fact::CgroupPath { id: 77, controller: None, path: "/system.slice/nginx.service".into() },
            Fact::Limit { name: "net.core.somaxconn".into(), value: "4096".into(), place: "host".into() },
        ];
        frame.marks = vec![
            Mark::CommandStarted { at_ns: now + 1, pid: Some(4800) },
            Mark::Phase { at_ns: now + 2, name: "ramp_up".into(), source: PhaseSource::Plan },
        ];
        frame.losses = vec![Loss { reason: "map_full".into(), count: 3 }];
        frame.usages.push(UsageSample {
            resource: Resource::Descriptors,
            subject: Subject::process(4711),
            used: 12,
            limit: Some(1_024),
            limit_set_by: Some("RLIMIT_NOFILE (soft)".into()),
            read_ns: now,
            since_ns: now,
        });
    }
    if seq > 6 {
        frame.signals.push(signal(Signal::AcceptOverflowSyn, (seq - 6) * 50));
        frame.sources.push(SourceStatus {
            source: "netstat".into(),
            duration_ns: 90_000,
            error: Some("permission denied".into()),
        });
    }
    if seq == 9 {
        frame.marks = vec![Mark::CommandEnded { at_ns: now + 3, exit_status: Some(7) }];
    }
    frame
}

/// Writes frames and leaves the recording as a killed writer would: with a `-wal`, unfinished.
fn killed(folder: &Path, frames: &[Frame]) -> std::path::PathBuf {
    let live = folder.join("live");
    let mut writer = Writer::create(&live, &header()).unwrap();
    for frame in frames {
        writer.frame(frame).unwrap();
    }
    let copy = folder.join("killed");
    for suffix in ["", "-wal"] {
        let name = |path: &Path| super::writer::with_suffix(path, suffix);
        std::fs::copy(name(&live), name(&copy)).unwrap();
    }
    copy
}

fn finished(path: &Path, frames: &[Frame]) {
    let mut writer = Writer::create(path, &header()).unwrap();
    for frame in frames {
        writer.frame(frame).unwrap();
    }
    writer.finish().unwrap();
}

fn read(path: &Path) -> Result<Vec<Frame>, RecordingError> {
    Reader::open(path)?.frames().collect()
}

/// The same with everything that an observation adds: what the engine makes of it, and the verdict.
fn judged(path: &Path, frames: &[Frame]) {
    let mut writer = Writer::create(path, &header()).unwrap();
    let mut engine = Engine::new(header());
    for frame in frames {
        writer.frame(frame).unwrap();
        let update = engine.step(frame);
        let events = Event::of(frame, &update, &engine);
        if let Some(judged) = Judged::of(frame, &events, &engine) {
            writer.judged(&judged).unwrap();
        }
    }
    writer.verdict(&engine.verdict(None)).unwrap();
    writer.finish().unwrap();
}

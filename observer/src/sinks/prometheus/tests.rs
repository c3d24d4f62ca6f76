use std::{collections::BTreeMap, net::SocketAddr};

use observer_common::{Signal, SubjectKind};

use super::*;
use crate::core::{
    frame::{Loss, Mark, Resource, SignalSample, Tier, UsageSample},
    snapshot::Snapshot,
    subject::{Controller, Subject},
};

const NETNS: u32 = 7;
const SECOND_NS: u64 = 1_000_000_000;

/// An engine and its metrics, fed frame by frame.
struct Exposed {
    engine: Engine,
    metrics: Metrics,
    seq: u64,
}

impl Exposed {
    fn new() -> Self {
        let header = RunHeader::on(Tier::Trampoline);
        let metrics = Metrics::new(header.clone()).expect("metrics");
        let mut exposed = Self { engine: Engine::new(header), metrics, seq: 0 };
        let at_ns = exposed.now_ns();
        exposed.step(Frame { marks: vec![Mark::CommandStarted { at_ns, pid: None }], ..Frame::default() });
        exposed
    }

    fn now_ns(&self) -> u64 {
        (self.seq + 10) * SECOND_NS / 10
    }

    fn step(&mut self, frame: Frame) {
        let now_ns = self.now_ns();
        let frame = Frame { seq: self.seq, mono_ns: now_ns, real_ns: now_ns, ..frame };
        self.seq += 1;
        let update = self.engine.step(&frame);
        self.metrics.enter(&frame, &update, &self.engine);
    }

    fn show(&self) {
        self.metrics.show(Now {
            snapshot: Snapshot::of(&self.engine),
            verdict: Arc::new(self.engine.verdict(None)),
            closest: self.engine.closest(),
            in_episode: true,
            cost: Some(OwnCost { cpu_seconds: 1.5, peak_rss_bytes: 1 << 20 }),
        });
    }

    fn count(&mut self, counts: impl IntoIterator<Item = (Signal, Subject, u64)>) {
        let frame = self.counted(counts);
        self.step(frame);
    }

    /// A frame in which each signal has been counted so often.
    fn counted(&self, counts: impl IntoIterator<Item = (Signal, Subject, u64)>) -> Frame {
        let now_ns = self.now_ns();
        let sample = |(signal, subject, count)| SignalSample {
            signal,
            tier: Tier::Trampoline,
            subject,
            reason: None,
            generator: false,
            count,
            first_ns: Some(now_ns - 1),
            last_ns: Some(now_ns - 1),
            peak: None,
            limit: None,
            read_ns: now_ns,
            since_ns: now_ns - SECOND_NS / 10,
        };
        Frame { signals: counts.into_iter().map(sample).collect(), ..Frame::default() }
    }

    /// Every series and its value.
    fn series(&self) -> BTreeMap<String, f64> {
        self.show();
        let text = self.metrics.expose(&Registry::new()).expect("metrics");
        let text = String::from_utf8(text).expect("text");
        let series = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            (series.to_owned(), value.parse().expect("a number"))
        });
        let all: Vec<(String, f64)> = series.collect();
        let unique: BTreeMap<_, _> = all.iter().cloned().collect();
        assert_eq!(all.len(), unique.len(), "a series is there twice");
        unique
    }
}

fn address(number: u32) -> SocketAddr {
    SocketAddr::from((std::net::Ipv4Addr::from(0x0A00_0000 + number), 80))
}

/// The subject of a signal with this number.
fn subject(signal: Signal, number: u32) -> Subject {
    match signal.subject_kind() {
        SubjectKind::Listener | SubjectKind::Peer => Subject::listener(NETNS, address(number)),
        SubjectKind::Destination => {
            Subject { netns: Some(NETNS), destination: Some(address(number)), ..Subject::HOST }
        }
        SubjectKind::Process => Subject::process(number + 1),
        SubjectKind::Namespace => Subject::namespace(number),
        SubjectKind::CpuCgroup => Subject::cgroup(Controller::Cpu, number.into()),
        SubjectKind::MemoryCgroup => Subject::cgroup(Controller::Memory, number.into()),
        SubjectKind::Host => Subject::HOST,
    }
}

fn total(series: &BTreeMap<String, f64>, signal: Signal) -> f64 {
    let name = format!("signal=\"{}\"", signal.name());
    let of_signal = series.iter().filter(|(series, _)| series.starts_with("observer_signal_total"));
    of_signal.filter(|(series, _)| series.contains(&name)).map(|(_, value)| value).sum()
}

#[test]
fn however_many_subjects_there_are_the_series_are_few_and_nothing_is_lost() {
    let mut exposed = Exposed::new();
    let losses = (0..200).map(|number| Loss { reason: format!("recursion:hook_{number}"), count: 3 });
    exposed.step(Frame { losses: losses.collect(), ..Frame::default() });
    for signal in Signal::ALL {
        exposed.count((0..200).map(|number| (*signal, subject(*signal, number), 2)));
    }
    let before = exposed.series();
    assert!(before.len() <= SERIES, "{} series", before.len());
    exposed
        .count((0..2_000).map(|number| (Signal::ConnectAttempt, subject(Signal::ConnectAttempt, number), 5)));
    let after = exposed.series();
    assert!(after.len() <= SERIES, "{} series", after.len());
    assert_eq!(total(&after, Signal::ConnectAttempt), 10_000.0);
    assert_eq!(total(&after, Signal::OomKill), 400.0);
    assert_none_fell(&before, &after);
    let lost = after.iter().filter(|(series, _)| series.starts_with("observer_events_lost_total"));
    assert_eq!(lost.map(|(_, value)| value).sum::<f64>(), 600.0);
    assert!(after["observer_signal_other_total"] > 0.0);
}

/// Every counter of `before` is there still, and no less.
fn assert_none_fell(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) {
    for (series, value) in before.iter().filter(|(series, _)| is_counter(series)) {
        let now = after.get(series);
        assert!(now.is_some_and(|now| now >= value), "{series} was {value} and is {now:?}");
    }
}

fn is_counter(series: &str) -> bool {
    series.split('{').next().is_some_and(|name| name.ends_with("_total"))
}

/// As many listeners, destinations and cgroups each.
const CROWD: u32 = 50_000;

/// What is counted, and at how many of them: not everything that carries load fails.
const IN_PLAY: [(Signal, u32); 5] = [
    (Signal::ConnectionAccepted, CROWD),
    (Signal::ConnectAttempt, CROWD),
    (Signal::CpuThrottle, CROWD),
    (Signal::AcceptOverflowSyn, 100),
    (Signal::OomKill, 100),
];

/// What is counted and in use at each of them, changing from frame to frame: which come first, how much of it, and
/// which are closest to their limits.
fn crowd(exposed: &Exposed, turn: u32) -> Frame {
    let numbers = || (0..CROWD).map(move |number| (number + turn * CROWD / 3) % CROWD);
    // What the kernel counted is less at times: a cgroup was made anew, and its counts with it.
    let count = [50, 3, 60][turn as usize];
    let mut frame = exposed.counted(IN_PLAY.iter().flat_map(|(signal, subjects)| {
        // All but a third of the subjects, another one each time and for each signal.
        let numbers = numbers().filter(|number| number < subjects);
        let numbers = numbers.filter(move |number| !(number + turn + *signal as u32).is_multiple_of(3));
        numbers.map(move |number| (*signal, subject(*signal, number), count))
    }));
    let read_ns = exposed.now_ns();
    let usage = |resource, subject, used: u32| UsageSample {
        resource,
        subject,
        used: used.into(),
        limit: Some(CROWD.into()),
        limit_set_by: None,
        read_ns,
        since_ns: read_ns,
    };
    let kinds = [
        (Resource::AcceptQueue, Signal::AcceptOverflowSyn),
        (Resource::EphemeralPorts, Signal::ConnectAttempt),
        (Resource::Memory, Signal::OomKill),
    ];
    frame.usages = kinds
        .iter()
        .flat_map(|(resource, of)| {
            numbers().enumerate().map(|(used, number)| usage(*resource, subject(*of, number), used as u32))
        })
        .collect();
    frame
}

#[test]
fn fifty_thousand_listeners_destinations_and_cgroups_are_few_series_and_no_counter_ever_falls() {
    let mut exposed = Exposed::new();
    let mut before = exposed.series();
    let mut seen = 0.0;
    for turn in 0..3 {
        let frame = crowd(&exposed, turn);
        assert!(frame.signals.len() >= CROWD as usize && frame.usages.len() == 3 * CROWD as usize);
        exposed.step(frame);
        let after = exposed.series();
        assert!(after.len() <= SERIES, "{} series", after.len());
        assert_none_fell(&before, &after);
        let now: f64 = after.iter().filter(|(series, _)| is_counter(series)).map(|(_, value)| value).sum();
        assert!(now > seen, "nothing was counted");
        (before, seen) = (after, now);
    }
    // Those behind the first few of each signal are under `other`.
    let others = before
        .keys()
        .filter(|series| series.starts_with("observer_signal_total"))
        .filter(|series| series.contains("=\"other\""));
    assert_eq!(others.count(), IN_PLAY.len());
}

#[test]
fn the_first_fault_line_is_one_and_has_an_onset() {
    let mut exposed = Exposed::new();
    let first = |series: &BTreeMap<String, f64>| -> Vec<String> {
        let lines = series.iter().filter(|(series, _)| series.starts_with("observer_first_fault_line"));
        lines.filter(|(_, value)| **value == 1.0).map(|(series, _)| series.clone()).collect()
    };
    assert_eq!(first(&exposed.series()), Vec::<String>::new());
    exposed.count([(Signal::AcceptOverflowSyn, subject(Signal::AcceptOverflowSyn, 1), 50)]);
    exposed.count([(Signal::SynQueueDrop, subject(Signal::SynQueueDrop, 1), 50)]);
    let series = exposed.series();
    let line = |name: &str| format!("{name}{{fault_line=\"accept_queue_overflow\"}}");
    assert_eq!(first(&series), [line("observer_first_fault_line")]);
    assert_eq!(series[&line("observer_fault_line_state")], 2.0);
    assert_eq!(series[&line("observer_fault_line_onset_timestamp_seconds")], 1.099_999);
    assert!(!series.contains_key("observer_fault_line_onset_timestamp_seconds{fault_line=\"oom_kill\"}"));
}

#[test]
fn every_name_is_observers_and_counters_are_named_as_such() {
    let exposed = Exposed::new();
    exposed.show();
    let text = exposed.metrics.expose(&Registry::new()).expect("metrics");
    let text = String::from_utf8(text).expect("text");
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a type");
        assert!(name.starts_with("observer_"), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
    }
}

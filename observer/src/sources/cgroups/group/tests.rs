use std::fs;

use observer_common::Signal;

use super::*;
use crate::{
    core::frame::{Fact, Frame},
    sources::{
        Changes,
        cgroups::hierarchy::{Mount, Version},
    },
};

const STAT: &str = "nr_periods 10\nnr_throttled 4\nthrottled_usec 700\n";

/// A folder that looks like a hierarchy of version 2.
struct Fake {
    root: tempfile::TempDir,
    group: Group,
    frame: Frame,
    changes: Changes,
}

impl Fake {
    fn new(controller: Controller) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let hierarchy = Hierarchy::new(Mount::whole(root.path()), Version::Two, controller);
        Self { root, group: Group::new(hierarchy), frame: Frame::default(), changes: Changes::default() }
    }

    fn write(&self, path: &str, files: &[(&str, &str)]) -> u64 {
        let folder = self.root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(&folder).expect("a folder");
        for (name, text) in files {
            fs::write(folder.join(name), text).expect("a file");
        }
        self.group.hierarchy.mount().id_of(path).expect("an id")
    }

    /// One tick, with these cgroups acting on processes.
    fn tick(&mut self, at_ns: u64, acting: &[&str]) {
        let mut problems = Problems::default();
        let out = &mut Samples::new(&mut self.frame, &mut self.changes);
        self.group.look_around(&|| at_ns);
        self.group.choose(acting.to_vec(), out);
        self.group.read(&|| at_ns, &mut Vec::new(), &mut problems, out);
        problems.finish().expect("no problem");
    }

    /// `(count, since, read)` of each sample of a signal.
    fn counted(&self, signal: Signal, id: u64) -> Vec<(u64, u64, u64)> {
        let of = |s: &&crate::core::frame::SignalSample| s.signal == signal && s.subject.cgroup == Some(id);
        self.frame.signals.iter().filter(of).map(|s| (s.count, s.since_ns, s.read_ns)).collect()
    }
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn what_was_counted_before_observer_came_is_an_origin_and_what_came_later_begins_at_zero() {
    let mut fake = Fake::new(Controller::Cpu);
    let old = fake.write("/old", &[("cpu.max", "20000 100000\n"), ("cpu.stat", STAT)]);
    fake.tick(SECOND, &["/old"]);
    let new = fake.write("/new", &[("cpu.max", "20000 100000\n"), ("cpu.stat", STAT)]);
    fake.tick(SECOND + 1, &["/old", "/new"]);
    let newer = fake.write("/newer", &[("cpu.max", "20000 100000\n"), ("cpu.stat", STAT)]);
    fake.tick(4 * SECOND, &["/old", "/new"]);
    fake.tick(4 * SECOND + 1, &["/old", "/new", "/newer"]);
    let throttled = |id| fake.counted(Signal::CpuThrottledPeriods, id);
    assert_eq!(throttled(old), [(4, SECOND, SECOND)]);
    assert_eq!(throttled(new), [(0, SECOND, SECOND), (4, SECOND, SECOND + 1)]);
    assert_eq!(throttled(newer), [(0, SECOND, SECOND), (4, SECOND, 4 * SECOND + 1)], "a walk met it first");
}

#[test]
fn a_cgroup_that_is_removed_or_made_anew_is_no_error_and_no_count_falls() {
    let mut fake = Fake::new(Controller::Memory);
    let events = "high 0\nmax 3\noom_kill 1\n";
    let files = [("memory.max", "67108864\n"), ("memory.current", "1000\n"), ("memory.events", events)];
    let first = fake.write("/a", &files);
    fake.tick(SECOND, &["/a"]);
    fs::rename(fake.root.path().join("a"), fake.root.path().join("kept")).expect("a removal");
    let second = fake.write("/a", &files);
    fake.tick(2 * SECOND, &["/a"]);
    fs::remove_dir_all(fake.root.path().join("a")).expect("a removal");
    fake.tick(3 * SECOND, &["/a"]);
    assert_ne!(first, second);
    assert_eq!(fake.counted(Signal::OomKill, first), [(1, SECOND, SECOND)]);
    assert_eq!(fake.counted(Signal::OomKill, second), [(0, SECOND, SECOND), (1, SECOND, 2 * SECOND)]);
    let levels = fake.frame.usages.iter().map(|usage| (usage.subject.cgroup, usage.used));
    let expected = [(Some(first), 1_000), (Some(second), 1_000), (Some(first), 0), (Some(second), 0)];
    let mut levels: Vec<_> = levels.collect();
    levels.sort_by_key(|(_, used)| std::cmp::Reverse(*used));
    assert_eq!(levels, expected);
}

#[test]
fn ancestors_are_followed_and_limits_are_told_where_there_are_any() {
    let mut fake = Fake::new(Controller::Cpu);
    fake.write("/a", &[("cpu.max", "150000 100000\n"), ("cpu.stat", STAT)]);
    fake.write("/a/b", &[("cpu.max", "max 100000\n"), ("cpu.stat", STAT)]);
    fake.tick(SECOND, &["/a/b"]);
    let limits: Vec<_> = fake.frame.facts.iter().filter(|fact| matches!(fact, Fact::Limit { .. })).collect();
    let expected =
        Fact::Limit { name: "cpu.max".into(), value: "150000 100000".into(), place: "cgroup /a".into() };
    assert_eq!(limits, [&expected]);
    let paths = fake.frame.facts.iter().filter_map(|fact| match fact {
        Fact::CgroupPath { controller: Some(Controller::Cpu), path, .. } => Some(path.as_str()),
        _ => None,
    });
    assert_eq!(paths.collect::<Vec<_>>(), ["/a/b", "/a", "/"]);
}

#[test]
fn memory_below_a_limit_is_read_as_often_as_the_limit() {
    let mut fake = Fake::new(Controller::Memory);
    let events = ("memory.events", "high 0\nmax 3\noom_kill 1\n");
    fake.write("/a", &[("memory.max", "67108864\n"), ("memory.current", "1000\n"), events]);
    fake.write("/a/b", &[("memory.max", "max\n"), ("memory.current", "1000\n"), events]);
    fake.write("/c", &[("memory.max", "max\n"), ("memory.current", "1000\n"), events]);
    fake.tick(SECOND, &["/a/b", "/c"]);
    let due = |path: &str| {
        let cgroup = fake.group.followed.values().find(|cgroup| cgroup.path == path).expect("followed");
        cgroup.next_ns <= SECOND + 100_000_000
    };
    assert_eq!((due("/a"), due("/a/b"), due("/c")), (true, true, false));
}

#[test]
fn one_that_a_probe_names_is_found_by_a_walk() {
    let mut fake = Fake::new(Controller::Cpu);
    fake.tick(SECOND, &[]);
    let id = fake.write("/a", &[("cpu.stat", STAT)]);
    assert!(fake.group.note([id].into_iter()));
    fake.tick(SECOND + 1, &[]);
    assert_eq!(fake.counted(Signal::CpuThrottledPeriods, id), []);
    fake.tick(4 * SECOND, &[]);
    assert_eq!(fake.counted(Signal::CpuThrottledPeriods, id), [(0, SECOND, SECOND), (4, SECOND, 4 * SECOND)]);
    assert!(!fake.group.note([id].into_iter()));
}

#[test]
fn those_nearest_to_the_test_are_followed_when_there_are_too_many() {
    let mut fake = Fake::new(Controller::Cpu);
    let paths: Vec<String> = (0..MOST + 10).map(|n| format!("/{n}")).collect();
    for path in &paths {
        fake.write(path, &[]);
    }
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    fake.tick(SECOND, &paths[5..]);
    fake.tick(2 * SECOND, &paths);
    assert_eq!(fake.group.followed.len(), MOST);
    assert!(fake.group.followed.values().any(|cgroup| cgroup.path == "/0"));
    let last = format!("/{}", MOST + 9);
    assert!(!fake.group.followed.values().any(|cgroup| cgroup.path == last));
}

#[test]
fn the_periods_before_a_throttled_one_are_told_with_it() {
    let mut fake = Fake::new(Controller::Cpu);
    let mut periods = Vec::new();
    let mut id = 0;
    for (tick, (all, throttled)) in [(10, 0), (11, 0), (12, 0), (13, 1), (14, 2)].into_iter().enumerate() {
        let stat = format!("nr_periods {all}\nnr_throttled {throttled}\nthrottled_usec 0\n");
        id = fake.write("/a", &[("cpu.max", "20000 100000\n"), ("cpu.stat", &stat)]);
        fake.tick(SECOND + tick as u64 * 100_000_000, &["/a"]);
        periods = fake.counted(Signal::CpuPeriods, id).iter().map(|(count, ..)| *count).collect();
    }
    assert_eq!(periods, [10, 12, 13, 14]);
    assert_eq!(fake.counted(Signal::CpuThrottledPeriods, id).len(), 3);
}

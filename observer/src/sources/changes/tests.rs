use super::*;

fn window(before_ns: u64, after_ns: u64) -> Window {
    Window { before_ns, after_ns }
}

/// Feeds a series of reads of one counter and returns `(count, since, read)` of each sample.
fn counted(reads: &[(u64, Window)]) -> Vec<(u64, u64, u64)> {
    let (mut frame, mut changes) = (Frame::default(), Changes::default());
    for (raw, window) in reads {
        Samples::new(&mut frame, &mut changes).signal(
            Signal::ListenOverflow,
            &Subject::namespace(1),
            *raw,
            *window,
        );
    }
    frame.signals.iter().map(|s| (s.count, s.since_ns, s.read_ns)).collect()
}

#[test]
fn the_change_lies_between_the_start_of_the_last_equal_read_and_the_end_of_this_one() {
    let reads = [
        (5, window(10, 11)),
        (5, window(20, 21)),
        (5, window(30, 31)),
        (9, window(40, 42)),
        (9, window(50, 51)),
    ];
    assert_eq!(counted(&reads), [(5, 11, 11), (9, 30, 42)]);
}

#[test]
fn a_counter_that_begins_anew_never_falls() {
    let reads = [(5, window(10, 11)), (2, window(20, 21)), (3, window(30, 31))];
    assert_eq!(counted(&reads), [(5, 11, 11), (7, 10, 21), (8, 20, 31)]);
}

#[test]
fn a_usage_is_told_when_it_or_its_limit_changes_and_when_it_ends() {
    let (mut frame, mut changes) = (Frame::default(), Changes::default());
    let mut samples = Samples::new(&mut frame, &mut changes);
    let subject = Subject::process(7);
    let by = "RLIMIT_NOFILE (soft)";
    samples.usage(Resource::Descriptors, &subject, 3, Some((10, by)), window(10, 11));
    samples.usage(Resource::Descriptors, &subject, 3, Some((10, by)), window(20, 21));
    samples.usage(Resource::Descriptors, &subject, 3, Some((20, by)), window(30, 31));
    samples.usage_ends(Resource::Descriptors, &subject, 0, window(40, 41));
    samples.usage_ends(Resource::Descriptors, &subject, 0, window(50, 51));
    let told: Vec<_> = frame.usages.iter().map(|u| (u.used, u.limit, u.since_ns, u.read_ns)).collect();
    assert_eq!(told, [(3, Some(10), 11, 11), (3, Some(20), 20, 31), (0, Some(20), 30, 41)]);
}

#[test]
fn a_fact_is_told_once_and_again_when_it_changes() {
    let (mut frame, mut changes) = (Frame::default(), Changes::default());
    for value in ["128", "128", "4096", "4096"] {
        Samples::new(&mut frame, &mut changes).fact(Fact::Limit {
            name: "net.core.somaxconn".into(),
            value: value.into(),
            place: "netns 1".into(),
        });
    }
    assert_eq!(frame.facts.len(), 2);
}

#[test]
fn when_a_namespace_ends_nothing_is_in_use_there_and_its_counters_do_not_fall() {
    let (mut frame, mut changes) = (Frame::default(), Changes::default());
    let mut samples = Samples::new(&mut frame, &mut changes);
    let (gone, other) = (Subject::namespace(1), Subject::namespace(2));
    let limit = |place: &str| Fact::Limit { name: "n".into(), value: "v".into(), place: place.into() };
    for subject in [&gone, &other] {
        samples.usage(Resource::Connections, subject, 3, None, window(10, 11));
        samples.signal(Signal::ListenOverflow, subject, 5, window(10, 11));
    }
    samples.fact(limit("netns 1"));
    samples.namespace_ends(1, window(20, 21));
    samples.signal(Signal::ListenOverflow, &gone, 2, window(30, 31));
    samples.fact(limit("netns 1"));
    let usages: Vec<_> = frame.usages.iter().map(|u| (u.subject.netns, u.used, u.since_ns)).collect();
    assert_eq!(usages, [(Some(1), 3, 11), (Some(2), 3, 11), (Some(1), 0, 10)]);
    assert_eq!(frame.signals.last().map(|sample| (sample.count, sample.since_ns)), Some((7, 10)));
    assert_eq!(frame.facts.len(), 2);
}

#[test]
fn a_process_that_ends_takes_its_facts_along() {
    let (mut frame, mut changes) = (Frame::default(), Changes::default());
    let process =
        Fact::Process { pid: 7, parent: 1, comm: "web".into(), netns: None, cgroup: None, generator: false };
    let limit = |place: &str| Fact::Limit { name: "n".into(), value: "v".into(), place: place.into() };
    for _ in 0..2 {
        let mut samples = Samples::new(&mut frame, &mut changes);
        for fact in [process.clone(), limit("pid 7 (web)"), limit("pid 77 (db)")] {
            samples.fact(fact);
        }
        samples.process_ends(7);
    }
    assert_eq!(frame.facts.len(), 5);
}

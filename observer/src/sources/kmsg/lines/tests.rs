use proptest::prelude::*;

use super::*;

const WINDOW: Window = Window { before_ns: 1_000_000_000, after_ns: 2_000_000_000 };
const MEMCG: &str = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,\
    task_memcg=/a/b,task=stress,pid=123,uid=0";

/// What these records, all of 1.5 s, tell.
fn told(records: &[&str]) -> Vec<Fact> {
    let (mut lines, mut facts) = (Lines::default(), Vec::new());
    for record in records {
        let record = Record::parse(record).expect("a record");
        lines.enter(&record, WINDOW, &mut |fact| facts.push(fact));
    }
    facts
}

fn line(text: &str) -> String {
    format!("4,77,1500000,-;{text}\n")
}

fn victim(pid: u32, comm: &str, limit_owner: Option<&str>, cgroup: Option<&str>) -> Fact {
    Fact::OomVictim {
        at_ns: 1_500_000_000,
        pid,
        comm: comm.into(),
        constraint: "CONSTRAINT_MEMCG".into(),
        limit_owner: limit_owner.map(Into::into),
        cgroup: cgroup.map(Into::into),
    }
}

#[test]
fn a_record_is_read_without_its_properties() {
    let record =
        Record::parse("6,339,5140900,-,caller=T1;NET: registered\\x5c \\xc3\\xa4 \\xzz\n SUBSYSTEM=pci\n");
    let expected =
        Record { facility: 0, at_us: 5_140_900, goes_on: false, text: "NET: registered\\ ä \\xzz".into() };
    assert_eq!(record, Some(expected));
    let user = Record::parse("12,340,5140901,c;Out of memory: Killed process 1 (init)\n").expect("a record");
    assert!(!user.is_of_the_kernel() && user.goes_on);
    for other in ["", ";x", "6,1,x,-;y", "6,1;y", "no record"] {
        assert_eq!(Record::parse(other), None, "{other}");
    }
}

#[test]
fn lines_are_told_apart_on_all_kernels() {
    for (text, about) in [
        ("nf_conntrack: nf_conntrack: table full, dropping packet", Some(LogTopic::ConntrackFull)),
        ("nf_conntrack: table full in netns 4026532177, dropping packet", Some(LogTopic::ConntrackFull)),
        (
            "TCP: request_sock_TCP: Possible SYN flooding on port 5001. Sending cookies.",
            Some(LogTopic::SynFlooding),
        ),
        ("TCP: request_sock_TCPv6: Possible SYN flooding on port [::1]:80.", Some(LogTopic::SynFlooding)),
        ("TCP: out of memory -- consider tuning tcp_mem", Some(LogTopic::SocketMemory)),
        ("TCP: TCP: out of memory -- consider tuning tcp_mem", Some(LogTopic::SocketMemory)),
        ("TCP: too many orphaned sockets", Some(LogTopic::SocketMemory)),
        ("TCP: time wait bucket table overflow", Some(LogTopic::TimeWaitOverflow)),
        ("VFS: file-max limit 1024 reached", Some(LogTopic::FileTable)),
        ("Out of memory: Killed process 7 (x) total-vm:1kB", Some(LogTopic::OutOfMemory)),
        ("Out of memory (oom_kill_allocating_task): Killed process 7 (x)", Some(LogTopic::OutOfMemory)),
        ("process `Out of memory: Killed process 7 (x)' is odd", None),
        ("a b: Out of memory: Killed process 7 (x)", None),
        ("stress invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0", None),
    ] {
        assert_eq!(topic(text), about, "{text}");
    }
}

#[test]
fn a_victim_is_told_once_though_two_lines_name_it() {
    let killed = "Memory cgroup out of memory: Killed process 123 (stress) total-vm:9kB, anon-rss:8kB";
    let facts = told(&[&line(MEMCG), &line(killed)]);
    let log = Fact::KernelLog { at_ns: 1_500_000_000, about: LogTopic::OutOfMemory, text: killed.to_owned() };
    assert_eq!(facts, [victim(123, "stress", Some("/a"), Some("/a/b")), log.clone()]);
    assert_eq!(told(&[&line(killed)]), [log, victim(123, "stress", None, None)], "its summary was left out");
}

#[test]
fn a_summary_in_pieces_is_put_together() {
    let (begin, rest) = MEMCG.split_at(70);
    let (middle, end) = rest.split_at(30);
    let pieces = [line(begin), format!("4,78,1500001,c;{middle}\n"), format!("4,79,1500000,c;{end}\n")];
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    assert_eq!(told(&pieces), [victim(123, "stress", Some("/a"), Some("/a/b"))]);
    assert_eq!(told(&pieces[1..]), [], "without a beginning");
}

#[test]
fn a_name_may_hold_anything() {
    for name in ["a,pid=1,uid=0", "x,task=y", "(x) total-vm:", ",task_memcg=/z"] {
        let summary = line(&MEMCG.replace("task=stress", &format!("task={name}")));
        assert_eq!(told(&[&summary]), [victim(123, name, Some("/a"), Some("/a/b"))]);
        let killed =
            format!("Memory cgroup out of memory: Killed process 123 ({name}) total-vm:9kB, anon-rss:8kB");
        assert_eq!(told(&[&line(&killed)])[1], victim(123, name, None, None));
    }
    let steering = line(&MEMCG.replace("stress", "\\x1b[2J\\x0aok"));
    assert_eq!(told(&[&steering]), [victim(123, "\\u{1b}[2J\\nok", Some("/a"), Some("/a/b"))]);
}

#[test]
fn a_host_out_of_memory_has_no_owner_of_a_limit() {
    let text = "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,\
        task_memcg=/user.slice,task=hog,pid=9,uid=1000";
    let summary = Summary::parse(text).expect("a summary");
    assert_eq!((summary.constraint, summary.limit_owner), ("CONSTRAINT_NONE", None));
    assert_eq!((summary.cgroup, summary.comm, summary.pid), (Some("/user.slice"), "hog", 9));
    let without = "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task=hog,pid=9,uid=1000";
    assert_eq!(Summary::parse(without).map(|summary| (summary.comm, summary.cgroup)), Some(("hog", None)));
    for end in 0..text.len() - 3 {
        assert_eq!(Summary::parse(&text[..end]), None, "{:?}", &text[..end]);
    }
}

#[test]
fn the_stamp_is_kept_between_the_looks() {
    for (stamp_us, expected_ns) in
        [(5, WINDOW.before_ns), (1_500_000, 1_500_000_000), (9_000_000, WINDOW.after_ns)]
    {
        let facts = told(&[&format!("4,77,{stamp_us},-;VFS: file-max limit 1024 reached\n")]);
        assert!(matches!(facts[..], [Fact::KernelLog { at_ns, .. }] if at_ns == expected_ns), "{facts:?}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(4,1,1,[c-];)?(oom-kill:constraint=|,task=|,pid=|,uid=|\\\\x|Out of memory: Killed process 1 \\(|\\PC){0,30}") {
        let (mut lines, mut shown) = (Lines::default(), true);
        for _ in 0..2 {
            if let Some(record) = Record::parse(&text) {
                lines.enter(&record, WINDOW, &mut |fact| {
                    let text = match fact {
                        Fact::KernelLog { text, .. } => text,
                        Fact::OomVictim { comm, .. } => comm,
                        _ => "\n".into(),
                    };
                    shown &= !text.chars().any(char::is_control);
                });
            }
        }
        prop_assert!(shown);
    }
}

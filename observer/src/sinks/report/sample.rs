//! Verdicts as the engine gives them, for looking at and comparing.

mod parts;

use std::collections::BTreeMap;

use observer_common::Signal;

use self::parts::{descriptors, headroom, listener, nginx, note, overflow, phase};
use super::timeline::Course;
use crate::core::{
    frame::{SignalCoverage, Tier},
    subject::Role,
    time::rfc3339,
    verdict::{
        Clock, Coverage, HitSubject, HitUsage, Limit, Link, Load, Outcome, OwnCost, Run, SCHEMA, Verdict,
    },
};

pub(super) const STARTED_NS: u64 = 1_772_366_400_000_000_000;

/// Descriptors ran out, and the accept queue with them; something else broke next door.
pub(crate) fn hit() -> Verdict {
    let descriptors = descriptors();
    let mut overflow = overflow();
    overflow.explained_by = Some("fd_saturation".into());
    let mut elsewhere = parts::overflow();
    elsewhere.role = Role::Bystander;
    elsewhere.subject = HitSubject { listener: Some("[::]:9000".parse().unwrap()), ..HitSubject::default() };
    elsewhere.because = "the accept queue of [::]:9000 was full (17/16, set by the backlog argument)".into();
    Verdict {
        outcome: Outcome::Hit,
        first: Some(descriptors.clone()),
        hits: vec![descriptors, overflow],
        elsewhere: vec![elsewhere],
        chain: vec![Link {
            cause: "fd_saturation".into(),
            effect: "accept_queue_overflow".into(),
            lag_s: 0.84,
            mechanism: "nginx could not accept without descriptors: accepts fell from 3,380/s to 0/s while \
                        3,412/s arrived"
                .into(),
        }],
        ruled_out: vec![
            note("syn_queue_overflow", "no drop, no cookie"),
            note("port_collision", "no failed bind"),
        ],
        not_measurable: vec![note("port_exhaustion", "no CAP_BPF, and the kernel has no counter for it")],
        ..clear()
    }
}

/// Two that cannot be told apart, on counters, after a start that was not clean.
pub(crate) fn tie() -> Verdict {
    let mut overflow = overflow();
    (overflow.onset_lo_s, overflow.onset_hi_s) = (4.98, 5.08);
    overflow.evidence.iter_mut().for_each(|it| (it.first_s, it.last_s) = (None, None));
    let mut ports = overflow.clone();
    ports.fault_line = "port_exhaustion".into();
    ports.role = Role::Generator;
    ports.onset_s = 5.01;
    ports.subject = HitSubject {
        source: Some("10.0.0.2".parse().unwrap()),
        destination: Some("10.0.0.1:8080".parse().unwrap()),
        ..HitSubject::default()
    };
    ports.usage = Some(HitUsage {
        resource: "ephemeral_ports".into(),
        used: 28_232,
        limit: Some(28_232),
        peak_ratio: Some(1.0),
        limit_set_by: Some("net.ipv4.ip_local_port_range".into()),
    });
    ports.because = "no local port was left towards 10.0.0.1:8080 (28,232/28,232)".into();
    ports.verify = vec!["ss -tan state time-wait dst 10.0.0.1:8080 | wc -l".into()];
    ports.remedy = vec!["reuse connections (keep-alive) in the load generator".into()];
    let mut before = overflow.clone();
    before.onset_s = -1.5;
    (before.onset_lo_s, before.onset_hi_s, before.phase) = (-1.6, -1.5, None);
    before.load = Load::default();
    Verdict {
        outcome: Outcome::Hit,
        first: Some(overflow.clone()),
        co_first: vec![ports.clone()],
        hits: vec![overflow, ports],
        pre_existing: vec![before],
        ..clear()
    }
}

/// Nothing broke.
pub(crate) fn clear() -> Verdict {
    let coverage = |(at, signal): (usize, &Signal)| SignalCoverage {
        signal: *signal,
        tier: [Tier::Trampoline, Tier::Tracepoint, Tier::Trampoline][at % 3],
        source: "fexit:tcp_conn_request".into(),
        why_degraded: None,
    };
    Verdict {
        schema: SCHEMA.into(),
        observer_version: "0.1.0".into(),
        outcome: Outcome::Clear,
        run: Run {
            id: "20260301T120000-4711".into(),
            started: rfc3339(STARTED_NS),
            ended: rfc3339(STARTED_NS + 62_400_000_000),
            host: "api-1".into(),
            kernel: "6.12.0".into(),
            command: Some(
                ["wrk", "-c", "400", "-H", "Connection: close", "http://10.0.0.1:8080/"]
                    .map(String::from)
                    .into(),
            ),
            exit_status: Some(0),
            clock: Clock { mono_ns: 1_000_000_000, real_ns: STARTED_NS },
            pre_roll_s: 2.0,
            limits: vec![Limit {
                name: "net.core.somaxconn".into(),
                value: "4096".into(),
                place: "netns 4026531840".into(),
            }],
        },
        coverage: Coverage {
            signals: Signal::ALL.iter().enumerate().map(coverage).collect(),
            events_seen: 1_234_567,
            events_lost: BTreeMap::from([("map_full".into(), 0), ("recursion".into(), 0)]),
            ticks_late: 0,
            observer: Some(OwnCost { cpu_seconds: 0.21, peak_rss_bytes: 18_200_000 }),
        },
        phases: vec![
            phase("idle", -2.0, 0.0, None),
            phase("ramp_up", 0.0, 14.2, Some(1_720.4)),
            phase("plateau", 14.2, 55.0, Some(3_412.3)),
            phase("ramp_down", 55.0, 58.1, Some(800.0)),
            phase("recovery", 58.1, 62.4, Some(0.0)),
        ],
        first: None,
        co_first: vec![],
        hits: vec![],
        elsewhere: vec![],
        pre_existing: vec![],
        chain: vec![],
        ruled_out: [
            "accept_queue_overflow",
            "syn_queue_overflow",
            "port_exhaustion",
            "port_collision",
            "fd_saturation",
        ]
        .map(|id| note(id, "not once in the run"))
        .into(),
        not_measurable: vec![],
        headroom: vec![
            headroom(
                "accept_queue",
                HitSubject { listener: listener(), ..HitSubject::default() },
                78,
                128,
                None,
            ),
            headroom("descriptors", nginx(), 412, 1_024, Some(94.0)),
            headroom(
                "time_wait",
                HitSubject { netns: Some(4_026_531_840), ..HitSubject::default() },
                13_107,
                65_536,
                None,
            ),
            headroom("file_table", HitSubject::default(), 9_120, 9_223_372_036_854_775_807, None),
        ],
        latency: vec![],
    }
}

/// Too little could be seen.
pub(crate) fn inconclusive() -> Verdict {
    let mut verdict = clear();
    verdict.outcome = Outcome::Inconclusive;
    verdict.run.command = None;
    verdict.run.exit_status = None;
    verdict.run.limits = vec![];
    verdict.ruled_out = vec![note("accept_queue_overflow", "not once in the run")];
    verdict.not_measurable = vec![
        note(
            "syn_queue_overflow",
            "no CAP_BPF, and no other process of the namespace 4026532201 can be read",
        ),
        note("port_exhaustion", "no CAP_BPF, and the kernel has no counter for it"),
        note("port_collision", "no CAP_BPF, and the kernel has no counter for it"),
    ];
    verdict.headroom = vec![];
    verdict.phases = vec![];
    for (at, it) in verdict.coverage.signals.iter_mut().enumerate() {
        it.tier = if at % 3 == 0 { Tier::Absent } else { Tier::Counter };
        it.why_degraded = Some("CAP_BPF and CAP_PERFMON are missing".into());
    }
    verdict.coverage.events_seen = 0;
    verdict.coverage.ticks_late = 3;
    verdict.coverage.observer = None;
    verdict
}

/// The hit after a change: descriptors are raised, the accept queue holds out longer, ports run out at last.
pub(super) fn tuned() -> Verdict {
    let later = STARTED_NS + 86_400_000_000_000;
    let mut overflow = overflow();
    (overflow.onset_s, overflow.onset_lo_s, overflow.onset_hi_s) = (31.2, 31.2, 31.2);
    overflow.load.connections_per_s = Some(9_870.0);
    (overflow.subject.pid, overflow.subject.netns) = (Some(5_120), Some(4_026_532_999));
    let [_, mut ports] = <[_; 2]>::try_from(tie().hits).unwrap();
    ports.onset_s = 40.5;
    (ports.onset_lo_s, ports.onset_hi_s) = (40.5, 40.5);
    ports.load.connections_per_s = Some(10_020.0);
    let mut verdict = clear();
    verdict.outcome = Outcome::Hit;
    (verdict.run.started, verdict.run.ended) = (rfc3339(later), rfc3339(later + 62_000_000_000));
    verdict.run.limits = vec![
        Limit { name: "net.core.somaxconn".into(), value: "4096".into(), place: "netns 4026532999".into() },
        Limit {
            name: "RLIMIT_NOFILE (soft)".into(),
            value: "65535".into(),
            place: "pid 5120 (nginx)".into(),
        },
    ];
    verdict.ruled_out.push(note("fd_saturation", "no failure"));
    verdict.phases = vec![phase("ramp_up", 0.0, 62.0, Some(10_400.0))];
    verdict.coverage.signals.truncate(20);
    verdict.headroom[0].peak_used = 129;
    verdict.headroom[0].ratio = 129.0 / 128.0;
    verdict.headroom.remove(3);
    verdict.first = Some(overflow.clone());
    verdict.hits = vec![overflow, ports];
    verdict
}

/// The course of the hit.
pub(super) fn course() -> Course {
    parts::course()
}

/// The course of the hostile one.
pub(super) fn hostile_course() -> Course {
    let mut course = parts::course();
    for (lane, value) in course.lanes.iter_mut().zip([f64::NAN, f64::INFINITY, -1.0, f64::MAX]) {
        lane.name += EVIL;
        lane.values[7] = Some(value);
    }
    course
}

/// A text that breaks out wherever it is not escaped, and leaves a trace where it can run.
const EVIL: &str = "\x1b[2J\x1b]0;x\x07`|<b>*_\u{202e}\r\n# h\n\"'></title></script><script>alert(1)</script><img src=x onerror=alert(2)>";

/// Names and texts made to break a terminal, a ticket or a page.
pub(crate) fn hostile() -> Verdict {
    let mut verdict = hit();
    let evil = EVIL.to_owned();
    verdict.run.command = Some(vec![evil.clone(), String::new()]);
    verdict.run.host = evil.clone();
    verdict.phases.push(phase(&evil, f64::NAN, f64::INFINITY, Some(f64::NAN)));
    verdict.phases[2].name = evil.clone();
    for hit in verdict.hits.iter_mut().chain(&mut verdict.first) {
        (hit.because, hit.subject.comm, hit.phase) = (evil.clone(), Some(evil.clone()), Some(evil.clone()));
        hit.subject.listener = None;
        hit.verify.push(format!("```{evil}"));
        hit.remedy.push(evil.clone());
        hit.fault_line = evil.clone();
    }
    verdict.coverage.events_lost.insert(evil, u64::MAX);
    verdict
}

//! What the verdicts are made of.

use observer_common::Signal;

use super::STARTED_NS;
use crate::core::{
    frame::PhaseSource,
    subject::Role,
    time::rfc3339,
    verdict::{Evidence, Headroom, Hit, HitSubject, HitUsage, Kind, Load, LogEntry, Note, Phase, Spell},
};
use crate::sinks::report::timeline::{Course, Lane, Measure};

pub(super) fn descriptors() -> Hit {
    Hit {
        log: vec![LogEntry {
            at_s: 4.3,
            text: "TCP: request_sock_TCP: Possible SYN flooding on port 8080".into(),
        }],
        fault_line: "fd_saturation".into(),
        onset_s: 4.213,
        onset_lo_s: 4.213,
        onset_hi_s: 4.213,
        onset: rfc3339(STARTED_NS + 4_213_000_000),
        subject: nginx(),
        spells: vec![Spell { onset_s: 4.213, end_s: Some(57.9), count: 48_211 }],
        evidence: vec![Evidence {
            reasons: None,
            signal: Signal::DescriptorLimit,
            count: 48_211,
            first_s: Some(4.213),
            last_s: Some(57.902),
            rate_per_s: Some(898.0),
            baseline_per_s: Some(0.0),
        }],
        usage: Some(HitUsage {
            resource: "descriptors".into(),
            used: 1_024,
            limit: Some(1_024),
            peak_ratio: Some(1.0),
            limit_set_by: Some("RLIMIT_NOFILE (soft)".into()),
        }),
        because: "nginx (pid 4711) had all its 1,024 descriptors open (set by RLIMIT_NOFILE (soft)) and was \
                  refused another 48,211 times"
            .into(),
        verify: vec!["grep 'open files' /proc/4711/limits".into(), "ls /proc/4711/fd | wc -l".into()],
        remedy: vec![
            "raise LimitNOFILE= in the unit of nginx (65535 is usual) and worker_rlimit_nofile with it, then \
             restart it"
                .into(),
            "close idle connections sooner".into(),
        ],
        ..overflow()
    }
}

pub(super) fn overflow() -> Hit {
    Hit {
        log: Vec::new(),
        fault_line: "accept_queue_overflow".into(),
        role: Role::Target,
        onset_s: 5.053,
        onset: rfc3339(STARTED_NS + 5_053_000_000),
        onset_lo_s: 5.053,
        onset_hi_s: 5.053,
        phase: Some("ramp_up".into()),
        load: Load { connections_per_s: Some(3_412.3), ..Load::default() },
        kind: Kind::Resource,
        subject: HitSubject { listener: listener(), netns: Some(4_026_531_840), ..nginx() },
        spells: vec![
            Spell { onset_s: 5.053, end_s: Some(21.4), count: 31_007 },
            Spell { onset_s: 40.0, end_s: None, count: 112 },
        ],
        evidence: vec![
            Evidence {
            reasons: Some([("TCP_ABORT_ON_CLOSE".to_owned(), 40), ("TCP_STATE".to_owned(), 2)].into()),
                signal: Signal::AcceptOverflowSyn,
                count: 30_100,
                first_s: Some(5.0531),
                last_s: Some(61.2),
                rate_per_s: Some(540.3),
                baseline_per_s: Some(0.0),
            },
            Evidence {
            reasons: None,
                signal: Signal::AcceptOverflowAck,
                count: 1_019,
                first_s: Some(5.061),
                last_s: Some(60.9),
                rate_per_s: Some(18.25),
                baseline_per_s: None,
            },
        ],
        usage: Some(HitUsage {
            resource: "accept_queue".into(),
            used: 129,
            limit: Some(128),
            peak_ratio: Some(1.0078),
            limit_set_by: Some("backlog argument".into()),
        }),
        confidence: None,
        explained_by: None,
        because: "the accept queue of 0.0.0.0:8080 was full (129/128, set by the backlog argument): nginx \
                  accepts 2,900/s, 3,412/s arrived"
            .into(),
        verify: vec![
            "ss -lnt 'sport = :8080'   # Recv-Q is the depth, Send-Q the limit".into(),
            "nstat -az TcpExtListenOverflows TcpExtListenDrops".into(),
        ],
        remedy: vec![
            "raise the backlog that nginx passes to listen() (`listen 8080 backlog=4096;`); net.core.somaxconn \
             is 4,096 already"
                .into(),
            "accept faster: more workers, or less work before accept()".into(),
        ],
    }
}

pub(super) fn listener() -> Option<std::net::SocketAddr> {
    Some("0.0.0.0:8080".parse().unwrap())
}

pub(super) fn nginx() -> HitSubject {
    HitSubject {
        pid: Some(4711),
        comm: Some("nginx".into()),
        cgroup: Some("/system.slice/nginx.service".into()),
        ..HitSubject::default()
    }
}

pub(super) fn phase(name: &str, start_s: f64, end_s: f64, connections_per_s: Option<f64>) -> Phase {
    let concurrency = connections_per_s.map(|rate| rate / 20.0);
    let load = Load { connections_per_s, concurrency, ..Load::default() };
    Phase { name: name.into(), source: PhaseSource::Auto, start_s, end_s, load }
}

/// A minute of load, with a gap in which nobody looked.
pub(super) fn course() -> Course {
    let load = |at: usize| (at as f64 * 3.0).min(40.0) * 85.3;
    let values = |of: &dyn Fn(usize) -> f64| (0..32).map(|at| (at != 20).then(|| of(at))).collect();
    let lane = |name: &str, measure, values| Lane { name: name.into(), measure, values };
    Course {
        start_s: -2.0,
        step_s: 2.0,
        lanes: vec![
            lane("connections in the last second", Measure::Number, values(&load)),
            lane("connections open", Measure::Number, values(&|at| (load(at) / 20.0).round())),
            lane(
                "accept_queue_overflow: failures per second",
                Measure::Number,
                values(&|at| if at > 3 { 512.5 } else { 0.0 }),
            ),
            lane(
                "accept_queue_overflow: use of the limit",
                Measure::Share,
                values(&|at| (at as f64 / 4.0).min(1.0078)),
            ),
        ],
    }
}

pub(super) fn note(fault_line: &str, why: &str) -> Note {
    Note { fault_line: fault_line.into(), why: why.into() }
}

pub(super) fn headroom(
    resource: &str,
    subject: HitSubject,
    peak_used: u64,
    limit: u64,
    forecast_s: Option<f64>,
) -> Headroom {
    let ratio = peak_used as f64 / limit as f64;
    Headroom { resource: resource.into(), subject, peak_used, limit, ratio, forecast_s }
}

//! One table: every row has the same columns, in the long form, and leaves empty what is not its own.

use std::{
    borrow::Cow,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
};

use csv::{ErrorKind, Writer};
use serde::Serialize;
use serde_json::Value;

use super::{
    Form,
    place::Place,
    row::{HitList, HitRow, OnsetRow, Row, SignalRow, UsageRow, What},
};
use crate::core::{
    frame::Tier,
    subject::{Controller, Role},
    verdict::{Phase, Verdict},
};

/// Writes rows as lines of a table, quoted as RFC 4180 has it.
pub(super) struct Table<W: Write> {
    writer: Writer<W>,
}

impl<W: Write> Table<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { writer: Writer::from_writer(writer) }
    }
}

impl<W: Write> Form for Table<W> {
    fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        let line = Line::of(row)?;
        self.writer.serialize(line).map_err(|error| match error.into_kind() {
            ErrorKind::Io(error) => error,
            other => io::Error::other(format!("{other:?}")),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A line. The fields are the columns, in their order.
#[derive(Default, Serialize)]
struct Line<'a> {
    record: &'static str,
    seq: Option<u64>,
    at_s: f64,
    mono_ns: u64,
    time: &'a str,
    /// What it is about: the signal, resource, fault line, ...
    name: Cow<'a, str>,
    netns: Option<u32>,
    listener: Option<SocketAddr>,
    destination: Option<SocketAddr>,
    source: Option<IpAddr>,
    cgroup: Option<&'a str>,
    cgroup_id: Option<u64>,
    controller: Option<Controller>,
    container: Option<&'a str>,
    pid: Option<u32>,
    comm: Option<&'a str>,
    tier: Option<Tier>,
    reason: Option<&'a str>,
    generator: Option<bool>,
    count: Option<u64>,
    delta: Option<u64>,
    rate_per_s: Option<f64>,
    first_s: Option<f64>,
    last_s: Option<f64>,
    peak: Option<u64>,
    used: Option<u64>,
    limit: Option<u64>,
    ratio: Option<f64>,
    limit_set_by: Option<&'a str>,
    /// The interval in which it was, or that it lasted.
    from_s: Option<f64>,
    to_s: Option<f64>,
    duration_ns: Option<u64>,
    list: Option<HitList>,
    is_first: Option<bool>,
    role: Option<Role>,
    /// In words, or as JSON.
    detail: Option<String>,
}

impl<'a> Line<'a> {
    fn of(row: &'a Row<'a>) -> io::Result<Self> {
        let line = match &row.what {
            What::Run(run) => {
                Self { name: run.id.into(), detail: Some(serde_json::to_string(run)?), ..Self::default() }
            }
            What::Frame(frame) => {
                Self { name: "tick".into(), delta: Some(frame.missing_before), ..Self::default() }
            }
            What::Mark(mark) => Self::of_tagged(mark, "mark")?,
            What::Fact(fact) => Self::of_tagged(fact, "fact")?,
            What::Signal(signal) => Self::of_signal(signal, row.at.at_s),
            What::Usage(usage) => Self::of_usage(usage, row.at.at_s),
            What::Source(status) => Self {
                name: Cow::from(&status.source),
                duration_ns: Some(status.duration_ns),
                detail: status.error.clone(),
                ..Self::default()
            },
            What::Loss(loss) => Self {
                name: loss.reason.into(),
                count: Some(loss.count),
                delta: Some(loss.delta),
                ..Self::default()
            },
            What::Onset(onset) => Self::of_onset(onset),
            What::Phase(phase) => Self::of_phase(phase),
            What::Hit(hit) => Self::of_hit(hit),
            What::Verdict(verdict) => Self::of_verdict(verdict),
        };
        let at = &row.at;
        Ok(Self {
            record: row.what.record(),
            seq: at.seq,
            at_s: at.at_s,
            mono_ns: at.mono_ns,
            time: &at.time,
            ..line
        })
    }

    /// Named by the tag that tells its kinds apart; what is in it is different for each.
    fn of_tagged(value: &impl Serialize, tag: &str) -> io::Result<Self> {
        let value = serde_json::to_value(value)?;
        let name = value.get(tag).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Self { name: name.into(), detail: Some(value.to_string()), ..Self::default() })
    }

    fn at(place: &'a Place) -> Self {
        Self {
            netns: place.netns,
            listener: place.listener,
            destination: place.destination,
            source: place.source,
            cgroup: place.cgroup.as_deref(),
            cgroup_id: place.cgroup_id,
            controller: place.controller,
            container: place.container.as_deref(),
            pid: place.pid,
            comm: place.comm.as_deref(),
            ..Self::default()
        }
    }

    fn of_signal(signal: &'a SignalRow<'a>, at_s: f64) -> Self {
        Self {
            name: signal.signal.name().into(),
            tier: Some(signal.tier),
            reason: signal.reason,
            generator: Some(signal.generator),
            count: Some(signal.count),
            delta: signal.delta,
            rate_per_s: signal.rate_per_s,
            first_s: signal.first_s,
            last_s: signal.last_s,
            peak: signal.peak,
            limit: signal.limit,
            from_s: Some(signal.since_s),
            to_s: Some(at_s),
            ..Self::at(&signal.subject)
        }
    }

    fn of_usage(usage: &'a UsageRow<'a>, at_s: f64) -> Self {
        Self {
            name: usage.resource.name().into(),
            used: Some(usage.used),
            limit: usage.limit,
            ratio: usage.ratio,
            limit_set_by: usage.limit_set_by,
            from_s: Some(usage.since_s),
            to_s: Some(at_s),
            ..Self::at(&usage.subject)
        }
    }

    fn of_onset(onset: &'a OnsetRow) -> Self {
        Self {
            name: onset.fault_line.into(),
            from_s: Some(onset.onset_lo_s),
            to_s: Some(onset.onset_hi_s),
            ..Self::at(&onset.subject)
        }
    }

    fn of_phase(phase: &'a Phase) -> Self {
        Self {
            name: Cow::from(&phase.name),
            rate_per_s: phase.load.connections_per_s,
            from_s: Some(phase.start_s),
            to_s: Some(phase.end_s),
            ..Self::default()
        }
    }

    fn of_hit(row: &'a HitRow<'a>) -> Self {
        let subject = &row.hit.subject;
        let usage = row.hit.usage.as_ref();
        Self {
            name: Cow::from(&row.hit.fault_line),
            netns: subject.netns,
            listener: subject.listener,
            destination: subject.destination,
            source: subject.source,
            cgroup: subject.cgroup.as_deref(),
            container: subject.container.as_deref(),
            pid: subject.pid,
            comm: subject.comm.as_deref(),
            used: usage.map(|usage| usage.used),
            limit: usage.and_then(|usage| usage.limit),
            ratio: usage.and_then(|usage| usage.peak_ratio),
            limit_set_by: usage.and_then(|usage| usage.limit_set_by.as_deref()),
            from_s: Some(row.hit.onset_lo_s),
            to_s: Some(row.hit.onset_hi_s),
            list: Some(row.list),
            is_first: Some(row.is_first),
            role: Some(row.hit.role),
            detail: Some(row.hit.because.clone()),
            ..Self::default()
        }
    }

    fn of_verdict(verdict: &'a Verdict) -> Self {
        Self {
            name: verdict.outcome.name().into(),
            detail: verdict.first.as_ref().map(|first| first.because.clone()),
            ..Self::default()
        }
    }
}

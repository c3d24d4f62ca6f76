//! Rows out of the parts of a frame.

use std::net::SocketAddr;

use rusqlite::{Connection, ToSql, params};

use super::series::{SignalSeries, UsageSeries};
use crate::core::{
    event::{Event, What},
    frame::{Fact, Loss, Mark, PhaseSource, RunHeader, SignalSample, SourceStatus, UsageSample},
    subject::{Controller, Subject},
    verdict::{Phase, Verdict},
};

/// Why a row was not written.
pub(super) enum InsertError {
    /// The tables cannot hold a value.
    Value(String),
    /// SQLite refused.
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for InsertError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

type Inserted = Result<(), InsertError>;

/// A number as SQLite holds it. Its integers are signed, and one that does not fit is refused, not wrapped.
pub(super) fn int(field: &str, value: u64) -> Result<i64, InsertError> {
    i64::try_from(value).map_err(|_| {
        InsertError::Value(format!("{field} is {value}, more than the {} a recording holds", i64::MAX))
    })
}

fn maybe(field: &str, value: Option<u64>) -> Result<Option<i64>, InsertError> {
    value.map(|value| int(field, value)).transpose()
}

/// An address as text; refused where text cannot give it back.
fn address(field: &str, address: SocketAddr) -> Result<String, InsertError> {
    match address {
        SocketAddr::V6(v6) if v6.flowinfo() != 0 => {
            Err(InsertError::Value(format!("{field} {address} carries the flow label {}", v6.flowinfo())))
        }
        _ => Ok(address.to_string()),
    }
}

fn insert(connection: &Connection, sql: &str, values: &[&dyn ToSql]) -> Inserted {
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

pub(super) fn header(connection: &Connection, header: &RunHeader, checksum: i64) -> Inserted {
    let json = |value: Result<String, serde_json::Error>| {
        value.map_err(|error| InsertError::Value(format!("the header: {error}")))
    };
    let RunHeader { id, observer_version, host, kernel, netns, command, targets, ignore, plan, coverage } =
        header;
    insert(
        connection,
        "INSERT INTO run VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            id,
            observer_version,
            host,
            kernel,
            netns,
            json(serde_json::to_string(command))?,
            json(serde_json::to_string(targets))?,
            json(serde_json::to_string(ignore))?,
            json(serde_json::to_string(plan))?,
            json(serde_json::to_string(coverage))?,
            checksum,
        ],
    )
}

pub(super) fn subject(connection: &Connection, id: i64, subject: &Subject) -> Inserted {
    let Subject { netns, listener, destination, source, cgroup, controller, pid } = subject;
    insert(
        connection,
        "INSERT INTO subject VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            id,
            netns,
            listener.map(|it| address("listener", it)).transpose()?,
            destination.map(|it| address("destination", it)).transpose()?,
            source.map(|it| it.to_string()),
            maybe("cgroup", *cgroup)?,
            controller.map(Controller::name),
            pid,
        ],
    )
}

pub(super) fn signal_series(
    connection: &Connection,
    id: i64,
    subject: i64,
    series: &SignalSeries,
) -> Inserted {
    insert(
        connection,
        "INSERT INTO signal_series VALUES (?, ?, ?, ?, ?, ?, ?)",
        params![
            id,
            series.signal.name(),
            series.tier.name(),
            subject,
            series.reason,
            series.generator,
            maybe("first_ns", series.first_ns)?,
        ],
    )
}

/// A sample of a series, in a frame that began at `mono_ns`.
pub(super) fn signal(
    connection: &Connection,
    id: i64,
    series: i64,
    mono_ns: i64,
    sample: &SignalSample,
) -> Inserted {
    insert(
        connection,
        "INSERT INTO signal_sample VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            id,
            series,
            int("count", sample.count)?,
            maybe("last_ns", sample.last_ns)?.map(|last_ns| last_ns - mono_ns),
            maybe("peak", sample.peak)?,
            maybe("limit", sample.limit)?,
            int("read_ns", sample.read_ns)? - mono_ns,
            int("since_ns", sample.since_ns)? - mono_ns,
        ],
    )
}

pub(super) fn usage_series(connection: &Connection, id: i64, subject: i64, series: &UsageSeries) -> Inserted {
    insert(
        connection,
        "INSERT INTO usage_series VALUES (?, ?, ?, ?, ?)",
        params![id, series.resource.name(), subject, maybe("limit", series.limit)?, series.limit_set_by],
    )
}

/// A sample of a series, in a frame that began at `mono_ns`.
pub(super) fn usage(
    connection: &Connection,
    id: i64,
    series: i64,
    mono_ns: i64,
    sample: &UsageSample,
) -> Inserted {
    insert(
        connection,
        "INSERT INTO usage_sample VALUES (?, ?, ?, ?, ?)",
        params![
            id,
            series,
            int("used", sample.used)?,
            int("read_ns", sample.read_ns)? - mono_ns,
            int("since_ns", sample.since_ns)? - mono_ns,
        ],
    )
}

pub(super) fn fact(connection: &Connection, (seq, n): (i64, i64), fact: &Fact) -> Inserted {
    match fact {
        Fact::Process { pid, parent, comm, netns, cgroup, generator } => insert(
            connection,
            "INSERT INTO fact (seq, n, kind, pid, parent, comm, netns, cgroup, generator)
             VALUES (?, ?, 'process', ?, ?, ?, ?, ?, ?)",
            params![seq, n, pid, parent, comm, netns, maybe("cgroup", *cgroup)?, generator],
        ),
        Fact::ListenerOwner { netns, listener, pid } => insert(
            connection,
            "INSERT INTO fact (seq, n, kind, netns, listener, pid) VALUES (?, ?, 'listener_owner', ?, ?, ?)",
            params![seq, n, netns, address("listener", *listener)?, pid],
        ),
        Fact::CgroupPath { id, controller, path } => insert(
            connection,
            "INSERT INTO fact (seq, n, kind, cgroup, controller, path) VALUES (?, ?, 'cgroup_path', ?, ?, ?)",
            params![seq, n, int("cgroup", *id)?, controller.map(Controller::name), path],
        ),
        Fact::ProcessCgroup { pid, controller, cgroup } => insert(
            connection,
            "INSERT INTO fact (seq, n, kind, pid, controller, cgroup) VALUES (?, ?, 'process_cgroup', ?, ?, ?)",
            params![seq, n, pid, controller.name(), int("cgroup", *cgroup)?],
        ),
        Fact::KernelLog { at_ns, about, text } => insert(
            connection,
            "INSERT INTO fact (seq, n, kind, at_ns, name, value) VALUES (?, ?, 'kernel_log', ?, ?, ?)",
            params![seq, n, int("at_ns", *at_ns)?, about.name(), text],
        ),
        Fact::OomVictim { at_ns, pid, comm, constraint, limit_owner, cgroup } => insert(
            connection,
            "INSERT INTO fact (seq, n, kind, at_ns, pid, comm, name, place, path)
             VALUES (?, ?, 'oom_victim', ?, ?, ?, ?, ?, ?)",
            params![seq, n, int("at_ns", *at_ns)?, pid, comm, constraint, limit_owner, cgroup],
        ),
        Fact::Limit { name, value, place } => insert(
            connection,
            "INSERT INTO fact (seq, n, kind, name, value, place) VALUES (?, ?, 'limit', ?, ?, ?)",
            params![seq, n, name, value, place],
        ),
    }
}

pub(super) fn mark(connection: &Connection, (seq, n): (i64, i64), mark: &Mark) -> Inserted {
    match mark {
        Mark::CommandStarted { at_ns, pid } => insert(
            connection,
            "INSERT INTO mark (seq, n, kind, at_ns, pid) VALUES (?, ?, 'command_started', ?, ?)",
            params![seq, n, int("at_ns", *at_ns)?, pid],
        ),
        Mark::CommandEnded { at_ns, exit_status } => insert(
            connection,
            "INSERT INTO mark (seq, n, kind, at_ns, exit_status) VALUES (?, ?, 'command_ended', ?, ?)",
            params![seq, n, int("at_ns", *at_ns)?, exit_status],
        ),
        Mark::Phase { at_ns, name, source } => insert(
            connection,
            "INSERT INTO mark (seq, n, kind, at_ns, name, source) VALUES (?, ?, 'phase', ?, ?, ?)",
            params![seq, n, int("at_ns", *at_ns)?, name, source_name(*source)],
        ),
    }
}

pub(super) fn source_status(
    connection: &Connection,
    (seq, n): (i64, i64),
    status: &SourceStatus,
) -> Inserted {
    insert(
        connection,
        "INSERT INTO source_status VALUES (?, ?, ?, ?, ?)",
        params![seq, n, status.source, int("duration_ns", status.duration_ns)?, status.error],
    )
}

pub(super) fn loss(connection: &Connection, (seq, n): (i64, i64), loss: &Loss) -> Inserted {
    insert(
        connection,
        "INSERT INTO loss VALUES (?, ?, ?, ?)",
        params![seq, n, loss.reason, int("count", loss.count)?],
    )
}

/// The stable name of where a phase came from; `serde` reads it back.
fn source_name(source: PhaseSource) -> &'static str {
    match source {
        PhaseSource::Auto => "auto",
        PhaseSource::Mark => "mark",
        PhaseSource::Plan => "plan",
    }
}

pub(super) fn event(connection: &Connection, (seq, n): (i64, i64), event: &Event) -> Inserted {
    let (mut at, mut place) = (None, None);
    let (mut fault_line, mut name, mut text, mut count) = (None, None, None, None);
    match &event.what {
        What::Started => {}
        What::Ended { exit_status } => count = exit_status.map(i64::from),
        What::Phase { name: phase } => name = Some(phase),
        What::Onset { fault_line: line, subject, at: bracket } => {
            (fault_line, place, at) = (Some(*line), Some(subject), Some(bracket));
        }
        What::KernelLog { text: line } => text = Some(line),
        What::Unreadable { source, why } => (name, text) = (Some(source), Some(why)),
        What::Loss { reason, count: lost } => (name, count) = (Some(reason), Some(int("count", *lost)?)),
    }
    insert(
        connection,
        "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            seq,
            n,
            int("at_ns", event.at_ns)?,
            event.what.name(),
            fault_line,
            maybe("lo_ns", at.map(|at| at.lo_ns))?,
            maybe("hi_ns", at.map(|at| at.hi_ns))?,
            place.and_then(|place| place.netns),
            place.and_then(|place| place.listener).map(|listener| listener.to_string()),
            place.and_then(|place| place.destination).map(|destination| destination.to_string()),
            place.and_then(|place| place.cgroup.as_ref()),
            place.and_then(|place| place.pid),
            place.and_then(|place| place.comm.as_ref()),
            name,
            text,
            count,
        ],
    )
}

pub(super) fn verdict_update(connection: &Connection, seq: i64, at_ns: u64, verdict: &Verdict) -> Inserted {
    let first = verdict.first.as_ref();
    insert(
        connection,
        "INSERT OR REPLACE INTO verdict_update VALUES (?, ?, ?, ?, ?, ?)",
        params![
            seq,
            int("at_ns", at_ns)?,
            verdict.outcome.name(),
            first.map(|hit| &hit.fault_line),
            first.map(|hit| hit.onset_s),
            first.map(|hit| &hit.because),
        ],
    )
}

pub(super) fn phases(connection: &Connection, phases: &[Phase]) -> Inserted {
    connection.execute("DELETE FROM phase", ())?;
    for (n, phase) in (0_i64..).zip(phases) {
        let Phase { name, source, start_s, end_s, load } = phase;
        insert(
            connection,
            "INSERT INTO phase VALUES (?, ?, ?, ?, ?, ?, ?)",
            params![n, name, source_name(*source), start_s, end_s, load.connections_per_s, load.concurrency],
        )?;
    }
    Ok(())
}

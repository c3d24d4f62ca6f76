//! The parts of a frame out of rows. A row that no writer of ours writes is an error, never a guess.

use std::{collections::HashMap, fmt, str::FromStr};

use observer_common::Signal;
use rusqlite::{
    Connection, Row,
    types::{FromSql, FromSqlError, FromSqlResult, Type, ValueRef},
};
use serde::{
    Deserialize,
    de::value::{Error as NameError, StrDeserializer},
};

use super::series::{SignalSeries, UsageSeries, ids_of_frame};
use crate::core::{
    frame::{Fact, Frame, Loss, Mark, RunHeader, SignalSample, SourceStatus, UsageSample},
    subject::{Controller, Subject},
};

/// A number that was unsigned when it was written.
struct Unsigned(u64);

impl FromSql for Unsigned {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let signed = i64::column_result(value)?;
        u64::try_from(signed).map(Self).map_err(|_| FromSqlError::OutOfRange(signed))
    }
}

/// Only what the writer writes for a truth value: 0 and 1.
struct Truth(bool);

impl FromSql for Truth {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match i64::column_result(value)? {
            0 => Ok(Self(false)),
            1 => Ok(Self(true)),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}

fn unsigned(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    row.get::<_, Unsigned>(column).map(|it| it.0)
}

fn maybe(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<u64>> {
    row.get::<_, Option<Unsigned>>(column).map(|it| it.map(|it| it.0))
}

fn truth(row: &Row<'_>, column: &str) -> rusqlite::Result<bool> {
    row.get::<_, Truth>(column).map(|it| it.0)
}

/// What is wrong with a value, as an error of SQLite's.
fn wrong(what: impl fmt::Display) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, what.to_string().into())
}

/// A text that has to read as an address.
fn parsed<T: FromStr>(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| text.parse().map_err(|_| wrong(format_args!("`{text}` is no {column} address"))))
        .transpose()
}

/// A text that has to be one of the names that an enum of ours has.
fn named<'a, T: Deserialize<'a>>(name: &'a str) -> rusqlite::Result<T> {
    T::deserialize(StrDeserializer::<NameError>::new(name)).map_err(wrong)
}

/// A value of the header that is a list.
fn json<T: for<'a> Deserialize<'a>>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| wrong(format_args!("the run's {column}: {error}")))
}

/// The header and its checksum.
pub(super) fn header(connection: &Connection) -> rusqlite::Result<(RunHeader, i64)> {
    connection.query_row("SELECT * FROM run", (), |row| {
        let header = RunHeader {
            id: row.get("id")?,
            observer_version: row.get("observer_version")?,
            host: row.get("host")?,
            kernel: row.get("kernel")?,
            netns: row.get("netns")?,
            command: json(row, "command")?,
            targets: json(row, "targets")?,
            ignore: json(row, "ignored")?,
            plan: json(row, "plan")?,
            coverage: json(row, "coverage")?,
        };
        Ok((header, row.get("checksum")?))
    })
}

/// What was read already of what samples refer to, by id.
#[derive(Default)]
pub(super) struct Known {
    subjects: HashMap<i64, Subject>,
    signals: HashMap<i64, SignalSeries>,
    usages: HashMap<i64, UsageSeries>,
}

/// The next frame after the one with this number, with its checksum.
pub(super) fn frame_after(
    connection: &Connection,
    known: &mut Known,
    after: Option<i64>,
) -> rusqlite::Result<Option<(i64, Frame, i64)>> {
    let mut head = connection.prepare_cached("SELECT * FROM frame WHERE seq > ? ORDER BY seq LIMIT 1")?;
    let mut rows = head.query([after.unwrap_or(-1)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let seq: i64 = row.get("seq")?;
    let mono_ns = unsigned(row, "mono_ns")?;
    let frame = Frame {
        seq: unsigned(row, "seq")?,
        mono_ns,
        real_ns: unsigned(row, "real_ns")?,
        signals: samples(connection, "signal_sample", seq, |row| signal(connection, known, mono_ns, row))?,
        usages: samples(connection, "usage_sample", seq, |row| usage(connection, known, mono_ns, row))?,
        facts: parts(connection, "fact", seq, fact)?,
        marks: parts(connection, "mark", seq, mark)?,
        sources: parts(connection, "source_status", seq, source_status)?,
        losses: parts(connection, "loss", seq, loss)?,
    };
    Ok(Some((seq, frame, row.get("checksum")?)))
}

/// The rows of one frame in one table, in the order in which the frame had them.
fn parts<T>(
    connection: &Connection,
    table: &'static str,
    seq: i64,
    part: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection
        .prepare_cached(&format!("SELECT * FROM {table} WHERE seq = ? ORDER BY n"))?
        .query_map([seq], part)?
        .collect()
}

/// The samples of one frame in one table, in the order in which the frame had them.
fn samples<T>(
    connection: &Connection,
    table: &'static str,
    seq: i64,
    part: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    // A frame whose number is too large for samples has none.
    let Some((first, last)) = ids_of_frame(seq) else { return Ok(Vec::new()) };
    connection
        .prepare_cached(&format!("SELECT * FROM {table} WHERE id BETWEEN ? AND ? ORDER BY id"))?
        .query_map([first, last], part)?
        .collect()
}

/// An instant that is stored relative to that of its frame.
fn instant(mono_ns: u64, rel_ns: i64) -> rusqlite::Result<u64> {
    let out_of_range = || wrong(format_args!("an instant {rel_ns} ns from its frame is none"));
    mono_ns.checked_add_signed(rel_ns).ok_or_else(out_of_range)
}

fn signal(
    connection: &Connection,
    known: &mut Known,
    mono_ns: u64,
    row: &Row<'_>,
) -> rusqlite::Result<SignalSample> {
    let SignalSeries { signal, tier, subject, reason, generator, first_ns } =
        signal_series(connection, known, row.get("series")?)?;
    let last_rel_ns: Option<i64> = row.get("last_rel_ns")?;
    Ok(SignalSample {
        signal,
        tier,
        subject,
        reason,
        generator,
        count: unsigned(row, "count")?,
        first_ns,
        last_ns: last_rel_ns.map(|rel_ns| instant(mono_ns, rel_ns)).transpose()?,
        peak: maybe(row, "peak")?,
        limit: maybe(row, "limit_value")?,
        read_ns: instant(mono_ns, row.get("read_rel_ns")?)?,
        since_ns: instant(mono_ns, row.get("since_rel_ns")?)?,
    })
}

/// The series with this id, read once.
fn signal_series(connection: &Connection, known: &mut Known, id: i64) -> rusqlite::Result<SignalSeries> {
    if let Some(series) = known.signals.get(&id) {
        return Ok(series.clone());
    }
    let subjects = &mut known.subjects;
    let mut statement = connection.prepare_cached("SELECT * FROM signal_series WHERE id = ?")?;
    let read = statement.query_row([id], |row| {
        let name: String = row.get("signal")?;
        Ok(SignalSeries {
            signal: Signal::from_name(&name).ok_or_else(|| wrong(format_args!("unknown signal `{name}`")))?,
            tier: named(&row.get::<_, String>("tier")?)?,
            subject: subject(connection, subjects, row.get("subject")?)?,
            reason: row.get("reason")?,
            generator: truth(row, "generator")?,
            first_ns: maybe(row, "first_ns")?,
        })
    })?;
    known.signals.insert(id, read.clone());
    Ok(read)
}

fn usage(
    connection: &Connection,
    known: &mut Known,
    mono_ns: u64,
    row: &Row<'_>,
) -> rusqlite::Result<UsageSample> {
    let UsageSeries { resource, subject, limit, limit_set_by } =
        usage_series(connection, known, row.get("series")?)?;
    Ok(UsageSample {
        resource,
        subject,
        used: unsigned(row, "used")?,
        limit,
        limit_set_by,
        read_ns: instant(mono_ns, row.get("read_rel_ns")?)?,
        since_ns: instant(mono_ns, row.get("since_rel_ns")?)?,
    })
}

/// The series with this id, read once.
fn usage_series(connection: &Connection, known: &mut Known, id: i64) -> rusqlite::Result<UsageSeries> {
    if let Some(series) = known.usages.get(&id) {
        return Ok(series.clone());
    }
    let subjects = &mut known.subjects;
    let mut statement = connection.prepare_cached("SELECT * FROM usage_series WHERE id = ?")?;
    let read = statement.query_row([id], |row| {
        Ok(UsageSeries {
            resource: named(&row.get::<_, String>("resource")?)?,
            subject: subject(connection, subjects, row.get("subject")?)?,
            limit: maybe(row, "limit_value")?,
            limit_set_by: row.get("limit_set_by")?,
        })
    })?;
    known.usages.insert(id, read.clone());
    Ok(read)
}

fn fact(row: &Row<'_>) -> rusqlite::Result<Fact> {
    Ok(match row.get::<_, String>("kind")?.as_str() {
        "process" => Fact::Process {
            pid: row.get("pid")?,
            parent: row.get("parent")?,
            comm: row.get("comm")?,
            netns: row.get("netns")?,
            cgroup: maybe(row, "cgroup")?,
            generator: truth(row, "generator")?,
        },
        "listener_owner" => Fact::ListenerOwner {
            netns: row.get("netns")?,
            listener: parsed(row, "listener")?.ok_or_else(|| wrong("a listener_owner without listener"))?,
            pid: row.get("pid")?,
        },
        "cgroup_path" => Fact::CgroupPath {
            id: unsigned(row, "cgroup")?,
            controller: controller(row)?,
            path: row.get("path")?,
        },
        "process_cgroup" => Fact::ProcessCgroup {
            pid: row.get("pid")?,
            controller: controller(row)?.ok_or_else(|| wrong("a process_cgroup without controller"))?,
            cgroup: unsigned(row, "cgroup")?,
        },
        "kernel_log" => Fact::KernelLog {
            at_ns: unsigned(row, "at_ns")?,
            about: named(&row.get::<_, String>("name")?)?,
            text: row.get("value")?,
        },
        "oom_victim" => Fact::OomVictim {
            at_ns: unsigned(row, "at_ns")?,
            pid: row.get("pid")?,
            comm: row.get("comm")?,
            constraint: row.get("name")?,
            limit_owner: row.get("place")?,
            cgroup: row.get("path")?,
        },
        "limit" => Fact::Limit { name: row.get("name")?, value: row.get("value")?, place: row.get("place")? },
        other => return Err(wrong(format_args!("unknown fact `{other}`"))),
    })
}

fn controller(row: &Row<'_>) -> rusqlite::Result<Option<Controller>> {
    row.get::<_, Option<String>>("controller")?.map(|name| named(&name)).transpose()
}

fn mark(row: &Row<'_>) -> rusqlite::Result<Mark> {
    let at_ns = unsigned(row, "at_ns")?;
    Ok(match row.get::<_, String>("kind")?.as_str() {
        "command_started" => Mark::CommandStarted { at_ns, pid: row.get("pid")? },
        "command_ended" => Mark::CommandEnded { at_ns, exit_status: row.get("exit_status")? },
        "phase" => {
            let source: String = row.get("source")?;
            Mark::Phase { at_ns, name: row.get("name")?, source: named(&source)? }
        }
        other => return Err(wrong(format_args!("unknown mark `{other}`"))),
    })
}

fn source_status(row: &Row<'_>) -> rusqlite::Result<SourceStatus> {
    Ok(SourceStatus {
        source: row.get("source")?,
        duration_ns: unsigned(row, "duration_ns")?,
        error: row.get("error")?,
    })
}

fn loss(row: &Row<'_>) -> rusqlite::Result<Loss> {
    Ok(Loss { reason: row.get("reason")?, count: unsigned(row, "count")? })
}

/// The subject with this id, read once.
fn subject(
    connection: &Connection,
    subjects: &mut HashMap<i64, Subject>,
    id: i64,
) -> rusqlite::Result<Subject> {
    if let Some(known) = subjects.get(&id) {
        return Ok(known.clone());
    }
    let read = connection.prepare_cached("SELECT * FROM subject WHERE id = ?")?.query_row([id], |row| {
        Ok(Subject {
            netns: row.get("netns")?,
            listener: parsed(row, "listener")?,
            destination: parsed(row, "destination")?,
            source: parsed(row, "source")?,
            cgroup: maybe(row, "cgroup")?,
            controller: controller(row)?,
            pid: row.get("pid")?,
        })
    })?;
    subjects.insert(id, read.clone());
    Ok(read)
}

//! Writes a recording while it happens: one transaction per frame, but for a ring, which nobody reads after a kill.

use std::{
    fs,
    path::{Path, PathBuf},
    slice,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, params};

use super::{
    checksum::Checksum,
    claim::{cannot_create, claim},
    error::RecordingError,
    insert::{self, InsertError},
    schema,
    series::{Ids, SignalSeries, UsageSeries, sample_id},
};
use crate::core::{
    event::Judged,
    frame::{Frame, RunHeader, SCHEMA_VERSION, SignalSample, UsageSample},
    subject::Subject,
    verdict::Verdict,
};

/// How long a program that reads the file may hold it locked.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes one recording. A writer that is killed loses at most the frame it was writing.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    connection: Connection,
    subjects: Ids<Subject>,
    signals: Ids<SignalSeries>,
    usages: Ids<UsageSeries>,
    checksum: Checksum,
    last_seq: Option<u64>,
    frames: u64,
    frames_lost: u64,
}

impl Writer {
    /// Begins a recording in a new file. An empty file is taken as new; any other is left as it is.
    pub fn create(path: &Path, header: &RunHeader) -> Result<Self, RecordingError> {
        let is_new = claim(path)?;
        let writer = Self::begin(path, header);
        if writer.is_err() && is_new {
            // What was begun is of no use to anybody; the error that led here is the one to tell.
            for suffix in ["", "-wal", "-shm", "-journal"] {
                let _ = fs::remove_file(with_suffix(path, suffix));
            }
        }
        writer
    }

    fn begin(path: &Path, header: &RunHeader) -> Result<Self, RecordingError> {
        let sql = |error| RecordingError::database(path, error);
        // An absolute path cannot be taken for `:memory:` or an URI.
        let absolute = path.canonicalize().map_err(|source| cannot_create(path, source))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(absolute, flags).map_err(sql)?;
        connection.set_prepared_statement_cache_capacity(32);
        connection.busy_timeout(PATIENCE).map_err(sql)?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).map_err(sql)?;
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(sql)?;

        let checksum = Checksum::of(header);
        let mut writer = Self {
            path: path.to_owned(),
            connection,
            subjects: Ids::default(),
            signals: Ids::default(),
            usages: Ids::default(),
            checksum,
            last_seq: None,
            frames: 0,
            frames_lost: 0,
        };
        writer.transaction(0, |writer| {
            schema::create(&writer.connection)?;
            insert::header(&writer.connection, header, checksum.stored())?;
            writer.meta("schema_version", &SCHEMA_VERSION.to_string())?;
            Ok(writer.meta("observer_version", &header.observer_version)?)
        })?;
        // From here on the file itself says what it is, whatever becomes of its -wal.
        writer.checkpoint()?;
        Ok(writer)
    }

    /// Appends a frame. An error leaves the recording as it was before.
    pub fn frame(&mut self, frame: &Frame) -> Result<(), RecordingError> {
        self.frames_together(slice::from_ref(frame))
    }

    /// Appends frames in one transaction: all of them or none. A writer that is killed may lose them all.
    pub(super) fn frames_together(&mut self, frames: &[Frame]) -> Result<(), RecordingError> {
        let (mut last_seq, mut checksum) = (self.last_seq, self.checksum);
        for frame in frames {
            if let Some(after) = last_seq.filter(|last| *last >= frame.seq) {
                return Err(RecordingError::OutOfOrder { path: self.path.clone(), seq: frame.seq, after });
            }
            last_seq = Some(frame.seq);
        }
        let before = (self.subjects.len(), self.signals.len(), self.usages.len());
        let written = self.transaction(last_seq.unwrap_or(0), |writer| {
            frames.iter().try_for_each(|frame| {
                checksum = checksum.then(frame);
                writer.insert(frame, checksum)
            })
        });
        if written.is_ok() {
            self.checksum = checksum;
            self.last_seq = last_seq;
            self.frames += frames.len() as u64;
        } else {
            self.subjects.truncate(before.0);
            self.signals.truncate(before.1);
            self.usages.truncate(before.2);
        }
        written
    }

    fn insert(&mut self, frame: &Frame, checksum: Checksum) -> Result<(), InsertError> {
        let seq = insert::int("seq", frame.seq)?;
        let mono_ns = insert::int("mono_ns", frame.mono_ns)?;
        self.connection.prepare_cached("INSERT INTO frame VALUES (?, ?, ?, ?)")?.execute(params![
            seq,
            mono_ns,
            insert::int("real_ns", frame.real_ns)?,
            checksum.stored(),
        ])?;
        for (n, sample) in (0..).zip(&frame.signals) {
            let series = self.signal_series(sample)?;
            insert::signal(&self.connection, sample_id(seq, n)?, series, mono_ns, sample)?;
        }
        for (n, sample) in (0..).zip(&frame.usages) {
            let series = self.usage_series(sample)?;
            insert::usage(&self.connection, sample_id(seq, n)?, series, mono_ns, sample)?;
        }
        for (n, fact) in (0..).zip(&frame.facts) {
            insert::fact(&self.connection, (seq, n), fact)?;
        }
        for (n, mark) in (0..).zip(&frame.marks) {
            insert::mark(&self.connection, (seq, n), mark)?;
        }
        for (n, status) in (0..).zip(&frame.sources) {
            insert::source_status(&self.connection, (seq, n), status)?;
        }
        for (n, loss) in (0..).zip(&frame.losses) {
            insert::loss(&self.connection, (seq, n), loss)?;
        }
        Ok(())
    }

    /// The id of a subject, which is written once.
    fn subject(&mut self, subject: &Subject) -> Result<i64, InsertError> {
        if let Some(id) = self.subjects.get(subject) {
            return Ok(id);
        }
        let id = self.subjects.add(subject.clone());
        insert::subject(&self.connection, id, subject)?;
        Ok(id)
    }

    /// The id of what a sample's count is of, which is written once.
    fn signal_series(&mut self, sample: &SignalSample) -> Result<i64, InsertError> {
        let series = SignalSeries::from(sample);
        if let Some(id) = self.signals.get(&series) {
            return Ok(id);
        }
        let subject = self.subject(&series.subject)?;
        let id = self.signals.add(series.clone());
        insert::signal_series(&self.connection, id, subject, &series)?;
        Ok(id)
    }

    /// The id of what a sample's use is of, which is written once.
    fn usage_series(&mut self, sample: &UsageSample) -> Result<i64, InsertError> {
        let series = UsageSeries::from(sample);
        if let Some(id) = self.usages.get(&series) {
            return Ok(id);
        }
        let subject = self.subject(&series.subject)?;
        let id = self.usages.add(series.clone());
        insert::usage_series(&self.connection, id, subject, &series)?;
        Ok(id)
    }

    /// Adds what was made of a frame.
    pub fn judged(&mut self, judged: &Judged) -> Result<(), RecordingError> {
        self.transaction(judged.seq, |writer| {
            let seq = insert::int("seq", judged.seq)?;
            for (n, event) in (0..).zip(&judged.events) {
                insert::event(&writer.connection, (seq, n), event)?;
            }
            let verdict = judged.verdict.as_deref();
            verdict.map_or(Ok(()), |it| insert::verdict_update(&writer.connection, seq, judged.mono_ns, it))
        })
    }

    /// Stores the verdict that was given at the time; a later one replaces it.
    pub fn verdict(&mut self, verdict: &Verdict) -> Result<(), RecordingError> {
        let seq = self.last_seq.unwrap_or(0);
        self.transaction(seq, |writer| {
            let json = serde_json::to_string(verdict)
                .map_err(|error| InsertError::Value(format!("the verdict: {error}")))?;
            let first = verdict.first.as_ref();
            writer.connection.execute(
                "INSERT OR REPLACE INTO verdict VALUES (1, ?, ?, ?, ?, ?)",
                params![
                    verdict.outcome.name(),
                    first.map(|hit| &hit.fault_line),
                    first.map(|hit| hit.onset_s),
                    json,
                    Checksum::of(&json).stored(),
                ],
            )?;
            insert::phases(&writer.connection, &verdict.phases)
        })
    }

    /// Says that so many frames never reached this writer, so that the recording tells of its gaps.
    pub fn frames_lost(&mut self, lost: u64) {
        self.frames_lost = lost;
    }

    /// Ends the recording: everything in one file, without a `-wal` beside it.
    ///
    /// While another program has the recording open, its `-wal` stays until that one closes it.
    pub fn finish(mut self) -> Result<(), RecordingError> {
        let (frames, lost) = (self.frames.to_string(), self.frames_lost.to_string());
        self.transaction(self.last_seq.unwrap_or(0), |writer| {
            writer.meta("frames", &frames)?;
            Ok(writer.meta("frames_lost", &lost)?)
        })?;
        self.checkpoint()?;
        // Without the WAL mode, one can read the file from a folder in which one may not write.
        match self.connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(())) {
            Err(error) if error.sqlite_error_code() != Some(rusqlite::ErrorCode::DatabaseBusy) => {
                return Err(RecordingError::database(&self.path, error));
            }
            _ => {}
        }
        self.connection.close().map_err(|(_, error)| RecordingError::database(&self.path, error))
    }

    /// The file that is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of frames written.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Lets the file grow to so many pages and no further, as a full disk would.
    #[cfg(test)]
    #[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    pub(super) fn limit_pages(&self, pages: u32) {
        self.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    }

    fn meta(&self, key: &str, value: &str) -> rusqlite::Result<()> {
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", [key, value]).map(|_| ())
    }

    fn checkpoint(&self) -> Result<(), RecordingError> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))
            .map_err(|error| RecordingError::database(&self.path, error))
    }

    /// All of it or nothing.
    fn transaction(
        &mut self,
        seq: u64,
        work: impl FnOnce(&mut Self) -> Result<(), InsertError>,
    ) -> Result<(), RecordingError> {
        let done = self.connection.execute_batch("BEGIN").map_err(InsertError::Sql).and_then(|()| {
            work(self)?;
            Ok(self.connection.execute_batch("COMMIT")?)
        });
        done.map_err(|error| {
            // On some errors SQLite has rolled back already, and says so by refusing.
            let _ = self.connection.execute_batch("ROLLBACK");
            let path = self.path.clone();
            match error {
                InsertError::Value(what) => RecordingError::Unrepresentable { path, seq, what },
                InsertError::Sql(error) => RecordingError::database(&path, error),
            }
        })
    }
}

/// The name of a file that SQLite keeps beside a recording.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

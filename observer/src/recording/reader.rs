//! Reads a recording back, exactly as it was written or with an error that says why not.

use std::{
    fmt::Write as _,
    fs, io,
    iter::FusedIterator,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, config::DbConfig};

use super::{checksum::Checksum, error::RecordingError, schema, select, writer::with_suffix};
use crate::core::{
    frame::{Frame, RunHeader},
    verdict::Verdict,
};

/// Reads one recording: a finished one, one whose writer was killed, or one that is still being written.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    connection: Connection,
    header: RunHeader,
}

impl Reader {
    /// Opens a recording. The file is never written to.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let absolute = find(path)?;
        let sql = |error| RecordingError::database(path, error);
        let connection = connect(&absolute).map_err(sql)?;
        schema::check(&connection, path)?;
        let (header, checksum) = select::header(&connection).map_err(sql)?;
        if Checksum::of(&header).stored() != checksum {
            let what = "the description of its run is not what was written".into();
            return Err(RecordingError::Damaged { path: path.to_owned(), what });
        }
        Ok(Self { path: path.to_owned(), connection, header })
    }

    /// What was known before the first frame.
    pub fn header(&self) -> &RunHeader {
        &self.header
    }

    /// The frames in the order in which they were recorded. The first error is the last item:
    /// what came before it is intact, what comes after it cannot be trusted.
    pub fn frames(&self) -> impl Iterator<Item = Result<Frame, RecordingError>> + '_ {
        Frames {
            reader: self,
            known: select::Known::default(),
            after: None,
            checksum: Checksum::of(&self.header),
            count: 0,
            done: false,
        }
    }

    /// The verdict that was given at the time, where the run came that far.
    pub fn recorded_verdict(&self) -> Result<Option<Verdict>, RecordingError> {
        let damaged = |what: String| RecordingError::Damaged { path: self.path.clone(), what };
        let row: Option<(String, i64)> = self
            .connection
            .query_row("SELECT json, checksum FROM verdict", (), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(|error| self.sql(error))?;
        let Some((json, checksum)) = row else { return Ok(None) };
        if Checksum::of(&json).stored() != checksum {
            return Err(damaged("its verdict is not what was written".into()));
        }
        serde_json::from_str(&json).map(Some).map_err(|error| damaged(format!("its verdict: {error}")))
    }

    /// Whether its writer came to the end. `false` means that it was killed, or still writes.
    pub fn is_finished(&self) -> Result<bool, RecordingError> {
        Ok(self.number("frames")?.is_some())
    }

    /// How many frames the recording lacks because the disk could not follow; 0 when that is not known.
    pub fn frames_lost(&self) -> Result<u64, RecordingError> {
        Ok(self.number("frames_lost")?.unwrap_or(0))
    }

    /// A number in `meta`.
    fn number(&self, key: &str) -> Result<Option<u64>, RecordingError> {
        let value: Option<String> = self
            .connection
            .query_row("SELECT value FROM meta WHERE key = ?", [key], |row| row.get(0))
            .optional()
            .map_err(|error| self.sql(error))?;
        let read = value.as_deref().map(str::parse).transpose();
        read.map_err(|_| RecordingError::Damaged {
            path: self.path.clone(),
            what: format!("its meta value `{key}` is no number"),
        })
    }

    fn sql(&self, error: rusqlite::Error) -> RecordingError {
        RecordingError::database(&self.path, error)
    }
}

/// Walks over the frames, one at a time.
struct Frames<'a> {
    reader: &'a Reader,
    known: select::Known,
    after: Option<i64>,
    checksum: Checksum,
    count: u64,
    done: bool,
}

impl Frames<'_> {
    fn step(&mut self) -> Result<Option<Frame>, RecordingError> {
        let Self { reader, .. } = *self;
        let damaged = |what: String| RecordingError::Damaged { path: reader.path.clone(), what };
        let next = select::frame_after(&reader.connection, &mut self.known, self.after).map_err(|error| {
            match RecordingError::database(&reader.path, error) {
                RecordingError::Damaged { path, what } => RecordingError::Damaged {
                    path,
                    what: match self.after {
                        Some(seq) => format!("{what}, after frame {seq}"),
                        None => format!("{what}, in the first frame"),
                    },
                },
                other => other,
            }
        })?;
        let Some((seq, frame, checksum)) = next else {
            return match reader.number("frames")? {
                Some(written) if written != self.count => {
                    Err(damaged(format!("{} of its {written} frames are left", self.count)))
                }
                _ => Ok(None),
            };
        };
        self.checksum = self.checksum.then(&frame);
        if self.checksum != Checksum::from_stored(checksum) {
            return Err(damaged(format!(
                "frame {seq} is not what was written, or a frame before it is missing"
            )));
        }
        self.after = Some(seq);
        self.count += 1;
        Ok(Some(frame))
    }
}

impl Iterator for Frames<'_> {
    type Item = Result<Frame, RecordingError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = self.step().transpose();
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}

impl FusedIterator for Frames<'_> {}

/// The absolute path of a file that can be read.
fn find(path: &Path) -> Result<PathBuf, RecordingError> {
    let cannot_open = |source: io::Error| RecordingError::Io {
        path: path.to_owned(),
        doing: "opened",
        advice: match source.kind() {
            io::ErrorKind::NotFound => "check its name",
            io::ErrorKind::PermissionDenied => "ask its owner, or read it as the user who recorded it",
            _ => "check the disk it is on",
        },
        source,
    };
    let not_a_recording =
        |why: &str| RecordingError::NotARecording { path: path.to_owned(), why: why.to_owned() };
    let absolute = path.canonicalize().map_err(cannot_open)?;
    let metadata = fs::metadata(&absolute).map_err(cannot_open)?;
    if !metadata.is_file() {
        return Err(not_a_recording("it is no regular file"));
    }
    fs::File::open(&absolute).map_err(cannot_open)?;
    if metadata.len() == 0 {
        return Err(not_a_recording("it is empty"));
    }
    Ok(absolute)
}

/// Opens the file in the least demanding way that shows all of it.
fn connect(absolute: &Path) -> rusqlite::Result<Connection> {
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let has_wal = fs::metadata(with_suffix(absolute, "-wal")).is_ok_and(|wal| wal.len() > 0);
    if !has_wal {
        // Nothing beside it: SQLite need not make its own files there either.
        let uri = immutable_uri(absolute);
        return prepare(Connection::open_with_flags(uri, read_only | OpenFlags::SQLITE_OPEN_URI)?);
    }
    let shared = Connection::open_with_flags(absolute, read_only).and_then(prepare);
    match shared {
        Err(error) if is_folder_read_only(&error) => private(absolute),
        other => other,
    }
}

/// Opens a recording with a `-wal` where SQLite may not make the `-shm` that goes with it: the
/// index that would be in there is held in memory, which takes a lock that a file opened for
/// reading cannot have, hence the VFS without locks. Nobody else writes in such a folder.
pub(super) fn private(absolute: &Path) -> rusqlite::Result<Connection> {
    let read_only = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags_and_vfs(absolute, read_only, c"unix-none")?;
    connection.pragma_update_and_check(None, "locking_mode", "EXCLUSIVE", |_| Ok(()))?;
    prepare(connection)
}

/// Readies a connection for a file that anyone may have made, and reads from it once.
fn prepare(connection: Connection) -> rusqlite::Result<Connection> {
    connection.set_prepared_statement_cache_capacity(32);
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Otherwise SQLite plans a query anew for every number that is bound to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()))?;
    Ok(connection)
}

fn is_folder_read_only(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// The URI of a file that does not change while it is read.
fn immutable_uri(absolute: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in absolute.as_os_str().as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => {
                uri.push(char::from(*byte))
            }
            // Writing to a String cannot fail.
            _ => _ = write!(uri, "%{byte:02X}"),
        }
    }
    uri + "?immutable=1"
}

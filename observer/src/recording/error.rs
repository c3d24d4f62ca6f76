//! What can be wrong with a recording, in words that name the file and say what to do.

use std::{
    io,
    path::{Path, PathBuf},
};

use rusqlite::ErrorCode;

/// Why a recording cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file system refused.
    #[error("{}: cannot be {doing}: {source}; {advice}", path.display())]
    Io {
        /// The recording.
        path: PathBuf,
        /// `created`, `opened`.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// There is a recording at this path already.
    #[error("{}: holds a recording already, and it is not overwritten; choose another name or remove it first", path.display())]
    AlreadyRecorded {
        /// The recording.
        path: PathBuf,
    },
    /// There is something else at this path.
    #[error("{}: exists and is {what}, not a recording; it is left as it is: choose another name", path.display())]
    Occupied {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Not one of our files.
    #[error("{}: is not a recording of observer ({why}); name a file written with --record", path.display())]
    NotARecording {
        /// The file.
        path: PathBuf,
        /// How one can tell.
        why: String,
    },
    /// A recording of an older observer.
    #[error(
        "{}: was recorded by an older observer (schema {found}, this one reads {expected}); \
         read it with that version, or record again", path.display()
    )]
    OlderSchema {
        /// The recording.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that can be read.
        expected: u32,
    },
    /// A recording of a newer observer.
    #[error(
        "{}: was recorded by a newer observer (schema {found}, this one reads {expected}); \
         update observer to read it", path.display()
    )]
    NewerSchema {
        /// The recording.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version that can be read.
        expected: u32,
    },
    /// Something in it is not as it was written.
    #[error("{}: is damaged: {what}; what comes before that is intact, copy the file anew if there is a good copy", path.display())]
    Damaged {
        /// The recording.
        path: PathBuf,
        /// What and where.
        what: String,
    },
    /// No room left.
    #[error("{}: the disk is full; what was recorded before is intact: free some space or record elsewhere", path.display())]
    DiskFull {
        /// The recording.
        path: PathBuf,
    },
    /// Its folder or file system cannot be written to any more.
    #[error(
        "{}: its folder or disk has become read-only; what was recorded before is intact: keep it together with the \
         -wal beside it", path.display()
    )]
    ReadOnly {
        /// The recording.
        path: PathBuf,
    },
    /// A value that the tables cannot hold.
    #[error("{}: frame {seq} cannot be recorded: {what}; please report this with the values of that source", path.display())]
    Unrepresentable {
        /// The recording.
        path: PathBuf,
        /// The frame.
        seq: u64,
        /// The field, its value and what is wrong with it.
        what: String,
    },
    /// Frames have to come in the order of their numbers.
    #[error("{}: frame {seq} comes after frame {after}; frames are recorded in order, once", path.display())]
    OutOfOrder {
        /// The recording.
        path: PathBuf,
        /// The frame.
        seq: u64,
        /// The frame before it.
        after: u64,
    },
    /// A ring that holds no frame yet.
    #[error("{}: nothing is kept yet that could be saved; try again when the first tick has passed", path.display())]
    NothingKept {
        /// Where it was to be saved.
        path: PathBuf,
    },
    /// The thread that writes has died.
    #[error("{}: the recorder has stopped: {why}; what was recorded before is intact", path.display())]
    Stopped {
        /// The recording.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Anything else that SQLite refuses.
    #[error("{}: {source}; check that no other program has the file open and that its disk is healthy", path.display())]
    Database {
        /// The recording.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

impl RecordingError {
    /// Whether only this one frame is affected: the file itself is fine, and the next frame may go well.
    pub fn is_of_one_frame(&self) -> bool {
        matches!(self, Self::Unrepresentable { .. } | Self::OutOfOrder { .. })
    }

    /// Puts an error of SQLite into words.
    pub(super) fn database(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let damaged = |what: String| Self::Damaged { path: path.clone(), what };
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull { path },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { path },
            // The WAL index is a file too, and it meets a full disk in its own way.
            Some(ErrorCode::SystemIoFailure) if is_out_of_room(&source) => Self::DiskFull { path },
            Some(ErrorCode::SystemIoFailure) if is_short_read(&source) => {
                damaged("it ends in the middle".into())
            }
            Some(ErrorCode::DatabaseCorrupt) => damaged("its pages do not fit together".into()),
            Some(ErrorCode::NotADatabase) => {
                Self::NotARecording { path, why: "it is not an SQLite file".into() }
            }
            Some(ErrorCode::TooBig) => damaged("a value in it is too large".into()),
            Some(_) => Self::Database { path, source },
            None => match source {
                rusqlite::Error::InvalidColumnType(_, name, kind) => {
                    damaged(format!("column {name} holds {kind}"))
                }
                rusqlite::Error::FromSqlConversionFailure(_, _, why) => damaged(why.to_string()),
                rusqlite::Error::IntegralValueOutOfRange(_, value) => {
                    damaged(format!("the number {value} is out of range"))
                }
                rusqlite::Error::Utf8Error(_, why) => damaged(format!("a text in it is not UTF-8: {why}")),
                rusqlite::Error::QueryReturnedNoRows => damaged("a row is missing".into()),
                source => Self::Database { path, source },
            },
        }
    }
}

fn is_out_of_room(error: &rusqlite::Error) -> bool {
    error.sqlite_extended_error_code() == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

fn is_short_read(error: &rusqlite::Error) -> bool {
    error.sqlite_extended_error_code() == Some(rusqlite::ffi::SQLITE_IOERR_SHORT_READ)
}

//! Whether a new recording may be written at a path.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read},
    os::unix::fs::FileTypeExt,
    path::Path,
};

use super::{error::RecordingError, schema};

/// How an SQLite file begins.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Makes sure that a new recording may be written at this path; whether the file was made here.
pub(super) fn claim(path: &Path) -> Result<bool, RecordingError> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(_) => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(cannot_create(path, error)),
    }
    let occupied = |what| RecordingError::Occupied { path: path.to_owned(), what };
    let kind = fs::metadata(path).map_err(|error| cannot_create(path, error))?.file_type();
    if !kind.is_file() {
        return Err(occupied(match () {
            () if kind.is_dir() => "a folder",
            () if kind.is_char_device() || kind.is_block_device() => "a device",
            () if kind.is_fifo() || kind.is_socket() => "a pipe or socket",
            () => "no regular file",
        }));
    }
    let mut start = Vec::new();
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .and_then(|file| file.take(72).read_to_end(&mut start))
        .map_err(|error| cannot_create(path, error))?;
    if start.is_empty() {
        Ok(false)
    } else if !start.starts_with(MAGIC) {
        Err(occupied("a file with other content"))
    } else if start.get(68..72) == Some(&schema::APPLICATION_ID.to_be_bytes()) {
        Err(RecordingError::AlreadyRecorded { path: path.to_owned() })
    } else {
        Err(occupied("an SQLite file of another program"))
    }
}

/// What to say when the file system refuses to make the file.
pub(super) fn cannot_create(path: &Path, source: io::Error) -> RecordingError {
    let advice = match source.kind() {
        io::ErrorKind::NotFound => "make its folder first",
        io::ErrorKind::PermissionDenied => "choose a folder in which you may write",
        io::ErrorKind::ReadOnlyFilesystem => "choose a file system that is not mounted read-only",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space or record elsewhere",
        _ => "choose another place with --record",
    };
    RecordingError::Io { path: path.to_owned(), doing: "created", source, advice }
}

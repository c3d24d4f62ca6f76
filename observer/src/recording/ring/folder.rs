//! A private folder for temporary recordings, which nobody's death leaves behind for good.
//!
//! Whoever made it holds a lock on it as long as it lives; the kernel lets go of the lock when it dies, however it
//! does. A folder of ours that can be locked is therefore nobody's any more. (A process id would not tell: /var/tmp
//! may be shared with containers that have ids of their own.)

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::unistd::Uid;

use crate::recording::error::RecordingError;

/// How the names of our folders begin.
const PREFIX: &str = "observer-ring-";
/// How the names of all files in them begin.
const FILE_PREFIX: &str = "segment-";
/// Names to try before giving up: only other folders of this very process id can be in the way.
const MOST_NAMES: u32 = 1_000;

/// A folder that is removed when it is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The folder itself, locked.
    _lock: File,
}

impl Folder {
    /// Makes one in `parent`, and removes those that observers of this user left there when they were killed.
    pub(super) fn create(parent: &Path) -> Result<Self, RecordingError> {
        let parent = parent.canonicalize().map_err(|source| cannot_create(parent, source))?;
        sweep(&parent);
        for n in 0..MOST_NAMES {
            let path = parent.join(format!("{PREFIX}{}-{n}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(cannot_create(&path, error)),
            }
            // Another observer may have swept it away before it was locked.
            if let Some(lock) = lock(&path) {
                return Ok(Self { path, _lock: lock });
            }
        }
        Err(cannot_create(&parent.join(PREFIX), io::ErrorKind::AlreadyExists.into()))
    }

    /// The path of the n-th file in it.
    pub(super) fn file(&self, n: u64) -> PathBuf {
        self.path.join(format!("{FILE_PREFIX}{n}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Locks a folder; `None` where it is not ours alone, gone, or somebody's who lives.
fn lock(path: &Path) -> Option<File> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let folder = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let found = folder.metadata().ok()?;
    let is_private = found.uid() == Uid::effective().as_raw() && found.mode() & 0o077 == 0;
    if !is_private || folder.try_lock().is_err() {
        return None;
    }
    let named = fs::symlink_metadata(path).ok()?;
    ((named.dev(), named.ino()) == (found.dev(), found.ino())).then_some(folder)
}

/// Removes what killed observers have left. What cannot be removed is in nobody's way.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            // Held until it is gone, so that two observers do not sweep the same one.
            if let Some(_lock) = lock(&entry.path()) {
                remove(&entry.path());
            }
        }
    }
}

/// Removes a folder with our files in it. One that holds anything else is left.
fn remove(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(FILE_PREFIX)) {
            let _ = fs::remove_file(entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}

fn cannot_create(path: &Path, source: io::Error) -> RecordingError {
    let advice = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space, or keep the latest minutes in another folder"
        }
        _ => "keep the latest minutes in a folder that exists and in which you may write",
    };
    RecordingError::Io { path: path.to_owned(), doing: "created", source, advice }
}

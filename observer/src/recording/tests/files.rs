//! Where a recording may be, and in what company.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::tempdir;

use super::{
    super::{Reader, RecorderThread, RecordingError, Writer, reader, writer::with_suffix},
    finished, frame, frames, header, killed, read,
};

fn create_error(path: &Path) -> String {
    let error = Writer::create(path, &header()).unwrap_err().to_string();
    assert!(error.contains(&*path.to_string_lossy()), "{error}");
    error
}

fn open_error(path: &Path) -> String {
    let error = Reader::open(path).unwrap_err().to_string();
    assert!(error.contains(&*path.to_string_lossy()), "{error}");
    error
}

/// What is in a folder, by name.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_finished_recording_is_one_file() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("odd name?#%41.db");
    finished(&path, &frames(3));
    assert_eq!(names(folder.path()), ["odd name?#%41.db"]);
    assert_eq!(read(&path).unwrap(), frames(3));
    assert_eq!(names(folder.path()), ["odd name?#%41.db"], "a reader leaves nothing behind");
}

#[test]
fn nothing_that_exists_is_overwritten() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    finished(&path, &frames(1));
    assert!(create_error(&path).contains("holds a recording already"));
    assert_eq!(read(&path).unwrap(), frames(1));

    let letter = folder.path().join("letter");
    fs::write(&letter, "Dear reader").unwrap();
    assert!(create_error(&letter).contains("a file with other content"));
    assert_eq!(fs::read(&letter).unwrap(), b"Dear reader");

    let other = folder.path().join("other");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(create_error(&other).contains("an SQLite file of another program"));

    assert!(create_error(folder.path()).contains("a folder"));
    assert!(create_error(Path::new("/dev/null")).contains("a device"));
}

#[test]
fn an_empty_file_is_taken_as_new() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let writer = Writer::create(file.path(), &header()).unwrap();
    writer.finish().unwrap();
    assert_eq!(read(file.path()).unwrap(), []);
}

#[test]
fn a_missing_or_forbidden_folder_is_named() {
    let folder = tempdir().unwrap();
    assert!(create_error(&folder.path().join("no/such/r")).contains("make its folder first"));
    assert!(create_error(Path::new("/proc/r")).contains("cannot be created"));
    assert!(open_error(&folder.path().join("r")).contains("check its name"));
}

#[test]
fn other_files_are_not_recordings() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("x");
    for (content, why) in
        [("", "it is empty"), ("hello", "not an SQLite file"), (&*"x".repeat(9000), "not an SQLite")]
    {
        fs::write(&path, content).unwrap();
        let error = open_error(&path);
        assert!(error.contains("not a recording") && error.contains(why), "{error}");
    }
    fs::remove_file(&path).unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(open_error(&path).contains("of another program"));
    assert!(open_error(folder.path()).contains("no regular file"));
}

#[test]
fn other_versions_are_named() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    finished(&path, &frames(1));
    for (version, advice) in [(0, "an older observer (schema 0"), (u32::MAX >> 1, "update observer")] {
        rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", version).unwrap();
        let error = open_error(&path);
        assert!(error.contains(advice), "{error}");
        // Nor is it recorded over.
        assert!(create_error(&path).contains("holds a recording already"));
    }
}

#[test]
fn a_killed_recording_is_whole_up_to_its_last_frame() {
    let folder = tempdir().unwrap();
    let path = killed(folder.path(), &frames(10));
    let reader = Reader::open(&path).unwrap();
    assert!(!reader.is_finished().unwrap());
    assert_eq!(reader.frames().collect::<Result<Vec<_>, _>>().unwrap(), frames(10));
    assert!(reader.recorded_verdict().unwrap().is_none());
}

#[test]
fn a_killed_recording_that_lost_its_wal_still_says_what_it_is() {
    let folder = tempdir().unwrap();
    let path = killed(folder.path(), &frames(10));
    fs::remove_file(with_suffix(&path, "-wal")).unwrap();
    assert_eq!(read(&path).unwrap(), []);
    assert_eq!(Reader::open(&path).unwrap().header(), &header());
}

#[test]
fn a_killed_recording_is_read_without_an_index_of_its_own() {
    let folder = tempdir().unwrap();
    let path = killed(folder.path(), &frames(10));
    let before = names(folder.path());
    let connection = reader::private(&path.canonicalize().unwrap()).unwrap();
    let count: i64 = connection.query_row("SELECT count(*) FROM frame", (), |row| row.get(0)).unwrap();
    assert_eq!(count, 10);
    drop(connection);
    assert_eq!(names(folder.path()), before);
}

/// Does something as a user who may not write anywhere here; the privileges of this thread alone change.
fn as_nobody<T>(work: impl FnOnce() -> T) -> T {
    let before = nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
    let done = work();
    nix::unistd::setfsuid(before);
    done
}

fn read_only(folder: &Path, files: &[PathBuf]) {
    for file in files {
        fs::set_permissions(file, fs::Permissions::from_mode(0o444)).unwrap();
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o555)).unwrap();
}

#[test]
fn a_folder_that_is_read_only_will_do() {
    let folder = tempdir().unwrap();
    let whole = folder.path().join("whole");
    finished(&whole, &frames(10));
    let killed = killed(folder.path(), &frames(10));
    let wal = with_suffix(&killed, "-wal");
    read_only(folder.path(), &[whole.clone(), killed.clone(), wal]);
    as_nobody(|| {
        // Someone without the right to write is refused first; only then does the rest say something.
        assert!(fs::write(folder.path().join("x"), "").is_err());
        assert_eq!(read(&whole).unwrap(), frames(10));
        assert_eq!(read(&killed).unwrap(), frames(10));
        assert!(create_error(&folder.path().join("new")).contains("a folder in which you may write"));
    });
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_folder_that_becomes_read_only_ends_nothing() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    let open_to = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
    open_to(0o777);
    let mut recorder =
        as_nobody(|| RecorderThread::spawn(Writer::create(&path, &header()).unwrap()).unwrap());
    open_to(0o555);
    frames(50).into_iter().for_each(|frame| recorder.frame(frame));
    let recorded = recorder.finish(None);
    assert_eq!((recorded.frames, recorded.frames_lost), (50, 0));
    // Only its `-wal` cannot be taken away.
    let complaint = recorded.complaint().unwrap();
    assert!(complaint.contains("has become read-only") && complaint.contains("-wal"), "{complaint}");
    assert_eq!(as_nobody(|| read(&path)).unwrap(), frames(50));
    open_to(0o755);
}

#[test]
fn a_file_that_may_not_be_read_is_named() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    finished(&path, &frames(1));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    assert!(as_nobody(|| open_error(&path)).contains("the user who recorded it"));
}

#[test]
fn a_full_disk_is_named_and_keeps_what_was_recorded() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    let mut writer = Writer::create(&path, &header()).unwrap();
    writer.limit_pages(30);
    let mut written = Vec::new();
    let error = loop {
        let next = frame(written.len() as u64);
        match writer.frame(&next) {
            Ok(()) => written.push(next),
            Err(error) => break error,
        }
        assert!(written.len() < 10_000);
    };
    assert!(matches!(error, RecordingError::DiskFull { .. }) && !error.is_of_one_frame(), "{error}");
    assert!(!written.is_empty());
    drop(writer);
    assert_eq!(read(&path).unwrap(), written);
}

#[test]
fn a_reader_beside_it_does_not_keep_a_recording_from_ending() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    let mut writer = Writer::create(&path, &header()).unwrap();
    writer.frame(&frame(0)).unwrap();
    let reader = Reader::open(&path).unwrap();
    let mut walk = reader.frames();
    assert_eq!(walk.next().unwrap().unwrap(), frame(0));
    writer.frame(&frame(1)).unwrap();
    assert_eq!(walk.next().unwrap().unwrap(), frame(1));
    writer.finish().unwrap();
    assert!(walk.next().is_none());
    assert_eq!(read(&path).unwrap(), frames(2));
}

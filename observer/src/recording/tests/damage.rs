//! A damaged recording gives a clear error or what is intact, never a panic, never a wrong frame.

use std::{fs, path::Path};

use tempfile::tempdir;

use super::{
    super::{Reader, RecordingError, writer::with_suffix},
    finished, frames, header, killed,
};
use crate::core::frame::Frame;

/// Bytes of a page of SQLite's.
const PAGE: u64 = 4_096;

/// Reads what there is; panics on a wrong frame. Whether all of it was there.
pub(super) fn read_prefix(path: &Path, written: &[Frame]) -> bool {
    let reader = match Reader::open(path) {
        Ok(reader) => reader,
        Err(error) => {
            names_the_file(&error, path);
            return false;
        }
    };
    assert_eq!(reader.header(), &header());
    let mut whole = true;
    let mut good = 0;
    for item in reader.frames() {
        match item {
            Ok(frame) => {
                assert_eq!(Some(&frame), written.get(good), "a wrong frame");
                good += 1;
            }
            Err(error) => {
                names_the_file(&error, path);
                whole = false;
            }
        }
    }
    if let Err(error) = reader.recorded_verdict() {
        names_the_file(&error, path);
    }
    whole && good == written.len()
}

fn names_the_file(error: &RecordingError, path: &Path) {
    let text = error.to_string();
    assert!(text.contains(&*path.to_string_lossy()), "{text}");
}

/// A few numbers that are the same at every run.
pub(super) fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(seed), |it| {
        Some(it.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    })
    .map(|it| it >> 33)
}

#[test]
fn a_finished_recording_that_is_cut_short() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    // So many that the last page holds some of them.
    let written = frames(60);
    finished(&path, &written);
    let whole = fs::read(&path).unwrap();
    let cuts = (0..200).chain((200..whole.len()).step_by(331)).chain([whole.len() - 1]);
    for length in cuts {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(!read_prefix(&path, &written), "cut to {length} bytes, and nothing was said");
    }
}

/// From the whole file down to nothing, one byte less each time.
#[test]
fn a_small_recording_that_is_cut_at_every_byte() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    let written = frames(1);
    finished(&path, &written);
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let whole = file.metadata().unwrap().len();
    for length in (0..whole).rev() {
        file.set_len(length).unwrap();
        // The last page of one that is as small as this holds a view, which no frame needs.
        let all_frames = read_prefix(&path, &written);
        assert!(!all_frames || length > whole - PAGE, "cut to {length} bytes, and nothing was said");
    }
}

/// A writer that dies leaves a `-wal` that may end anywhere. SQLite reads pages of it, whole or not at all: it
/// ends here at every byte near the border of one, and at some between.
#[test]
fn a_small_killed_recording_whose_wal_ends_anywhere() {
    let folder = tempdir().unwrap();
    let written = frames(2);
    let path = killed(folder.path(), &written);
    let wal = fs::OpenOptions::new().write(true).open(with_suffix(&path, "-wal")).unwrap();
    let mut most = written.len();
    let in_page = |length: &u64| length.saturating_sub(32) % (PAGE + 24);
    let matters = |length: &u64| !(60..PAGE).contains(&in_page(length)) || length.is_multiple_of(251);
    for length in (0..wal.metadata().unwrap().len()).rev().filter(matters) {
        wal.set_len(length).unwrap();
        let reader = Reader::open(&path).unwrap();
        let left: Vec<Frame> = reader.frames().collect::<Result<_, _>>().unwrap();
        assert_eq!(left, written[..left.len()]);
        assert!(left.len() <= most, "a frame came back");
        most = left.len();
    }
    assert_eq!(most, 0);
}

#[test]
fn a_finished_recording_with_flipped_bits() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    let written = frames(12);
    finished(&path, &written);
    let whole = fs::read(&path).unwrap();
    let mut noticed = 0;
    for (at, random) in (0..whole.len()).step_by(83).chain(0..100).zip(numbers(1)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (random % 8);
        fs::write(&path, &bytes).unwrap();
        noticed += usize::from(!read_prefix(&path, &written));
    }
    assert!(noticed > 100, "only {noticed}: is anything read at all?");
}

#[test]
fn a_finished_recording_with_much_overwritten() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    let written = frames(12);
    finished(&path, &written);
    let whole = fs::read(&path).unwrap();
    let mut random = numbers(2);
    for _ in 0..300 {
        let mut bytes = whole.clone();
        for _ in 0..20 {
            let at = random.next().unwrap() as usize % bytes.len();
            bytes[at] = random.next().unwrap() as u8;
        }
        fs::write(&path, &bytes).unwrap();
        read_prefix(&path, &written);
    }
}

#[test]
fn a_killed_recording_whose_wal_is_cut_or_flipped() {
    let folder = tempdir().unwrap();
    let written = frames(12);
    let path = killed(folder.path(), &written);
    let wal = with_suffix(&path, "-wal");
    let whole = fs::read(&wal).unwrap();
    assert!(read_prefix(&path, &written));
    for (at, random) in (0..whole.len()).step_by(2_003).zip(numbers(3)) {
        fs::write(&wal, &whole[..at]).unwrap();
        // A writer may be killed at any instant: what is left is the whole truth as far as it goes.
        let reader = Reader::open(&path).unwrap();
        let left: Vec<Frame> = reader.frames().collect::<Result<_, _>>().unwrap();
        assert_eq!(left, written[..left.len()]);
        drop(reader);

        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (random % 8);
        fs::write(&wal, &bytes).unwrap();
        read_prefix(&path, &written);
    }
}

#[test]
fn rows_that_were_edited() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    let written = frames(10);
    for edit in [
        "UPDATE signal_sample SET count = count + 1 WHERE id = 7 << 20",
        "UPDATE signal_sample SET count = -1 WHERE id = 7 << 20",
        "UPDATE signal_sample SET count = 'many' WHERE id >> 20 = 7",
        "UPDATE signal_sample SET count = NULL WHERE id >> 20 = 7",
        "UPDATE signal_sample SET series = 99 WHERE id >> 20 = 7",
        "UPDATE signal_sample SET read_rel_ns = read_rel_ns + 1 WHERE id >> 20 = 7",
        "UPDATE signal_sample SET read_rel_ns = -9223372036854775808 WHERE id >> 20 = 7",
        "UPDATE signal_sample SET last_rel_ns = 9223372036854775807 WHERE id >> 20 = 7",
        "UPDATE signal_sample SET id = id + (50 << 20) WHERE id >> 20 = 7",
        "UPDATE signal_series SET signal = 'no_such' WHERE id = 1",
        "UPDATE signal_series SET tier = 'guess' WHERE id = 1",
        "UPDATE signal_series SET generator = 2 WHERE id = 1",
        "UPDATE signal_series SET subject = 99 WHERE id = 1",
        "UPDATE signal_series SET first_ns = first_ns + 1 WHERE id = 1",
        "UPDATE subject SET listener = 'here' WHERE id = 1",
        "UPDATE subject SET netns = 4294967296 WHERE id = 1",
        "UPDATE usage_series SET resource = 'no_such' WHERE id = 1",
        "UPDATE usage_series SET limit_set_by = x'ff' WHERE id = 1",
        "UPDATE usage_series SET limit_set_by = CAST(x'ff' AS TEXT) WHERE id = 1",
        "UPDATE fact SET kind = 'rumour'",
        "UPDATE mark SET kind = 'dot'",
        "DELETE FROM frame WHERE seq = 7",
        "DELETE FROM frame WHERE seq = 9",
        "DELETE FROM signal_sample WHERE id = (7 << 20) + 1",
        "DELETE FROM run",
        "UPDATE run SET host = 'another'",
        "UPDATE run SET coverage = '{'",
        "UPDATE meta SET value = 'x' WHERE key = 'frames'",
        "INSERT INTO loss VALUES (7, 0, 'x', 1)",
        "ALTER TABLE frame RENAME TO old; CREATE VIEW frame AS SELECT * FROM old",
        "ALTER TABLE frame RENAME TO old; CREATE TABLE frame (seq, mono_ns, real_ns, checksum)",
        "PRAGMA user_version = -5",
    ] {
        let _ = fs::remove_file(&path);
        finished(&path, &written);
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA ignore_check_constraints = 1; PRAGMA writable_schema = 1").unwrap();
        match connection.execute_batch(edit) {
            Ok(()) => {}
            // The tables themselves refuse some.
            Err(error) if error.to_string().contains("NOT NULL") => continue,
            Err(error) => panic!("{edit}: {error}"),
        }
        drop(connection);
        assert!(!read_prefix(&path, &written), "nobody noticed: {edit}");
    }
}

#[test]
fn a_verdict_that_was_edited() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    finished(&path, &frames(1));
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute("INSERT INTO verdict VALUES (1, 'clear', NULL, NULL, '{}', 5)", ()).unwrap();
    drop(connection);
    let error = Reader::open(&path).unwrap().recorded_verdict().unwrap_err();
    assert!(error.to_string().contains("its verdict is not what was written"), "{error}");
}

//! A writer that is killed with `kill -9`, two hundred times, each time at another instant.

use std::{
    env, fs,
    fs::File,
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::tempdir;

use super::{
    super::{Reader, Writer},
    damage::numbers,
    frame, header,
};

/// Where the writer records, when this test is run again as the writer.
const RECORDS_TO: &str = "OBSERVER_TEST_RECORDS_TO";
/// Enough frames that SQLite moves the `-wal` into the file now and then.
const MOST_FRAMES: u64 = 240;

#[test]
fn a_writer_that_is_killed_loses_at_most_one_tick() {
    if let Some(path) = env::var_os(RECORDS_TO) {
        return record_until_killed(Path::new(&path));
    }
    let folder = tempdir().unwrap();
    let mut random = numbers(4);
    for round in 0..200 {
        let path = folder.path().join(format!("r{round}"));
        let begun = kill_after(&path, random.next().unwrap() % MOST_FRAMES, random.next().unwrap() % 1_000);
        let reader = Reader::open(&path).unwrap();
        let mut found = 0;
        for read in reader.frames() {
            assert_eq!(read.unwrap(), frame(found), "round {round}");
            found += 1;
        }
        // Told before it was written: the last one may be there or not.
        assert!((begun - 1..=begun).contains(&found), "round {round}: {found} of {begun} frames");
        assert!(!reader.is_finished().unwrap());
        drop(reader);
        for entry in fs::read_dir(folder.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

/// Where the writer tells how many frames it has begun to write: a byte for each.
fn progress(path: &Path) -> std::path::PathBuf {
    path.with_extension("progress")
}

fn record_until_killed(path: &Path) {
    let mut writer = Writer::create(path, &header()).unwrap();
    let mut told = File::create(progress(path)).unwrap();
    // It ends by itself if nobody is left to kill it.
    for seq in 0..50 * MOST_FRAMES {
        told.write_all(b".").unwrap();
        writer.frame(&frame(seq)).unwrap();
    }
}

/// Kills a writer that has begun so many frames, and then a little later; how many it had begun.
fn kill_after(path: &Path, frames: u64, microseconds: u64) -> u64 {
    let begun = || fs::metadata(progress(path)).map_or(0, |told| told.len());
    let mut child = writer(path);
    let deadline = Instant::now() + Duration::from_secs(60);
    while begun() <= frames {
        assert!(
            Instant::now() < deadline && child.try_wait().unwrap().is_none(),
            "the writer does not write"
        );
        sleep(Duration::from_micros(200));
    }
    sleep(Duration::from_micros(microseconds));
    child.kill().unwrap();
    child.wait().unwrap();
    begun()
}

/// This very test, as the writer.
fn writer(path: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "recording::tests::killed::a_writer_that_is_killed_loses_at_most_one_tick"])
        .env(RECORDS_TO, path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

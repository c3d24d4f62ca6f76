//! The recorder's thread never waits and never hides a loss.

use std::time::{Duration, Instant};

use tempfile::tempdir;

use crate::core::event::{Event, Judged, What};

use super::{
    super::{Reader, RecorderThread, Writer},
    frame, frames, header, read,
};

#[test]
fn what_it_is_given_is_in_the_recording() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    let mut recorder = RecorderThread::spawn(Writer::create(&path, &header()).unwrap()).unwrap();
    frames(50).into_iter().for_each(|frame| recorder.frame(frame));
    assert_eq!(recorder.trouble(), None);
    let recorded = recorder.finish(None);
    assert_eq!((recorded.frames, recorded.frames_lost), (50, 0));
    assert_eq!(recorded.complaint(), None);
    assert_eq!(read(&path).unwrap(), frames(50));
}

#[test]
fn what_was_made_of_a_frame_is_beside_it_and_is_not_read_back() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    let mut recorder = RecorderThread::spawn(Writer::create(&path, &header()).unwrap()).unwrap();
    let loss = What::Loss { reason: "ring_full".into(), count: 3 };
    for frame in frames(3) {
        let events = vec![Event { at_ns: frame.mono_ns, what: loss.clone() }];
        let judged = Judged { seq: frame.seq, mono_ns: frame.mono_ns, events, verdict: None };
        recorder.frame(frame);
        recorder.judged(judged);
    }
    let recorded = recorder.finish(None);
    assert_eq!((recorded.frames, recorded.frames_lost), (3, 0));
    assert_eq!(read(&path).unwrap(), frames(3));
    let connection = rusqlite::Connection::open(&path).unwrap();
    let events = "SELECT count(*), sum(count) FROM event WHERE kind = 'loss' AND name = 'ring_full'";
    let found: (u32, u32) = connection.query_row(events, (), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(found, (3, 9));
}

#[test]
fn a_full_queue_loses_frames_and_says_so() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    let writer = Writer::create(&path, &header()).unwrap();
    // Another program holds the disk's attention: the first frame waits for it.
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut recorder = RecorderThread::with_queue(writer, 4).unwrap();
    frames(20).into_iter().for_each(|frame| recorder.frame(frame));
    let lost = recorder.lost();
    assert!((15..=16).contains(&lost), "{lost}");
    assert_eq!(recorder.trouble(), Some("frames are lost: the disk is too slow"));
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);
    let recorded = recorder.finish(None);
    assert_eq!((recorded.frames, recorded.frames_lost), (20 - lost, lost));
    let complaint = recorded.complaint().unwrap();
    assert!(
        complaint.contains(&format!("{lost} of 20 frames are not recorded: the disk was too slow")),
        "{complaint}"
    );
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.frames_lost().unwrap(), lost);
    assert_eq!(reader.frames().count() as u64, 20 - lost);
}

#[test]
fn a_disk_that_fails_ends_the_recording_and_not_the_run() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    let writer = Writer::create(&path, &header()).unwrap();
    writer.limit_pages(30);
    let mut recorder = RecorderThread::spawn(writer).unwrap();
    frames(500).into_iter().for_each(|frame| recorder.frame(frame));
    let deadline = Instant::now() + Duration::from_secs(30);
    while recorder.trouble().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(recorder.trouble().unwrap().contains("the disk is full"), "said while the run goes on");
    let recorded = recorder.finish(None);
    assert!(recorded.frames > 0 && recorded.frames_lost > 0);
    assert_eq!(recorded.frames + recorded.frames_lost, 500);
    let complaint = recorded.complaint().unwrap();
    assert!(
        complaint.contains("of 500 frames are not recorded") && complaint.contains("the disk is full"),
        "{complaint}"
    );
    assert_eq!(read(&path).unwrap(), frames(recorded.frames));
}

#[test]
fn a_frame_that_cannot_be_recorded_costs_only_itself() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    let mut recorder = RecorderThread::spawn(Writer::create(&path, &header()).unwrap()).unwrap();
    let mut odd = frame(1);
    odd.real_ns = u64::MAX;
    for frame in [frame(0), odd, frame(2)] {
        recorder.frame(frame);
    }
    let recorded = recorder.finish(None);
    assert_eq!((recorded.frames, recorded.frames_lost), (2, 1));
    assert!(recorded.complaint().unwrap().contains("real_ns is 18446744073709551615"));
    assert_eq!(read(&path).unwrap(), [frame(0), frame(2)]);
}

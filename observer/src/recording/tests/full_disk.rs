//! A disk that is really full: a small file system of its own, seen by one thread only.

use std::path::Path;

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};
use tempfile::tempdir;

use super::{
    super::{RecorderThread, RecordingError, Writer},
    frame, frames, header, read,
};

/// Does something in a folder on a disk of `bytes`. Says so and does nothing where one may not mount.
pub(super) fn on_a_small_disk(test: &str, bytes: usize, work: impl FnOnce(&Path) + Send) {
    let folder = tempdir().unwrap();
    let mounted = || -> nix::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let nothing = None::<&str>;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
        let size = format!("size={bytes}");
        mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))
    };
    std::thread::scope(|scope| {
        let done = scope.spawn(|| match mounted() {
            Ok(()) => work(folder.path()),
            Err(error) => eprintln!("skipped: {test}: no disk of its own here ({error})"),
        });
        done.join().unwrap();
    });
}

#[test]
fn the_run_goes_on_and_what_was_recorded_is_intact() {
    on_a_small_disk("the_run_goes_on_and_what_was_recorded_is_intact", 1 << 20, |folder| {
        let path = folder.join("r");
        let mut recorder = RecorderThread::spawn(Writer::create(&path, &header()).unwrap()).unwrap();
        // Frames arrive as before; each of them is recorded or counted as lost.
        frames(3_000).into_iter().for_each(|frame| {
            recorder.frame(frame);
            std::thread::yield_now();
        });
        let recorded = recorder.finish(None);
        assert!(recorded.frames > 0, "nothing was recorded before the disk was full");
        assert_eq!(recorded.frames + recorded.frames_lost, 3_000);
        let complaint = recorded.complaint().unwrap();
        assert!(
            complaint.contains("frames are not recorded: ") && complaint.contains("the disk is full"),
            "{complaint}"
        );
        // Read where it is, on a disk that is still full.
        let left = read(&path).unwrap();
        assert_eq!(left.len() as u64, recorded.frames);
    });
}

#[test]
fn room_that_is_made_in_time_is_used() {
    on_a_small_disk("room_that_is_made_in_time_is_used", 1 << 20, |folder| {
        let (path, other) = (folder.join("r"), folder.join("other"));
        let mut writer = Writer::create(&path, &header()).unwrap();
        std::fs::write(&other, vec![0; 512 << 10]).unwrap();
        let mut written = Vec::new();
        let error = loop {
            let next = frame(written.len() as u64);
            match writer.frame(&next) {
                Ok(()) => written.push(next),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, RecordingError::DiskFull { .. }), "{error}");
        std::fs::remove_file(&other).unwrap();
        let next = frame(written.len() as u64);
        writer.frame(&next).unwrap();
        written.push(next);
        writer.finish().unwrap();
        assert_eq!(read(&path).unwrap(), written);
    });
}

#[test]
fn a_disk_with_no_room_at_all_is_named_and_nothing_is_left_on_it() {
    on_a_small_disk("a_disk_with_no_room_at_all_is_named_and_nothing_is_left_on_it", 16 << 10, |folder| {
        let error = Writer::create(&folder.join("r"), &header()).unwrap_err();
        assert!(matches!(error, RecordingError::DiskFull { .. }), "{error}");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    });
}

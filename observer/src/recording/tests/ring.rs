//! What a ring holds, and what becomes of it when it is saved.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use super::{
    super::{Reader, RecordingError, Ring, RingOptions, RingStatus},
    frame, frames,
    full_disk::on_a_small_disk,
    header, read, strategy,
};
use crate::core::{
    engine::Engine,
    frame::{Frame, Mark, RunHeader},
    keyframe::Known,
    verdict::Verdict,
};

/// Each frame is handed over at once.
pub(super) fn options(folder: &Path, keep: Duration) -> RingOptions {
    RingOptions { folder: folder.to_owned(), together: 1, ..RingOptions::keeping(keep) }
}

const LONG: Duration = Duration::from_secs(3_600);

/// A ring in a folder of its own that was given these frames.
fn ring_of(frames: &[Frame], keep: Duration) -> (TempDir, Ring) {
    let folder = tempdir().unwrap();
    let mut ring = Ring::create(&header(), options(folder.path(), keep)).unwrap();
    give(&mut ring, frames);
    (folder, ring)
}

/// Hands frames over no faster than the disk takes them.
fn give(ring: &mut Ring, frames: &[Frame]) {
    for chunk in frames.chunks(100) {
        chunk.iter().cloned().for_each(|frame| ring.frame(frame));
        let last_ns = chunk.last().unwrap().mono_ns;
        wait_until(|| {
            ring.trouble().is_some() || ring.status().held_ns.is_some_and(|(_, to_ns)| to_ns >= last_ns)
        });
    }
}

fn wait_until(done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "it never comes");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn golden() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let mut found: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().join("run.observer")).collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

fn content(path: &Path) -> (RunHeader, Vec<Frame>) {
    let reader = Reader::open(path).unwrap();
    let frames = reader.frames().collect::<Result<_, _>>().unwrap();
    (reader.header().clone(), frames)
}

fn judge<'a>(header: &RunHeader, frames: impl IntoIterator<Item = &'a Frame>) -> Verdict {
    let mut engine = Engine::new(header.clone());
    frames.into_iter().for_each(|frame| drop(engine.step(frame)));
    engine.verdict(None)
}

#[test]
fn a_golden_run_that_was_kept_whole_is_saved_as_it_was() {
    for path in golden() {
        let (header, frames) = content(&path);
        let folder = tempdir().unwrap();
        let mut ring = Ring::create(&header, options(folder.path(), LONG)).unwrap();
        give(&mut ring, &frames);
        let verdict = judge(&header, &frames);
        let to = folder.path().join("saved");
        let saved = ring.save(&to, Some(verdict.clone())).wait().unwrap();
        assert_eq!((saved.frames, saved.frames_lost), (frames.len() as u64, 0));
        assert_eq!(content(&to), (header.clone(), frames.clone()), "{}", path.display());
        let reader = Reader::open(&to).unwrap();
        assert!(reader.is_finished().unwrap());
        assert_eq!(reader.recorded_verdict().unwrap().as_ref(), Some(&verdict));
        assert_eq!(judge(&header, &content(&to).1), verdict);
        assert_eq!(rows(&to, "phase"), verdict.phases.len() as u32);
    }
}

fn rows(recording: &Path, of: &str) -> u32 {
    let connection = rusqlite::Connection::open(recording).unwrap();
    connection.query_row(&format!("SELECT count(*) FROM {of}"), (), |row| row.get(0)).unwrap()
}

#[test]
fn of_a_longer_golden_run_the_end_is_saved_and_begins_with_a_keyframe() {
    let keep = Duration::from_millis(1_500);
    for path in golden() {
        let (header, frames) = content(&path);
        let folder = tempdir().unwrap();
        let mut ring = Ring::create(&header, options(folder.path(), keep)).unwrap();
        give(&mut ring, &frames);
        let to = folder.path().join("saved");
        let saved = ring.save(&to, None).wait().unwrap();
        let held = Duration::from_nanos(saved.to_ns - saved.from_ns);
        assert!(keep <= held && held <= keep * 2, "{held:?} of {}", path.display());
        assert_eq!(ring.status().held(), held);
        assert_eq!((saved.to_ns, saved.frames_lost), (frames.last().unwrap().mono_ns, 0));

        let (_, kept) = content(&to);
        let opening = kept.iter().take_while(|frame| frame.mono_ns == saved.from_ns).count();
        let rest: Vec<&Frame> = frames.iter().filter(|frame| frame.mono_ns > saved.from_ns).collect();
        assert_eq!(kept[opening..].iter().collect::<Vec<_>>(), rest);
        let under_way = |frames: &[Frame], from_ns: u64| {
            let mut marks = frames.iter().filter(|frame| frame.mono_ns <= from_ns).flat_map(|f| &f.marks);
            let started = marks.clone().any(|mark| matches!(mark, Mark::CommandStarted { .. }));
            started && !marks.any(|mark| matches!(mark, Mark::CommandEnded { .. }))
        };
        assert_eq!(under_way(&kept, saved.from_ns), under_way(&frames, saved.from_ns));
        judge(&header, &kept);
    }
}

/// What breaks after the keyframe is found as it was: it lacks the baseline before, and nothing else.
#[test]
fn a_recording_that_begins_before_the_episode_gives_the_verdict_on_it() {
    for path in golden() {
        let (header, frames) = content(&path);
        let mut known = Known::default();
        frames[..15].iter().for_each(|frame| known.enter(frame));
        let opening = known.opening();
        let later = judge(&header, opening.iter().chain(&frames[15..]));
        let full = judge(&header, &frames);
        let found = |verdict: &Verdict| {
            let of = |hits: &[crate::core::verdict::Hit]| -> Vec<_> {
                hits.iter().map(|hit| (hit.fault_line.clone(), hit.subject.clone(), hit.onset_hi_s)).collect()
            };
            (verdict.outcome, of(&verdict.hits), of(&verdict.elsewhere), verdict.chain.len())
        };
        assert_eq!(found(&later), found(&full), "{}", path.display());
    }
}

#[test]
fn frames_that_are_written_together_are_saved_as_they_were() {
    let folder = tempdir().unwrap();
    let options = RingOptions { together: 7, ..options(folder.path(), LONG) };
    let mut ring = Ring::create(&header(), options).unwrap();
    let mut given = frames(100);
    // One that cannot be recorded costs none of those beside it.
    given[30].real_ns = u64::MAX;
    let to = folder.path().join("saved");
    given.iter().cloned().for_each(|frame| ring.frame(frame));
    let saved = ring.save(&to, None).wait().unwrap();
    given.remove(30);
    assert_eq!((saved.frames, saved.frames_lost), (99, 1));
    assert_eq!(read(&to).unwrap(), given);
}

#[test]
fn it_goes_on_while_it_is_saved() {
    let (folder, mut ring) = ring_of(&frames(300), Duration::from_secs(20));
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let saving = ring.save(&first, None);
    // The segment that is being read is ended and deleted meanwhile.
    let more: Vec<Frame> = (300..1_000).map(frame).collect();
    give(&mut ring, &more);
    let again = ring.save(&second, None);
    assert_eq!(saving.path(), first);
    let last = |path: &Path| read(path).unwrap().pop().unwrap();
    assert_eq!(saving.wait().unwrap().to_ns, frame(299).mono_ns);
    assert_eq!(last(&first), frame(299));
    again.wait().unwrap();
    assert_eq!(last(&second), frame(999));
    let saving = ring.save(&folder.path().join("third"), None);
    drop(ring);
    assert!(saving.poll().unwrap().is_ok(), "what was begun is ended");
}

#[test]
fn it_takes_no_more_room_than_it_may() {
    let folder = tempdir().unwrap();
    let most = 1 << 20;
    let options = RingOptions { max_bytes: most, ..options(folder.path(), LONG) };
    let mut ring = Ring::create(&header(), options).unwrap();
    for chunk in frames(6_000).chunks(200) {
        give(&mut ring, chunk);
        let bytes = ring.status().bytes;
        // The -wal beside the current segment is written back into it now and then.
        assert!(bytes <= most + most / 8, "{bytes}");
    }
    let status = ring.status();
    assert!(status.is_shortened && status.held() < LONG && status.trouble.is_none());
    let text = status.to_string();
    assert!(text.ends_with(" of 1h are kept: more would be larger than 1 MB"), "{text}");
    let to = folder.path().join("saved");
    ring.save(&to, None).wait().unwrap();
    assert_eq!(read(&to).unwrap().pop(), Some(frame(5_999)));
}

#[test]
fn a_bound_that_leaves_no_room_is_still_a_ring() {
    let folder = tempdir().unwrap();
    let options = RingOptions { max_bytes: 0, ..options(folder.path(), Duration::ZERO) };
    let mut ring = Ring::create(&header(), options).unwrap();
    give(&mut ring, &frames(20));
    let to = folder.path().join("saved");
    ring.save(&to, None).wait().unwrap();
    assert_eq!(read(&to).unwrap().pop(), Some(frame(19)));
}

#[test]
fn a_place_where_nothing_can_be_saved_is_named_and_left_as_it_was() {
    let (folder, mut ring) = ring_of(&frames(20), LONG);
    let to = folder.path().join("saved");
    ring.save(&to, None).wait().unwrap();
    let before = fs::read(&to).unwrap();
    let again = ring.save(&to, None).wait().unwrap_err();
    assert!(matches!(again, RecordingError::AlreadyRecorded { .. }), "{again}");
    assert_eq!(fs::read(&to).unwrap(), before);
    let nowhere = ring.save(&folder.path().join("no/folder"), None).wait().unwrap_err();
    assert!(nowhere.to_string().ends_with("make its folder first"), "{nowhere}");
    // An empty file is taken as new.
    let empty = folder.path().join("empty");
    fs::write(&empty, "").unwrap();
    assert_eq!(ring.save(&empty, None).wait().unwrap().frames, 20);
    assert_eq!(ring.trouble(), None);
}

#[test]
fn before_the_first_frame_there_is_nothing_to_save() {
    let (folder, mut ring) = ring_of(&[], LONG);
    let to = folder.path().join("saved");
    assert!(matches!(ring.save(&to, None).wait(), Err(RecordingError::NothingKept { .. })));
    assert!(!to.exists());
}

#[test]
fn a_frame_that_cannot_be_recorded_costs_only_itself() {
    let mut odd = frame(1);
    odd.real_ns = u64::MAX;
    let (folder, mut ring) = ring_of(&[frame(0), odd, frame(2)], LONG);
    wait_until(|| ring.status().held_ns.is_some_and(|(_, to_ns)| to_ns >= frame(2).mono_ns));
    let to = folder.path().join("saved");
    let saved = ring.save(&to, None).wait().unwrap();
    assert_eq!((saved.frames, saved.frames_lost), (2, 1));
    assert_eq!(read(&to).unwrap(), [frame(0), frame(2)]);
    assert_eq!(Reader::open(&to).unwrap().frames_lost().unwrap(), 1);
    assert!(ring.trouble().unwrap().contains("real_ns"));
}

#[test]
fn a_disk_that_is_too_slow_loses_frames_and_never_holds_up_a_tick() {
    let folder = tempdir().unwrap();
    let mut ring = Ring::create(&header(), options(folder.path(), LONG)).unwrap();
    give(&mut ring, &[frame(0)]);
    // Another program holds the disk's attention: the next frame waits for it.
    let own = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let other = rusqlite::Connection::open(own.join("segment-0")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let frames = frames(800);
    let begun = Instant::now();
    frames[1..].iter().cloned().for_each(|frame| ring.frame(frame));
    let refused = ring.save(&folder.path().join("saved"), None).wait().unwrap_err().to_string();
    assert!(begun.elapsed() < Duration::from_secs(4), "it waited for the disk: {:?}", begun.elapsed());
    assert!(refused.contains("try again"), "{refused}");
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);
    let lost = ring.status().frames_lost;
    assert!((798 - 600..=799 - 600).contains(&lost), "{lost}");
    assert_eq!(ring.trouble().unwrap(), "frames are lost: the disk is too slow");
    let kept_ns = frames[799 - lost as usize].mono_ns;
    wait_until(|| ring.status().held_ns.is_some_and(|(_, to_ns)| to_ns >= kept_ns));
    give(&mut ring, &[frame(800)]);
    wait_until(|| ring.status().held_ns.is_some_and(|(_, to_ns)| to_ns >= frame(800).mono_ns));
    let saved = ring.save(&folder.path().join("saved"), None).wait().unwrap();
    assert_eq!((saved.frames, saved.frames_lost), (801 - lost, lost));
}

/// Frames that are still waiting are dropped in a moment; until then a ring asks for patience.
fn save_when_asked_again(ring: &mut Ring, to: &Path) -> crate::recording::Saved {
    loop {
        match ring.save(to, None).wait() {
            Err(error) if error.to_string().contains("try again") => std::thread::yield_now(),
            saved => return saved.unwrap(),
        }
    }
}

#[test]
fn a_disk_that_is_full_stops_the_ring_and_nothing_else() {
    let elsewhere = tempdir().unwrap();
    on_a_small_disk("a_disk_that_is_full_stops_the_ring_and_nothing_else", 1 << 20, |folder| {
        let mut ring = Ring::create(&header(), options(folder, LONG)).unwrap();
        for seq in 0..5_000 {
            ring.frame(frame(seq));
            std::thread::yield_now();
        }
        wait_until(|| !ring.status().goes_on);
        let trouble = ring.trouble().unwrap();
        assert!(trouble.contains("the disk is full"), "{trouble}");
        let to = elsewhere.path().join("saved");
        let saved = save_when_asked_again(&mut ring, &to);
        assert!(saved.frames > 0 && saved.frames < 5_000);
        assert_eq!(read(&to).unwrap().len() as u64, saved.frames);
        assert_eq!(ring.trouble(), Some(trouble), "the same words while it lasts");
        drop(ring);
        assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
    });
}

/// Hands over one frame after the other, each when the one before was kept or missed.
fn give_slowly(ring: &mut Ring, frames: &[Frame]) {
    for frame in frames {
        let lost = ring.status().frames_lost;
        ring.frame(frame.clone());
        let is_kept = |status: &RingStatus| status.held_ns.is_some_and(|(_, to_ns)| to_ns >= frame.mono_ns);
        wait_until(|| {
            let status = ring.status();
            is_kept(&status) || status.frames_lost > lost
        });
    }
}

#[test]
fn a_disk_that_has_room_again_is_used_again() {
    let elsewhere = tempdir().unwrap();
    on_a_small_disk("a_disk_that_has_room_again_is_used_again", 16 << 20, |folder| {
        let mut ring = Ring::create(&header(), options(folder, LONG)).unwrap();
        let given: Vec<Frame> = (0..600).map(frame).collect();
        give_slowly(&mut ring, &given[..100]);
        // Other programs take all that is left.
        let taken = folder.join("taken");
        let mut other = fs::File::create(&taken).unwrap();
        while std::io::Write::write(&mut other, &[0; 4_096]).is_ok_and(|written| written > 0) {}
        give_slowly(&mut ring, &given[100..400]);
        let status = ring.status();
        assert!(!status.goes_on && status.trouble.unwrap().contains("the disk is full"));
        drop(other);
        fs::remove_file(&taken).unwrap();
        give_slowly(&mut ring, &given[400..]);
        let status = ring.status();
        assert_eq!((status.goes_on, status.trouble), (true, None), "all is well again");
        let to = elsewhere.path().join("saved");
        let saved = ring.save(&to, None).wait().unwrap();
        assert_eq!(saved.frames + saved.frames_lost, 600);
        // Two frames of the opening are in the place of two that were missed.
        assert!((saved.frames_lost..=saved.frames_lost + 2).contains(&status.frames_lost));
        let kept = read(&to).unwrap();
        assert_eq!((&kept[0], kept.last()), (&given[0], given.last()));
        assert!(kept.is_sorted_by_key(|frame| frame.seq));
        // What comes after the gap does not need what came before it.
        let gap = kept.windows(2).position(|pair| pair[0].seq + 1 < pair[1].seq).unwrap();
        let mut known = Known::default();
        given.iter().take_while(|it| it.seq <= kept[gap + 1].seq).for_each(|frame| known.enter(frame));
        assert_eq!(kept[gap + 1], known.opening()[0]);
    });
}

#[test]
fn nothing_is_left_on_a_disk_that_is_too_small_for_what_is_saved() {
    on_a_small_disk("nothing_is_left_on_a_disk_that_is_too_small_for_what_is_saved", 512 << 10, |small| {
        // Only threads that are begun here see that disk, the saver among them.
        let kept = tempdir().unwrap();
        let mut ring = Ring::create(&header(), options(kept.path(), LONG)).unwrap();
        give(&mut ring, &frames(3_000));
        let error = ring.save(&small.join("saved"), None).wait().unwrap_err();
        assert!(matches!(error, RecordingError::DiskFull { .. }), "{error}");
        assert_eq!(fs::read_dir(small).unwrap().count(), 0);
        assert_eq!(ring.trouble(), None);
        assert!(ring.save(&kept.path().join("saved"), None).wait().is_ok());
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_frames_come_what_is_saved_ends_with_them(frames in strategy::frames(), keep_ns in 0..20_u64, together in 1..5_usize) {
        prop_assume!(!frames.is_empty());
        let folder = tempdir().unwrap();
        let keep = Duration::from_nanos(keep_ns);
        let options = RingOptions { together, ..options(folder.path(), keep) };
        let mut ring = Ring::create(&header(), options).unwrap();
        frames.iter().cloned().for_each(|frame| ring.frame(frame));
        let to = folder.path().join("saved");
        ring.save(&to, None).wait().unwrap();
        prop_assert_eq!(ring.trouble(), None);
        let kept = read(&to).unwrap();
        prop_assert_eq!(kept.last(), frames.last());
    }
}

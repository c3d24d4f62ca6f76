//! What is written is what is read.

use proptest::prelude::*;
use tempfile::tempdir;

use super::{super::*, frame, frames, header, strategy};
use crate::core::{
    frame::Frame,
    verdict::{Outcome, Verdict},
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_frame_is_read_back_equal(header in strategy::header(), frames in strategy::frames()) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("r");
        let mut writer = Writer::create(&path, &header).unwrap();
        for frame in &frames {
            writer.frame(frame).unwrap();
        }
        // While it is being written, and when it is finished.
        for is_finished in [false, true] {
            let reader = Reader::open(&path).unwrap();
            prop_assert_eq!(reader.header(), &header);
            prop_assert_eq!(reader.frames().collect::<Result<Vec<_>, _>>().unwrap(), frames.clone());
            prop_assert_eq!(reader.is_finished().unwrap(), is_finished);
            drop(reader);
            if !is_finished {
                writer.finish().unwrap();
                writer = Writer::create(&folder.path().join("another"), &header).unwrap();
            }
        }
    }
}

#[test]
fn frames_can_be_walked_twice() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    super::finished(&path, &frames(3));
    let reader = Reader::open(&path).unwrap();
    assert_eq!(reader.frames().count(), 3);
    assert_eq!(reader.frames().filter_map(Result::ok).collect::<Vec<_>>(), frames(3));
}

#[test]
fn a_number_that_does_not_fit_is_refused_and_the_next_frame_is_not() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    let mut writer = Writer::create(&path, &header()).unwrap();
    let mut too_much = frame(0);
    too_much.usages[1].limit = Some(u64::MAX);
    let error = writer.frame(&too_much).unwrap_err();
    assert!(error.is_of_one_frame());
    let text = error.to_string();
    assert!(text.contains("frame 0 cannot be recorded: limit is 18446744073709551615"), "{text}");
    // The subjects of the refused frame were rolled back with it.
    writer.frame(&frame(0)).unwrap();
    writer.frame(&frame(1)).unwrap();
    writer.finish().unwrap();
    assert_eq!(super::read(&path).unwrap(), frames(2));
}

#[test]
fn a_flow_label_that_text_cannot_hold_is_refused() {
    let folder = tempdir().unwrap();
    let mut writer = Writer::create(&folder.path().join("r"), &header()).unwrap();
    let mut labelled = frame(1);
    labelled.usages[0].subject.listener =
        Some(std::net::SocketAddrV6::new(std::net::Ipv6Addr::LOCALHOST, 80, 5, 0).into());
    assert!(writer.frame(&labelled).unwrap_err().to_string().contains("flow label 5"));
}

#[test]
fn frames_come_in_order() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    let mut writer = Writer::create(&path, &header()).unwrap();
    writer.frame(&frame(3)).unwrap();
    for seq in [3, 2] {
        let error = writer.frame(&Frame { seq, ..Frame::default() }).unwrap_err();
        assert!(matches!(error, RecordingError::OutOfOrder { after: 3, .. }), "{error}");
    }
    writer.finish().unwrap();
    assert_eq!(super::read(&path).unwrap(), [frame(3)]);
}

#[test]
fn a_verdict_is_read_back_and_a_later_one_replaces_it() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("r");
    let mut writer = Writer::create(&path, &header()).unwrap();
    let mut given: Verdict = serde_json::from_value(serde_json::json!({
        "schema": "observer.verdict/1", "observer_version": "0.1.0", "outcome": "inconclusive",
        "run": {
            "id": "1", "started": "", "ended": "", "host": "", "kernel": "", "command": null, "exit_status": null,
            "clock": {"mono_ns": 1, "real_ns": 2}, "pre_roll_s": 2.1, "limits": [],
        },
        "coverage": {
            "signals": [], "events_seen": 0, "events_lost": {}, "ticks_late": 0,
            "observer": {"cpu_seconds": 0.3, "peak_rss_bytes": 5},
        },
        "phases": [], "first": null, "co_first": [], "hits": [], "elsewhere": [], "pre_existing": [], "chain": [],
        "ruled_out": [], "not_measurable": [], "headroom": [], "latency": [],
    }))
    .unwrap();
    writer.verdict(&given).unwrap();
    given.outcome = Outcome::Clear;
    writer.verdict(&given).unwrap();
    writer.finish().unwrap();
    assert_eq!(Reader::open(&path).unwrap().recorded_verdict().unwrap(), Some(given));
    let connection = rusqlite::Connection::open(&path).unwrap();
    let outcome: String = connection.query_row("SELECT outcome FROM verdict", (), |row| row.get(0)).unwrap();
    assert_eq!(outcome, "clear");
}

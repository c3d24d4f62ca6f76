//! How `observer serve` ends: whoever has asked is answered, nobody else keeps it, and the recording is whole.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::Command,
};

use crate::served::{Served, answer};

/// A request that the server answers already, except that it waits for the one byte of its body.
fn under_way(served: &Served, path: &str) -> TcpStream {
    let head =
        format!("GET {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: 1\r\nExpect: 100-continue");
    let mut stream = served.send(&head, "");
    let expected = "HTTP/1.1 100 Continue\r\n\r\n";
    let mut first = vec![0; expected.len()];
    stream.read_exact(&mut first).expect("an answer");
    assert_eq!(String::from_utf8_lossy(&first), expected);
    stream
}

/// A connection on which everything that was asked has been answered.
fn idle(served: &Served) -> TcpStream {
    let stream = served.send("GET /healthz HTTP/1.1", "");
    let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "ok"));
    stream
}

/// Someone who follows the events; returns when the answer has begun.
fn follower(served: &Served) -> BufReader<TcpStream> {
    let mut stream = BufReader::new(served.send("GET /api/v1/events HTTP/1.1", ""));
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(stream.read_line(&mut line).expect("a head") > 0, "it was closed");
    }
    stream
}

/// What `observer report` makes of a recording, which has to be without a complaint.
fn report(recording: &Path) -> serde_json::Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_observer"));
    let output = command.arg("report").arg(recording).args(["--format", "json"]).output().expect("observer");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.is_empty(), "{complaint}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn told_to_end_it_answers_who_has_asked_and_closes_the_recording() {
    let folder = tempfile::tempdir().expect("a folder");
    let recording = folder.path().join("run.observer");
    let served = Served::start(&["--record", recording.to_str().expect("a path")]);
    served.wait_for("an episode", |served| served.get("/readyz").0 == 200);
    let (mut idle, mut follower) = (idle(&served), follower(&served));
    let (mut scrape, mut frame) = (under_way(&served, "/metrics"), under_way(&served, "/api/v1/frame"));

    served.tell_to_end();
    served.wait_for("the end of listening", |served| TcpStream::connect(&served.address).is_err());
    for stream in [&mut scrape, &mut frame] {
        stream.write_all(b"x").expect("the rest of a request");
    }
    let (status, metrics) = answer(&mut scrape);
    assert!(status == 200 && metrics.contains("observer_build_info"), "{status}: {metrics}");
    // There is nobody left to ask for it, which is said at once.
    let (status, words) = answer(&mut frame);
    assert_eq!((status, words.as_str()), (503, "the observation is ending\n"));
    assert_eq!(idle.read(&mut [0]).expect("an end"), 0);
    let mut events = String::new();
    follower.read_to_string(&mut events).expect("events");
    assert!(events.ends_with("\r\n0\r\n\r\n"), "the events broke off: {events}");

    let (words, status) = served.ended();
    assert_eq!(status, Some(0), "{words}");
    let verdict = report(&recording);
    let text = |field: &str| verdict["run"][field].as_str().expect(field).to_owned();
    assert!(text("ended") > text("started"), "{verdict}");
    // What observing cost is known to a recording that was closed, and to no other.
    assert!(verdict["coverage"]["observer"]["cpu_seconds"].as_f64() > Some(0.0), "{verdict}");
}

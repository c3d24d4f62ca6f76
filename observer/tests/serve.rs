//! `observer serve` as a new user meets it: what it says, what it answers, and how it ends.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// An observer that serves, ended with the test.
struct Served {
    child: Child,
    said: BufReader<ChildStderr>,
    address: String,
}

impl Served {
    fn start(more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_observer"))
            .args(["serve", "--listen", "127.0.0.1:0", "--keep", "0s"])
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .expect("observer");
        let mut said = BufReader::new(child.stderr.take().expect("its stderr"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(said.read_line(&mut line).expect("its words") > 0, "it ended");
            if let Some((_, address)) = line.trim().split_once("listening on http://") {
                break address.to_owned();
            }
        };
        Self { child, said, address }
    }

    /// The status and the body of an answer.
    fn ask(&self, request: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        let length = body.len();
        let head = format!("{request} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        write!(stream, "{head}Content-Length: {length}\r\n\r\n{body}").expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split_ascii_whitespace().nth(1).and_then(|status| status.parse().ok());
        (status.expect("a status"), body.to_owned())
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path}"), "")
    }

    fn wait_for(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what} did not come");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it as an init system does; its last words and its exit status.
    fn end(mut self) -> (String, Option<i32>) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).expect("a signal");
        let mut words = String::new();
        self.said.read_to_string(&mut words).expect("its words");
        (words, self.child.wait().expect("its end").code())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_there(metrics: &str, series: &str) -> bool {
    metrics.lines().any(|line| line == series)
}

#[test]
fn it_answers_what_the_documents_promise_and_ends_in_order() {
    let served = Served::start(&[]);
    served.wait_for("an episode", |served| served.get("/readyz").0 == 200);
    assert_eq!(served.get("/healthz"), (200, "ok\n".to_owned()));

    let (status, verdict) = served.get("/api/v1/verdict");
    let verdict: serde_json::Value = serde_json::from_str(&verdict).expect("JSON");
    assert_eq!((status, &verdict["schema"]), (200, &"observer.verdict/1".into()));
    let (status, frame) = served.get("/api/v1/frame");
    let frame: serde_json::Value = serde_json::from_str(&frame).expect("JSON");
    assert_eq!((status, &frame["schema"]), (200, &"observer.frame/1".into()));
    assert!(frame["usages"].as_array().is_some_and(|usages| !usages.is_empty()), "{frame}");
    let (status, page) = served.get("/");
    assert!(status == 200 && page.contains("/metrics"), "{page}");

    let (_, metrics) = served.get("/metrics");
    let text = include_str!("../../docs/metrics.md");
    let told = text.lines().filter(|line| line.starts_with("| `observer_")).flat_map(|line| line.split('`'));
    for name in told.filter(|word| word.starts_with("observer_")) {
        let name = name.split('{').next().unwrap_or_default();
        // Without a fault, and before a loss, there is nothing to tell.
        let may_lack = ["observer_fault_line_onset_timestamp_seconds", "observer_events_lost_total"];
        let help = format!("# HELP {name} ");
        assert!(may_lack.contains(&name) || metrics.contains(&help), "docs/metrics.md promises {name}");
    }
    assert!(metrics.lines().filter(|line| !line.starts_with('#')).count() <= 500);

    let (words, status) = served.end();
    assert_eq!(status, Some(0), "{words}");
}

#[test]
fn a_phase_begins_over_http_and_is_told() {
    let served = Served::start(&[]);
    served.wait_for("an episode", |served| served.get("/readyz").0 == 200);
    assert_eq!(served.ask("POST /api/v1/phase", "{\"name\": \"a b\"}").0, 400);
    assert_eq!(served.ask("POST /api/v1/phase", "name=soak").0, 400);
    assert_eq!(served.ask("POST /api/v1/phase", "{\"name\": \"soak\"}").0, 202);
    served.wait_for("the phase", |served| {
        is_there(&served.get("/metrics").1, "observer_phase{phase=\"soak\"} 1")
    });

    let mut events = TcpStream::connect(&served.address).expect("a connection");
    write!(events, "GET /api/v1/events HTTP/1.1\r\nHost: {}\r\n\r\n", served.address).expect("a request");
    let phase = BufReader::new(events).lines().map_while(Result::ok).find(|line| line.contains("\"phase\":"));
    assert!(phase.is_some_and(|line| line.contains("\"soak\"")));
}

#[test]
fn what_cannot_be_served_is_said_before_anything_is_observed() {
    let served = Served::start(&[]);
    let serve = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_observer")).arg("serve").args(args).output();
        let output = output.expect("observer");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, words) = serve(&["--listen", &served.address, "--keep", "0s"]);
    assert!(status == Some(1) && words.contains(&served.address), "{words}");
    let (status, words) = serve(&["--web.config.file", "/no/such/file.yml", "--keep", "0s"]);
    assert!(status == Some(1) && words.contains("/no/such/file.yml"), "{words}");
    let (status, words) = serve(&["--listen", "nowhere"]);
    assert!(status == Some(2) && words.contains("names no port"), "{words}");
}

#[test]
fn what_is_ready_to_use_asks_for_metrics_that_there_are() {
    let told = include_str!("../../docs/metrics.md");
    for (file, text) in [
        ("observer.rules.yml", include_str!("../../docs/deploy/prometheus/observer.rules.yml")),
        ("observer.test.yml", include_str!("../../docs/deploy/prometheus/observer.test.yml")),
        ("observer.json", include_str!("../../docs/deploy/grafana/observer.json")),
    ] {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
        let names: Vec<&str> = words.filter(|word| word.starts_with("observer_")).collect();
        assert!(!names.is_empty(), "{file} asks for nothing");
        for name in names {
            let is_told = ["`", "{"].iter().any(|end| told.contains(&format!("`{name}{end}")));
            assert!(is_told, "{file} asks for {name}");
        }
    }
}

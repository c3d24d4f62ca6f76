//! `observer serve` as a new user meets it: what it says, what it answers, and how it ends.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "serve/besieged.rs"]
mod besieged;
#[path = "serve/ending.rs"]
mod ending;
#[path = "serve/served.rs"]
mod served;
#[path = "serve/siege.rs"]
mod siege;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    process::Command,
};

use served::Served;

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

    served.tell_to_end();
    let (words, status) = served.ended();
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
fn who_may_take_hardly_any_cpu_looks_more_rarely_and_says_so() {
    let served = Served::start(&["--max-cpu", "0.5"]);
    served.wait_for("that it steps down", |served| {
        is_there(&served.get("/metrics").1, "observer_collector_success{collector=\"looks\"} 0")
    });
    let words = Command::new(env!("CARGO_BIN_EXE_observer")).args(["serve", "--max-cpu", "0"]).output();
    let words = String::from_utf8_lossy(&words.expect("observer").stderr).into_owned();
    assert!(words.contains("more than 0 and at most 100 percent"), "{words}");
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

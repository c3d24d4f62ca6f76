//! Plain HTTP: answers, headers, compression, the guard of what changes something, and the end.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::thread;

use observer::sinks::http::{Bound, ConfigState, Count, Listen, Server};

use crate::bench::{Answer, Bench, rest, wait_until};

#[test]
fn a_router_is_served() {
    let bench = Bench::plain();
    let answer = bench.curl("/", &[]);
    assert_eq!((answer.code, answer.version.as_str(), answer.text.as_str()), (200, "1.1", "hello\n"));
    assert_eq!(bench.curl("/nothing", &[]).code, 404);
    assert_eq!(bench.curl("/who", &[]).text, "nobody certificate=false tls=false loopback=true\n");
    assert_eq!(bench.status().config(), ConfigState::Absent);
    assert!(bench.status().count(Count::Accepted) >= 3);
}

#[test]
fn a_connection_serves_many_requests() {
    let bench = Bench::plain();
    let mut stream = bench.connect();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    for _ in 0..3 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        assert!(lines.any(|line| line.unwrap() == "hello"));
    }
    assert_eq!(bench.status().count(Count::Accepted), 1);
}

#[test]
fn metrics_are_compressed_for_who_asks() {
    let bench = Bench::plain();
    let plain = bench.curl("/metrics", &["--include"]);
    assert!(!plain.text.contains("content-encoding"), "{plain:?}");
    let packed = bench.curl("/metrics", &["--include", "--compressed"]);
    assert!(packed.text.contains("content-encoding: gzip"), "{packed:?}");
    assert_eq!(plain.text.matches("retransmit").count(), 1000);
    assert_eq!(packed.text.matches("retransmit").count(), 1000);
}

#[test]
fn configured_headers_are_on_every_answer() {
    let bench = Bench::with("http_server_config:\n  headers:\n    X-Frame-Options: deny\n");
    for (path, code) in [("/", 200), ("/nothing", 404)] {
        let answer = bench.curl(path, &["--include"]);
        assert_eq!(answer.code, code);
        assert!(answer.text.contains("x-frame-options: deny"), "{answer:?}");
    }
}

#[test]
fn what_changes_something_comes_from_here_and_from_no_foreign_page() {
    let bench = Bench::plain();
    let post = |arguments: &[&str]| bench.curl("/length", &[&["--data", "four"], arguments].concat());
    assert_eq!(post(&[]).text, "4\n");
    for (header, words) in [
        ("Origin: https://evil.example", "web page of another origin"),
        ("Sec-Fetch-Site: cross-site", "web page of another origin"),
        ("Host: rebound.example", "not known to be this host's"),
        ("X-Forwarded-For: 203.0.113.5", "basic_auth_users"),
    ] {
        let answer = post(&["--header", header]);
        assert_eq!(answer.code, 403, "{header}");
        assert!(answer.text.contains(words), "{answer:?}");
    }
    assert_eq!(bench.status().count(Count::ForeignOrigin), 4);
}

#[test]
fn requests_are_limited_when_the_configuration_says_so() {
    let bench = Bench::with("rate_limit: {interval: 1h, burst: 2}\n");
    assert_eq!([(); 3].map(|()| bench.curl("/", &[]).code), [200, 200, 429]);
    assert_eq!(bench.status().count(Count::RateLimited), 1);
}

#[test]
fn a_handler_that_panics_takes_nothing_down_but_its_connection() {
    let bench = Bench::plain();
    assert_eq!(bench.curl("/panic", &[]).code, 0);
    assert_eq!(bench.curl("/", &[]).code, 200);
    wait_until(|| bench.status().open_connections() == 0);
}

#[test]
fn a_server_that_stops_answers_what_it_was_asked() {
    let bench = Bench::plain();
    let mut silent = bench.connect();
    let child = bench.curl_command("http", "/held", &[]).stdout(Stdio::piped()).spawn().unwrap();
    bench.held.wait_for(1);
    let (server, held, address) = (bench.server, bench.held, silent.peer_addr().unwrap());
    let stopping = thread::spawn(move || server.stop());
    // A connection that has asked nothing is closed when the server stops.
    assert_eq!(rest(&mut silent), "");
    held.release();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), None);
    assert_eq!(Answer::of(&output).text, "released\n");
    stopping.join().unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn an_answer_that_never_comes_does_not_keep_a_server_from_stopping() {
    let bench = Bench::plain();
    let mut stream = bench.connect();
    stream.write_all(b"GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    bench.held.wait_for(1);
    let status = bench.status();
    bench.server.stop();
    assert_eq!(rest(&mut stream), "");
    assert_eq!(status.count(Count::TooSlow), 1, "it was not cut");
}

#[test]
fn a_taken_address_is_told_before_anything_is_served() {
    let bench = Bench::plain();
    let listen: Listen = bench.address().to_string().parse().unwrap();
    let error = Server::start(&listen, None, axum::Router::new()).unwrap_err().to_string();
    assert!(error.contains(&bench.address().to_string()) && error.contains("--listen"), "{error}");
}

#[test]
fn an_open_door_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.yml");
    let warnings = |listen: &str, config: &str| {
        std::fs::write(&path, config).unwrap();
        let bound = Bound::open(&listen.parse().unwrap(), Some(&path)).unwrap();
        bound.warnings().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let users = "basic_auth_users: {a: $2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG}\n";
    assert_eq!(warnings("127.0.0.1:0", ""), Vec::<String>::new());
    assert_eq!(warnings("[::1]:0", users), Vec::<String>::new());
    assert!(warnings(":0", "")[0].contains("without authentication"));
    assert!(warnings("0.0.0.0:0", users)[0].contains("unencrypted"));
}

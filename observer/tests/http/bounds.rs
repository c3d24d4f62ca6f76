//! What a client may not do: be slow, send much, take all the room.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use observer::sinks::http::Count;

use crate::bench::{Bench, rest, wait_until};

/// Below the time that a dribbler has in all, a byte now and then.
const DRIBBLE: Duration = Duration::from_millis(100);
/// Far more than fit into that time.
const DRIBBLED: usize = 600;

/// Connections that one peer may have.
const PER_PEER: u64 = 32;

/// Sends a byte at a time until the server has had enough.
fn dribble(mut stream: TcpStream, bytes: &[u8]) -> bool {
    stream.set_nonblocking(true).unwrap();
    for byte in bytes.iter().cycle().take(DRIBBLED) {
        if stream.write_all(&[*byte]).is_err() || matches!(stream.read(&mut [0]), Ok(0)) {
            return true;
        }
        thread::sleep(DRIBBLE);
    }
    false
}

#[test]
fn who_dribbles_headers_is_cut() {
    let bench = Bench::plain();
    let mut stream = bench.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ").unwrap();
    assert!(dribble(stream, b"x"), "it went on for a minute");
    assert_eq!(bench.status().count(Count::TooSlow), 1);
}

#[test]
fn who_dribbles_a_handshake_is_cut() {
    let bench = Bench::tls("");
    // The beginning of a ClientHello of 512 bytes.
    let mut stream = bench.connect();
    stream.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).unwrap();
    assert!(dribble(stream, &[0]), "it went on for a minute");
    wait_until(|| bench.status().count(Count::HandshakeFailed) == 1);
}

#[test]
fn who_says_nothing_is_cut() {
    let bench = Bench::plain();
    assert_eq!(bench.say(b""), "");
    assert_eq!(bench.status().count(Count::TooSlow), 1);
}

#[test]
fn who_dribbles_a_body_gets_no_answer_but_that() {
    let bench = Bench::plain();
    let head = "POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx";
    let answer = bench.say(head.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn who_takes_no_answer_is_cut() {
    let bench = Bench::plain();
    let mut stream = bench.connect();
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    // It is cut while nobody reads; what the kernel has kept until then comes first.
    wait_until(|| bench.status().count(Count::TooSlow) == 1);
    let mut taken = 0;
    let mut buffer = [0; 65536];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        taken += length;
    }
    assert!(taken < 64 << 20, "all of it came");
}

#[test]
fn a_long_body_is_refused() {
    let bench = Bench::plain();
    for (length, code) in [(64 << 10, 200), ((64 << 10) + 1, 413), (1 << 20, 413), (20 << 20, 413)] {
        std::fs::write(bench.path("body"), vec![b'x'; length]).unwrap();
        let chunked = ["--header", "Transfer-Encoding: chunked", "--data-binary", "@body"];
        for arguments in [&chunked[2..], &chunked] {
            // Too far beyond the limit, the connection may be closed before curl has listened.
            let answer = bench.curl("/length", arguments);
            assert!(answer.code == code || length > 1 << 20 && answer.code == 0, "{length}: {answer:?}");
        }
    }
}

#[test]
fn long_headers_are_refused() {
    let bench = Bench::plain();
    for arguments in [
        vec!["--header".to_owned(), format!("X-Long: {}", "x".repeat(20_000))],
        (0..100).flat_map(|n| ["--header".to_owned(), format!("X-{n}: x")]).collect(),
        vec!["--user-agent".to_owned(), "x".repeat(17_000)],
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        assert_eq!(bench.curl("/", &arguments).code, 431);
    }
    assert_eq!(bench.curl(&format!("/{}", "x".repeat(15_000)), &[]).code, 404);
    let bench = Bench::tls("");
    let answer = bench.curl_tls("/", &["--header", &format!("X-Long: {}", "x".repeat(20_000))]);
    assert!([0, 431].contains(&answer.code), "{answer:?}");
    assert_eq!(bench.curl_tls("/", &[]).code, 200);
}

#[test]
fn what_is_no_http_is_refused() {
    let bench = Bench::plain();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"nonsense\r\n\r\n",
    ] {
        let answer = bench.say(bytes);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert_eq!(bench.curl("/", &[]).code, 200);
}

#[test]
fn half_open_connections_harm_nobody() {
    let hello: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    for (bench, beginning) in [(Bench::plain(), &b"GET / HT"[..]), (Bench::tls(""), hello)] {
        let half_open: Vec<TcpStream> = (0..500)
            .map(|n| {
                let mut stream = bench.connect();
                if n % 2 == 0 {
                    // It may have been closed by then.
                    let _ = stream.write_all(beginning);
                }
                stream
            })
            .collect();
        let is_tls = bench.path("ca.crt").exists();
        let curl = |arguments: &[&str]| {
            if is_tls { bench.curl_tls("/metrics", arguments) } else { bench.curl("/metrics", arguments) }
        };
        // Another client, and one at the same address.
        for _ in 0..5 {
            assert_eq!(curl(&["--interface", "127.0.0.2"]).code, 200);
            assert_eq!(curl(&[]).code, 200);
        }
        assert!(bench.status().open_connections() <= PER_PEER + 1);
        assert!(bench.status().count(Count::MadeRoom) > 0);
        drop(half_open);
    }
}

#[test]
fn who_has_every_place_busy_gets_no_further_one() {
    let bench = Bench::plain();
    let places = usize::try_from(PER_PEER).unwrap();
    let busy: Vec<TcpStream> = (0..places)
        .map(|_| {
            let mut stream = bench.connect();
            stream.write_all(b"GET /held HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
            stream
        })
        .collect();
    bench.held.wait_for(places);
    assert_eq!(rest(&mut bench.connect()), "");
    assert_eq!(bench.status().count(Count::TurnedAway), 1);
    assert_eq!(bench.curl("/", &["--interface", "127.0.0.2"]).code, 200);
    bench.held.release();
    for mut stream in busy {
        assert!(rest(&mut stream).ends_with("released\n"));
    }
}

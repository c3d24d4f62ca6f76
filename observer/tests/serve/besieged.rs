//! Half-open connections by the hundred and a header dribbler, against the real program.

use std::{path::Path, process::Command};

use crate::served::{Served, value};
use crate::siege::{HALF_OPEN, HELLO, REQUEST, Siege, is_closed};

const WAVES: usize = 5;
/// As many connections come in each wave: those that were closed come back.
const OF_WAVE: f64 = 3.0 * HALF_OPEN as f64;
/// Connections at a time.
const PLACES: f64 = 256.0;
/// By so much it may grow from wave to wave, for the observation itself learns of the connections that it sees. Half a
/// kilobyte kept of each connection would be more.
const MARGIN: u64 = 512 << 10;

/// The metrics, as a client finds them that connects anew for them.
fn scrape(served: &Served, scheme: &str) -> String {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--max-time", "60", "--noproxy", "*", "--insecure"]);
    let output = command.arg(format!("{scheme}://{}/metrics", served.address)).output().expect("curl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn events(metrics: &str, event: &str) -> f64 {
    value(metrics, &format!("observer_http_events_total{{event=\"{event}\"}}"))
}

fn open(metrics: &str) -> f64 {
    value(metrics, "observer_http_open_connections")
}

fn withstand(served: &Served, beginning: &'static [u8], scrape: impl Fn() -> String) {
    let mut own = Vec::new();
    for wave in 1..=WAVES {
        let siege = Siege::lay(served.socket(), beginning);
        let before = events(&scrape(), "accepted");
        served.wait_for("a wave", |_| {
            let metrics = scrape();
            assert!(open(&metrics) <= PLACES, "{metrics}");
            events(&metrics, "accepted") >= before + OF_WAVE
        });
        let mut clients = siege.slacken();
        assert!(clients.iter_mut().any(|client| !is_closed(client)), "nobody was half open");
        if wave == 1 || wave == WAVES {
            // The server ends them by itself, all but the one that asks.
            served.wait_for("the end of the siege", |_| open(&scrape()) == 1.0);
            assert!(clients.iter_mut().all(is_closed));
        }
        drop(clients);
        served.wait_for("the end of the siege", |_| open(&scrape()) == 1.0);
        own.push(served.own_memory_bytes());
    }
    assert!(events(&scrape(), "made_room") > 0.0);
    println!("memory after each wave: {:?} KiB", own.iter().map(|bytes| bytes / 1024).collect::<Vec<_>>());
    // What is kept of connections is kept in each wave. A single step is the allocator's: of what two hundred handshakes
    // took at once, half is free afterwards in pieces that it keeps (malloc_trim gave 8 of 17 MB back).
    let mut growth: Vec<_> = own.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    growth.sort_unstable();
    assert!(growth[growth.len() / 2] <= MARGIN, "memory grows: {own:?}");
}

#[test]
fn every_scrape_is_answered_under_siege_and_memory_stays_flat() {
    let served = Served::start(&[]);
    withstand(&served, REQUEST, || scrape(&served, "http"));
}

#[test]
fn the_same_holds_with_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    make_certificate(folder.path());
    let config = folder.path().join("web.yml");
    std::fs::write(&config, "tls_server_config: {cert_file: web.crt, key_file: web.key}\n").expect("a file");
    let served = Served::start(&["--web.config.file", config.to_str().expect("a path")]);
    withstand(&served, HELLO, || scrape(&served, "https"));
}

fn make_certificate(folder: &Path) {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    command.args(["-days", "30", "-subj", "/CN=localhost", "-keyout", "web.key", "-out", "web.crt"]);
    let output = command.current_dir(folder).output().expect("openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

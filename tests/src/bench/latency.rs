//! How long it takes: from a failure in the kernel until `/metrics` says so, to start, and to answer a scrape.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{Bench, Budget, Plan, full_queue::FullQueue, screen, served::Served};
use crate::stage::{PATIENCE, Stage};

pub const BENCH: Bench = Bench {
    name: "latency",
    about: "from a failure to /metrics and to the screen, from nothing to attached, and of a scrape",
    play,
};

/// How often each failure is provoked.
const FAILURES: u64 = 60;
const SCRAPES: usize = 300;

fn play(stage: &Stage, plan: &Plan) -> Result<()> {
    let observer = Served::start(stage)?;
    // Unprivileged services are rarely below 1024. None of these places has failed before.
    let mut ports = 700_u16..;
    let refused = flagged_ms(&observer, &["connect_refused"], || {
        let port = ports.next().context("there are no ports left")?;
        ensure!(TcpStream::connect(("127.0.0.1", port)).is_err(), "somebody listens on port {port}");
        Ok(())
    })?;
    tell("a refused connect at a new place until /metrics says so", refused, 100.0)?;
    let queue = FullQueue::make()?;
    // The kernel's own counter, and what takes its place where functions can be hooked.
    let overflows = ["listen_overflow", "accept_overflow_syn"];
    let overflowed = flagged_ms(&observer, &overflows, || queue.overflow())?;
    drop(queue);
    let at_most_ms = if observer.has_fexit()? { 100.0 } else { 250.0 };
    tell("an overflowing accept queue until /metrics says so", overflowed, at_most_ms)?;
    if screen::is_there() {
        tell("a refused connect until the screen says so", screen::flagged_ms(stage)?, 250.0)?;
    } else {
        println!("  skip the screen: tmux is not installed");
    }
    let _listeners = variety()?;
    scrapes(&observer)?;
    let mut starts = Vec::new();
    for _ in 0..plan.rounds {
        starts.push(attached_ms(stage)?);
    }
    tell("load, verify and attach everything", starts, 500.0)
}

/// Milliseconds, and how many 99 in 100 may take at most.
fn tell(what: &str, took_ms: Vec<f64>, at_most_ms: f64) -> Result<()> {
    BENCH.tell_quantiles(what, "observer", "ms", took_ms, Some(Budget::AtMost(at_most_ms)))
}

/// How long it takes from each failure until one of the signals has a higher count. What failing leaves ends then.
fn flagged_ms<T>(
    observer: &Served,
    signals: &[&str],
    mut fail: impl FnMut() -> Result<T>,
) -> Result<Vec<f64>> {
    let count = || signals.iter().map(|signal| observer.signal(signal)).sum::<Result<f64>>();
    let mut taken = Vec::new();
    for failure in 0..FAILURES {
        let before = count()?;
        // Somewhere between two ticks.
        thread::sleep(Duration::from_millis(200 + failure * 37 % 97));
        let begun = Instant::now();
        let _left = fail()?;
        while count()? <= before {
            ensure!(begun.elapsed() < PATIENCE, "{} is never counted", signals.join(" or "));
        }
        taken.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(taken)
}

/// Connections to more listeners than have series of their own, so that a scrape has about as many as it ever has.
fn variety() -> Result<Vec<TcpListener>> {
    const LISTENERS: usize = 12;
    let mut listeners = Vec::new();
    for _ in 0..LISTENERS {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        // In this order the listening side enters TIME_WAIT.
        drop(listener.accept()?);
        drop(client);
        listeners.push(listener);
    }
    Ok(listeners)
}

/// How long a scrape takes, and how many series it has by then.
fn scrapes(observer: &Served) -> Result<()> {
    let (mut took_ms, mut series) = (Vec::new(), 0);
    for _ in 0..SCRAPES {
        let begun = Instant::now();
        let metrics = observer.metrics()?;
        took_ms.push(begun.elapsed().as_secs_f64() * 1e3);
        series = metrics.lines().filter(|line| line.starts_with("observer_")).count();
        thread::sleep(Duration::from_millis(5));
    }
    tell("a scrape", took_ms, 2.0)?;
    BENCH.tell("series of a scrape, of 500 at most", "observer", "series", series as f64, None)
}

/// What `observer doctor` says of its own start.
fn attached_ms(stage: &Stage) -> Result<f64> {
    let observer = stage.observer().context("there is no observer")?;
    let output = Command::new(observer).args(["doctor", "--format", "json"]).output()?;
    let doctor: serde_json::Value = serde_json::from_slice(&output.stdout).context("doctor says no JSON")?;
    doctor["probes"]["load_ms"].as_f64().context("doctor does not say how long loading took")
}

//! How long it takes: from a failure in the kernel until `/metrics` says so, to start, and to answer a scrape.

use std::{
    net::TcpStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{Bench, Budget, Plan, Row, served::Served};
use crate::stage::{PATIENCE, Stage};

pub const BENCH: Bench = Bench {
    name: "latency",
    about: "from a refused connect to /metrics, from nothing to attached, and of a scrape",
    play,
};

/// Failures at places that never failed before.
const FAILURES: usize = 60;
const SCRAPES: usize = 300;

fn play(stage: &Stage, plan: &Plan) -> Result<()> {
    let observer = Served::start(stage)?;
    let failures = flagged_ms(&observer)?;
    quantiles("a refused connect until /metrics says so", "ms", failures, Budget::AtMost(100.0))?;
    let mut scrapes = Vec::new();
    for _ in 0..SCRAPES {
        let begun = Instant::now();
        observer.metrics()?;
        scrapes.push(begun.elapsed().as_secs_f64() * 1e3);
        thread::sleep(Duration::from_millis(5));
    }
    quantiles("a scrape", "ms", scrapes, Budget::AtMost(2.0))?;
    let mut starts = Vec::new();
    for _ in 0..plan.rounds {
        starts.push(attached_ms(stage)?);
    }
    quantiles("load, verify and attach everything", "ms", starts, Budget::AtMost(500.0))
}

/// The median, and what 99 in 100 keep to.
fn quantiles(what: &str, unit: &str, mut values: Vec<f64>, budget: Budget) -> Result<()> {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    for (with, value, budget) in [("p50", at(0.5), None), ("p99", at(0.99), Some(budget))] {
        Row { bench: BENCH.name, what, with, unit, value, low: None, high: None, budget }.tell()?;
    }
    Ok(())
}

/// Connects to ports at which nobody listens, and waits until it is counted.
fn flagged_ms(observer: &Served) -> Result<Vec<f64>> {
    let refused = "observer_signal_total{";
    let count = || -> Result<f64> {
        let metrics = observer.metrics()?;
        let lines =
            metrics.lines().filter(|line| line.starts_with(refused) && line.contains("connect_refused"));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    };
    let mut taken = Vec::new();
    // Unprivileged services are rarely below 1024.
    for port in (700..).take(FAILURES) {
        let before = count()?;
        thread::sleep(Duration::from_millis(200 + u64::from(port) % 97));
        let begun = Instant::now();
        ensure!(TcpStream::connect(("127.0.0.1", port)).is_err(), "somebody listens on port {port}");
        while count()? <= before {
            ensure!(begun.elapsed() < PATIENCE, "a refused connect is never counted");
        }
        taken.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(taken)
}

/// What `observer doctor` says of its own start.
fn attached_ms(stage: &Stage) -> Result<f64> {
    let observer = stage.observer().context("there is no observer")?;
    let output = Command::new(observer).args(["doctor", "--format", "json"]).output()?;
    let doctor: serde_json::Value = serde_json::from_slice(&output.stdout).context("doctor says no JSON")?;
    doctor["probes"]["load_ms"].as_f64().context("doctor does not say how long loading took")
}

//! What half-open clients and a header dribbler cost a scrape: `cargo bench -p observer --bench scrape [-- --json]`.
//!
//! A siege is on and off in turn in one run, so that what else the machine does falls on both; the ratio is the
//! median of those of neighbours.
#![allow(clippy::expect_used, clippy::panic, reason = "a measurement that fails stops")]

#[path = "../tests/serve/served.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod served;
#[path = "../tests/serve/siege.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod siege;

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use served::Served;
use siege::{HALF_OPEN, REQUEST, Siege};

/// Off and on, so many times.
const PAIRS: usize = 8;
/// Scrapes in each.
const SCRAPES: usize = 400;
/// Between two scrapes: so that they fall on all of what the siege does.
const PAUSE: Duration = Duration::from_millis(4);

/// Quantiles of the time that a scrape took, in milliseconds: from the connect to the last byte.
#[derive(Clone, Copy)]
struct Quantiles {
    p50: f64,
    p99: f64,
}

fn scrapes(served: &Served) -> Quantiles {
    let scrape = |_| {
        let begun = Instant::now();
        let (status, _) = served.get("/metrics");
        let took = begun.elapsed();
        assert_eq!(status, 200);
        thread::sleep(PAUSE);
        took.as_secs_f64() * 1e3
    };
    let mut times: Vec<f64> = (0..SCRAPES).map(scrape).collect();
    times.sort_by(f64::total_cmp);
    let quantile = |of: f64| times[((times.len() - 1) as f64 * of).round() as usize];
    Quantiles { p50: quantile(0.5), p99: quantile(0.99) }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { values[middle - 1].midpoint(values[middle]) }
}

/// The medians of what `quantiles` makes of each pair.
fn medians(
    pairs: &[(Quantiles, Quantiles)],
    quantiles: impl Fn(&(Quantiles, Quantiles)) -> Quantiles,
) -> Quantiles {
    let all: Vec<Quantiles> = pairs.iter().map(quantiles).collect();
    Quantiles { p50: median(all.iter().map(|q| q.p50)), p99: median(all.iter().map(|q| q.p99)) }
}

fn main() {
    // `cargo test --all-targets` runs benches as well, without it.
    if !std::env::args().any(|argument| argument == "--bench") {
        return println!("only `cargo bench` measures");
    }
    let served = Served::start(&[]);
    served.wait_for("an episode", |served| served.get("/readyz").0 == 200);
    // Both grow until the allocator has what it needs, and what is observed is known.
    let warm_up = Siege::lay(served.socket(), REQUEST);
    scrapes(&served);
    drop(warm_up);
    let pair = |_| {
        let idle = scrapes(&served);
        let siege = Siege::lay(served.socket(), REQUEST);
        let besieged = scrapes(&served);
        drop(siege);
        (idle, besieged)
    };
    let pairs: Vec<(Quantiles, Quantiles)> = (0..PAIRS).map(pair).collect();
    let idle = medians(&pairs, |(idle, _)| *idle);
    let besieged = medians(&pairs, |(_, besieged)| *besieged);
    let ratio = medians(&pairs, |(idle, besieged)| Quantiles {
        p50: besieged.p50 / idle.p50,
        p99: besieged.p99 / idle.p99,
    });
    if std::env::args().any(|argument| argument == "--json") {
        let quantiles = |q: &Quantiles| json!({ "p50": q.p50, "p99": q.p99 });
        let all = json!({
            "bench": "scrape_under_siege", "unit": "ms", "pairs": PAIRS, "scrapes": SCRAPES, "half_open": HALF_OPEN,
            "idle": quantiles(&idle), "besieged": quantiles(&besieged), "ratio": quantiles(&ratio),
        });
        println!("{all}");
    } else {
        let line = |name: &str, q: &Quantiles, unit: &str| {
            println!("{name:<9}p50 {:.2}{unit}  p99 {:.2}{unit}", q.p50, q.p99);
        };
        line("idle", &idle, " ms");
        line("besieged", &besieged, " ms");
        line("ratio", &ratio, "");
    }
}

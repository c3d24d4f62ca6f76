//! An open-loop HTTP load of a known shape: connections at given rates, whether or not the service keeps
//! up, one request each.

use std::{
    fmt,
    io::{Read, Write},
    net::{SocketAddr, SocketAddrV4, TcpStream},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Error, Result};
use clap::Args;
use serde::{Serialize, Serializer};

use super::{obey, ready};
use crate::{
    clock::{Bracket, mono_ns},
    netns,
    report::{Ledger, Report},
};

/// Requests that may wait for their answers at the same time.
const WORKERS: usize = 8;
/// How long a connection and each read of its answer may take.
const PATIENCE: Duration = Duration::from_secs(3);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n";

/// Options of the load.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Shape {
    /// Where to.
    #[arg(long)]
    pub to: SocketAddrV4,
    /// Join this process's network namespace.
    #[arg(long)]
    pub netns_of: Option<u32>,
    /// Its parts in order: FROM:TO:MILLISECONDS, rates per second.
    #[arg(long, required = true)]
    pub part: Vec<Part>,
}

/// A part of a load, whose rate changes evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Connections per second at its beginning.
    pub from: u32,
    /// Connections per second at its end.
    pub to: u32,
    /// Its length.
    pub ms: u32,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.from, self.to, self.ms)
    }
}

impl FromStr for Part {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut fields = text.split(':');
        let mut field =
            || fields.next().context("a part is FROM:TO:MILLISECONDS")?.parse().map_err(Error::new);
        Ok(Self { from: field()?, to: field()?, ms: field()? })
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Shape {
    /// Plays the role: the load, then its true boundaries, then whatever is ordered.
    pub fn play(&self) -> Result<()> {
        if let Some(pid) = self.netns_of {
            netns::join(pid)?;
        }
        let ledger = Arc::new(Ledger::default());
        ready()?;
        let load = thread::Builder::new().name("load".into()).spawn({
            let (shape, ledger) = (self.clone(), Arc::clone(&ledger));
            move || {
                let begun_ns = mono_ns();
                let late_ns = shape.drive(begun_ns, &ledger);
                // The lab notices by itself when nobody listens any more.
                let _ = Report::Shaped { ends_ns: shape.ends_ns(begun_ns), late_ns }.send();
            }
        })?;
        obey(|| ledger.tally(), |_| ())?;
        let _ = load.join();
        Ok(Report::Tally(ledger.tally()).send()?)
    }

    /// When each part ended, on CLOCK_MONOTONIC.
    fn ends_ns(&self, begun_ns: u64) -> Vec<u64> {
        let mut at_ns = begun_ns;
        self.part
            .iter()
            .map(|part| {
                at_ns += u64::from(part.ms) * 1_000_000;
                at_ns
            })
            .collect()
    }

    /// Opens each connection at its time, ends with the last part, and returns how late one was at worst.
    fn drive(&self, begun_ns: u64, ledger: &Ledger) -> u64 {
        let schedule = schedule(&self.part);
        let next = AtomicUsize::new(0);
        let late_ns = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    while let Some(offset_ns) = schedule.get(next.fetch_add(1, Ordering::Relaxed)) {
                        sleep_until(begun_ns + offset_ns);
                        late_ns.fetch_max(mono_ns().saturating_sub(begun_ns + offset_ns), Ordering::Relaxed);
                        request(SocketAddr::V4(self.to), ledger);
                    }
                });
            }
        });
        if let Some(end_ns) = self.ends_ns(begun_ns).last() {
            sleep_until(*end_ns);
        }
        late_ns.into_inner()
    }
}

/// When to open connections, in nanoseconds from the beginning: at even intervals, as load tools do that
/// are told a rate.
fn schedule(parts: &[Part]) -> Vec<u64> {
    let mut times = Vec::new();
    // A connection is due whenever the sum of the rates passes a whole number.
    let (mut elapsed_ms, mut due) = (0, 0.0);
    for part in parts {
        for ms in 0..part.ms {
            let done = f64::from(ms) / f64::from(part.ms);
            due += (f64::from(part.from) + (f64::from(part.to) - f64::from(part.from)) * done) / 1000.0;
            if due >= 1.0 {
                due -= 1.0;
                times.push((elapsed_ms + u64::from(ms)) * 1_000_000);
            }
        }
        elapsed_ms += u64::from(part.ms);
    }
    times
}

fn sleep_until(at_ns: u64) {
    thread::sleep(Duration::from_nanos(at_ns.saturating_sub(mono_ns())));
}

fn request(to: SocketAddr, ledger: &Ledger) {
    let (answered, bracket) = Bracket::around(|| {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
        ledger.connected();
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(REQUEST)?;
        stream.read_to_end(&mut Vec::new())
    });
    match answered {
        Ok(_) => ledger.done(),
        Err(error) => ledger.failed(&error, bracket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_survives_its_text() {
        let part = Part { from: 0, to: 200, ms: 1500 };
        assert_eq!(part.to_string().parse::<Part>().expect("a part"), part);
        assert!("1:2".parse::<Part>().is_err() && "1:x:3".parse::<Part>().is_err());
    }

    #[test]
    fn the_schedule_keeps_the_rates() {
        let parts = [Part { from: 0, to: 200, ms: 10_000 }, Part { from: 50, to: 50, ms: 10_000 }];
        let times = schedule(&parts);
        let within = |from_s: u64, to_s: u64| {
            times.iter().filter(|at| (from_s..to_s).contains(&(**at / 1_000_000_000))).count()
        };
        assert!(within(0, 10).abs_diff(1000) < 3, "{}", within(0, 10));
        assert!(within(0, 5).abs_diff(250) < 3, "{}", within(0, 5));
        assert!(within(10, 20).abs_diff(500) < 3, "{}", within(10, 20));
    }
}

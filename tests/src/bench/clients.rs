//! Clients of nginx that never rest, and how long their requests take, at any time: wrk says so at its end only.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    os::fd::AsFd as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::web::{Answered, Load};
use crate::{netns, nginx::PORT, roles::answer::is_whole};

/// As many as wrk has in the other benches.
const CLIENTS: usize = 32;
/// Latencies are told apart by the microsecond, up to a tenth of a second.
const LONGEST_US: usize = 100_000;
const KEEP: &[u8] = b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n";
const CLOSE: &[u8] = b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n";
/// An answer that takes longer is an error.
const PATIENCE_MS: u16 = 5_000;

/// Clients at work; dropping them ends them.
pub struct Clients {
    latencies: Arc<Latencies>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Clients {
    /// Begins, in the network namespace of the process `inside`.
    pub fn start(inside: u32, load: Load) -> Self {
        let latencies = Arc::new(Latencies::default());
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (latencies, stop) = (Arc::clone(&latencies), Arc::clone(&stop));
            move || {
                netns::join(inside)?;
                converse(load, &latencies, &stop)
            }
        });
        Self { latencies, stop, thread: Some(thread) }
    }

    /// What is answered in a turn.
    pub fn turn(&mut self, length: Duration) -> Result<Answered> {
        let (before, began) = (self.latencies.counts(), Instant::now());
        thread::sleep(length);
        let counts: Vec<u32> =
            self.latencies.counts().iter().zip(&before).map(|(after, before)| after - before).collect();
        let requests = counts.iter().map(|count| f64::from(*count)).sum::<f64>();
        if let Some(ended) = self.thread.take_if(|thread| thread.is_finished()) {
            ended.join().map_err(|_| anyhow::anyhow!("the clients died"))??;
        }
        ensure!(requests > 0.0, "no request was answered in {length:?}");
        let p99_ms = at_share(&counts, requests * 0.99) as f64 / 1e3;
        Ok(Answered { requests, requests_per_s: requests / began.elapsed().as_secs_f64(), p99_ms })
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What went wrong was told by the turn that it spoilt.
            let _ = thread.join();
        }
    }
}

/// How many requests took so many microseconds; the last place has all that took longer.
struct Latencies(Box<[AtomicU32]>);

impl Default for Latencies {
    fn default() -> Self {
        Self((0..=LONGEST_US).map(|_| AtomicU32::new(0)).collect())
    }
}

impl Latencies {
    fn note(&self, took: Duration) {
        let us = usize::try_from(took.as_micros()).unwrap_or(LONGEST_US).min(LONGEST_US);
        self.0[us].fetch_add(1, Ordering::Relaxed);
    }

    fn counts(&self) -> Vec<u32> {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

/// The first place by which so many are counted.
fn at_share(counts: &[u32], many: f64) -> usize {
    let mut sum = 0.0;
    let reached = counts.iter().position(|count| {
        sum += f64::from(*count);
        sum >= many
    });
    reached.unwrap_or(counts.len())
}

/// A request that is under way.
struct Request {
    stream: TcpStream,
    began: Instant,
}

impl Request {
    fn on_a_connection_of_its_own(request: &[u8]) -> Result<Self> {
        let began = Instant::now();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).context("nginx does not answer")?;
        stream.write_all(request)?;
        Ok(Self { stream, began })
    }

    /// Reads its answer, which nginx writes at once, and asks again.
    fn next(&mut self, load: Load, latencies: &Latencies) -> Result<()> {
        let mut answer = [0; 2048];
        let length = self.stream.read(&mut answer)?;
        ensure!(is_whole(&answer[..length]), "nginx says {:?}", String::from_utf8_lossy(&answer[..length]));
        latencies.note(self.began.elapsed());
        match load {
            Load::ConnectionPerRequest => *self = Self::on_a_connection_of_its_own(CLOSE)?,
            Load::KeepAlive => {
                self.began = Instant::now();
                self.stream.write_all(KEEP)?;
            }
        }
        Ok(())
    }
}

fn converse(load: Load, latencies: &Latencies, stop: &AtomicBool) -> Result<()> {
    let first = match load {
        Load::ConnectionPerRequest => CLOSE,
        Load::KeepAlive => KEEP,
    };
    let mut requests =
        (0..CLIENTS).map(|_| Request::on_a_connection_of_its_own(first)).collect::<Result<Vec<_>>>()?;
    while !stop.load(Ordering::Relaxed) {
        let mut waiting: Vec<PollFd<'_>> =
            requests.iter().map(|request| PollFd::new(request.stream.as_fd(), PollFlags::POLLIN)).collect();
        let answered = poll(&mut waiting, PollTimeout::from(PATIENCE_MS))?;
        ensure!(answered > 0, "no answer in {PATIENCE_MS} ms");
        let answered: Vec<bool> = waiting.iter().map(|one| one.any().unwrap_or_default()).collect();
        for (request, _) in requests.iter_mut().zip(answered).filter(|(_, answered)| *answered) {
            request.next(load, latencies)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::at_share;

    #[test]
    fn a_share_is_reached_at_the_request_that_completes_it() {
        // Two of 0, seven of 1, one of 3.
        let counts = [2, 7, 0, 1];
        assert_eq!([1.0, 2.0, 2.1, 9.0, 9.9].map(|many| at_share(&counts, many)), [0, 0, 1, 1, 3]);
    }
}

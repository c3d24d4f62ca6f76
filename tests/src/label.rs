//! Labels: when a fault really began, by the kernel's own counters read every millisecond.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    clock::{Bracket, mono_ns},
    counters::{Counter, Counters, Snapshot},
};

/// Time between two reads; with the read itself it bounds the width of a label.
const PERIOD: Duration = Duration::from_millis(1);

/// What moved since the labeller was started.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    deltas: Snapshot,
    onsets: [Option<Bracket>; Counter::COUNT],
}

impl Labels {
    /// How far a counter rose.
    pub fn count(&self, counter: Counter) -> u64 {
        self.deltas[counter.index()]
    }

    /// Around the instant at which a counter first rose.
    pub fn onset(&self, counter: Counter) -> Option<Bracket> {
        self.onsets[counter.index()]
    }

    /// How far all counters together rose that tell of trouble.
    pub fn trouble(&self) -> u64 {
        Counter::ALL.iter().filter(|counter| !counter.is_load()).map(|counter| self.count(*counter)).sum()
    }

    fn update(&mut self, base: &Snapshot, now: &Snapshot, since: Bracket) {
        for counter in Counter::ALL {
            let index = counter.index();
            self.deltas[index] = now[index].saturating_sub(base[index]);
            if self.deltas[index] > 0 && self.onsets[index].is_none() {
                self.onsets[index] = Some(since);
            }
        }
    }
}

/// Polls the counters of one namespace on a thread of its own.
#[derive(Debug)]
pub struct Labeller {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    labels: Mutex<Labels>,
    moved: Condvar,
}

impl Shared {
    fn labels(&self) -> MutexGuard<'_, Labels> {
        self.labels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&self, mut counters: Counters, base: Snapshot, mut last_ns: u64) {
        while !self.stop.load(Ordering::Relaxed) {
            thread::sleep(PERIOD);
            let read_ns = mono_ns();
            let now = match counters.read() {
                Ok(now) => now,
                Err(error) => return println!("  the kernel's counters can no longer be read: {error}"),
            };
            let mut labels = self.labels();
            let before = labels.deltas;
            // The last read that saw nothing began at `last_ns`, so the first event came later.
            labels.update(&base, &now, Bracket { from_ns: last_ns, to_ns: mono_ns() });
            if labels.deltas != before {
                self.moved.notify_all();
            }
            last_ns = read_ns;
        }
    }
}

impl Labeller {
    /// Starts to watch the namespace of `pid`; what has been counted so far is the baseline.
    pub fn start(pid: u32) -> Result<Self> {
        let mut counters = Counters::of(pid)?;
        let last_ns = mono_ns();
        let base = counters.read().context("cannot read the kernel's counters")?;
        let shared = Arc::new(Shared::default());
        let thread = thread::Builder::new().name("labeller".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.poll(counters, base, last_ns)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Waits until `counter` has risen by `at_least`.
    pub fn wait_for(&self, counter: Counter, at_least: u64, within: Duration) -> Result<()> {
        let labels = self.shared.labels();
        let (labels, timeout) = self
            .shared
            .moved
            .wait_timeout_while(labels, within, |labels| labels.count(counter) < at_least)
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() && labels.count(counter) < at_least {
            bail!(
                "{} rose by {} in {within:?}, not by the {at_least} that the provocation makes",
                counter.name(),
                labels.count(counter)
            );
        }
        Ok(())
    }

    /// Waits until no counter that tells of trouble has moved for `quiet`.
    pub fn wait_quiet(&self, quiet: Duration, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        let mut labels = self.shared.labels();
        let mut seen = labels.trouble();
        while Instant::now() < deadline {
            let (next, timeout) = self
                .shared
                .moved
                .wait_timeout_while(labels, quiet, |labels| labels.trouble() == seen)
                .unwrap_or_else(PoisonError::into_inner);
            labels = next;
            if timeout.timed_out() && labels.trouble() == seen {
                return Ok(());
            }
            seen = labels.trouble();
        }
        bail!("the kernel's counters did not come to rest within {within:?}")
    }

    /// What moved until now.
    pub fn labels(&self) -> Labels {
        self.shared.labels().clone()
    }

    /// Stops and says what moved.
    pub fn finish(self) -> Labels {
        self.labels()
    }
}

impl Drop for Labeller {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has already said so, and its labels stopped with it.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Labels;
    use crate::{
        clock::Bracket,
        counters::{Counter, Snapshot},
    };

    #[test]
    fn the_first_rise_is_the_onset_and_never_moves() {
        let mut labels = Labels::default();
        let at = |overflows, drops| {
            let mut snapshot = Snapshot::default();
            snapshot[Counter::ListenOverflows.index()] = overflows;
            snapshot[Counter::ListenDrops.index()] = drops;
            snapshot
        };
        let base = at(5, 0);
        labels.update(&base, &base, Bracket { from_ns: 0, to_ns: 10 });
        assert_eq!(labels.onset(Counter::ListenOverflows), None);
        labels.update(&base, &at(7, 0), Bracket { from_ns: 10, to_ns: 20 });
        labels.update(&base, &at(9, 1), Bracket { from_ns: 20, to_ns: 30 });
        assert_eq!(labels.count(Counter::ListenOverflows), 4);
        assert_eq!(labels.trouble(), 5);
        assert_eq!(labels.onset(Counter::ListenOverflows), Some(Bracket { from_ns: 10, to_ns: 20 }));
        assert_eq!(labels.onset(Counter::ListenDrops), Some(Bracket { from_ns: 20, to_ns: 30 }));
    }
}

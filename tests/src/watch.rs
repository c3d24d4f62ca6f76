//! Watching one number that the kernel keeps in a file: how far it rose, and when first.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::clock::{Bracket, mono_ns};

/// Time between two reads; with the read itself it bounds the width of a label.
const PERIOD: Duration = Duration::from_millis(2);
/// More than any of these files holds.
const ROOM: usize = 16 * 1024;

/// A number in a file of the kernel's: all of it, or what follows a word at the beginning of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gauge {
    file: PathBuf,
    field: Option<&'static str>,
}

impl Gauge {
    /// The file is the number.
    pub fn whole(file: &Path) -> Self {
        Self { file: file.to_owned(), field: None }
    }

    /// A line of the file is the field's name and the number.
    pub fn field(file: &Path, field: &'static str) -> Self {
        Self { file: file.to_owned(), field: Some(field) }
    }

    /// What it is called in messages.
    pub fn name(&self) -> String {
        let file = self.file.file_name().unwrap_or_default().to_string_lossy();
        self.field.map_or(file.to_string(), |field| format!("{file} {field}"))
    }

    /// Reads it once.
    pub fn read(&self) -> Result<u64> {
        let file = self.open()?;
        self.read_from(&file)
            .with_context(|| format!("cannot read {} in {}", self.name(), self.file.display()))
    }

    fn open(&self) -> Result<File> {
        File::open(&self.file).with_context(|| format!("cannot open {}", self.file.display()))
    }

    fn read_from(&self, file: &File) -> io::Result<u64> {
        let mut text = vec![0; ROOM];
        let mut length = 0;
        loop {
            match file.read_at(&mut text[length..], length as u64)? {
                0 => break,
                count => length += count,
            }
        }
        let text = String::from_utf8_lossy(&text[..length]);
        self.parse(&text).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, format!("it says {text:?}")))
    }

    fn parse(&self, text: &str) -> Option<u64> {
        let number = match self.field {
            None => text,
            Some(field) => text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(' '))?,
        };
        number.trim().parse().ok()
    }
}

/// What has been seen of it since the watch began.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    risen: u64,
    onset: Option<Bracket>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    seen: Mutex<Seen>,
    moved: Condvar,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&self, gauge: &Gauge, file: &File, base: u64, mut last_ns: u64) {
        while !self.stop.load(Ordering::Relaxed) {
            thread::sleep(PERIOD);
            let read_ns = mono_ns();
            let now = match gauge.read_from(file) {
                Ok(now) => now,
                Err(error) => return println!("  {} can no longer be read: {error}", gauge.name()),
            };
            let mut seen = self.seen();
            let risen = now.saturating_sub(base);
            if risen != seen.risen {
                seen.risen = risen;
                // The last read that saw nothing began at `last_ns`, so the first event came later.
                seen.onset.get_or_insert(Bracket { from_ns: last_ns, to_ns: mono_ns() });
                self.moved.notify_all();
            }
            last_ns = read_ns;
        }
    }
}

/// Polls a gauge that only rises, on a thread of its own.
#[derive(Debug)]
pub struct Watch {
    gauge: Gauge,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts; what has been counted so far is the baseline.
    pub fn start(gauge: Gauge) -> Result<Self> {
        let file = gauge.open()?;
        let last_ns = mono_ns();
        let base = gauge.read()?;
        let shared = Arc::new(Shared::default());
        let thread = thread::Builder::new().name("watch".into()).spawn({
            let (gauge, shared) = (gauge.clone(), Arc::clone(&shared));
            move || shared.poll(&gauge, &file, base, last_ns)
        })?;
        Ok(Self { gauge, shared, thread: Some(thread) })
    }

    /// How far it has risen.
    pub fn count(&self) -> u64 {
        self.shared.seen().risen
    }

    /// Around the instant at which it first rose.
    pub fn onset(&self) -> Result<Bracket> {
        self.shared.seen().onset.with_context(|| format!("{} did not rise", self.gauge.name()))
    }

    /// Waits until it has risen by `at_least`.
    pub fn wait_for(&self, at_least: u64, within: Duration) -> Result<()> {
        let seen = self.shared.seen();
        let (seen, _) = self
            .shared
            .moved
            .wait_timeout_while(seen, within, |seen| seen.risen < at_least)
            .unwrap_or_else(PoisonError::into_inner);
        if seen.risen < at_least {
            bail!(
                "{} rose by {} in {within:?}, not by the {at_least} that the provocation makes",
                self.gauge.name(),
                seen.risen
            );
        }
        Ok(())
    }

    /// Waits until it has not moved for `quiet`.
    pub fn wait_quiet(&self, quiet: Duration, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        let mut before = self.count();
        while Instant::now() < deadline {
            thread::sleep(quiet);
            let now = self.count();
            if now == before {
                return Ok(());
            }
            before = now;
        }
        bail!("{} did not come to rest within {within:?}", self.gauge.name())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has already said so, and what it saw stopped with it.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Gauge;

    #[test]
    fn a_gauge_is_the_whole_file_or_a_field_of_it() {
        let path = Path::new("/x/memory.events");
        assert_eq!(Gauge::whole(path).parse("17\n"), Some(17));
        assert_eq!(Gauge::field(path, "oom").parse("max 1\noom_kill 2\noom 3\n"), Some(3));
        assert_eq!(Gauge::field(path, "oom").parse("oom_kill 2\n"), None);
        assert_eq!(Gauge::field(path, "oom").name(), "memory.events oom");
    }
}

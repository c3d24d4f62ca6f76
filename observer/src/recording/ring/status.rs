//! What a ring says of itself.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::RingOptions;

/// What a ring holds at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingStatus {
    /// How much it is to hold.
    pub keep: Duration,
    /// How large it may become.
    pub max_bytes: u64,
    /// CLOCK_MONOTONIC at which what it holds begins, and of its latest frame; `None` before the first one.
    pub held_ns: Option<(u64, u64)>,
    /// Its size on disk.
    pub bytes: u64,
    /// Whether it holds less than it is to, because it would be larger than it may.
    pub is_shortened: bool,
    /// Whether what happens now is kept. It is not while the disk fails, which is tried again from time to time.
    pub goes_on: bool,
    /// Frames that were not kept.
    pub frames_lost: u64,
    /// What is wrong with it, in words that stay the same while it is; `None` while all is well.
    pub trouble: Option<String>,
}

impl RingStatus {
    pub(super) fn new(options: &RingOptions) -> Self {
        Self {
            keep: options.keep,
            max_bytes: options.max_bytes,
            held_ns: None,
            bytes: 0,
            is_shortened: false,
            goes_on: true,
            frames_lost: 0,
            trouble: None,
        }
    }

    /// How much it holds.
    pub fn held(&self) -> Duration {
        let held_ns = self.held_ns.map_or(0, |(from_ns, to_ns)| to_ns.saturating_sub(from_ns));
        Duration::from_nanos(held_ns)
    }
}

impl fmt::Display for RingStatus {
    /// In words: `the last 12m of 30m are kept: more would be larger than 256 MB`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |length: Duration| humantime::format_duration(Duration::from_secs(length.as_secs()));
        write!(formatter, "the last {}", seconds(self.held()))?;
        if self.held() < self.keep {
            write!(formatter, " of {}", seconds(self.keep))?;
        }
        write!(formatter, " are kept")?;
        if self.is_shortened && self.held() < self.keep {
            write!(formatter, ": more would be larger than {} MB", self.max_bytes >> 20)?;
        }
        Ok(())
    }
}

/// The status, whoever has panicked while holding it.
pub(super) fn read(status: &Mutex<RingStatus>) -> MutexGuard<'_, RingStatus> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The observation as Prometheus metrics.
//!
//! [`Metrics`] counts for as long as observer runs: what the engine was fed is added tick by tick, and never falls.
//! How things stand ([`Now`]) is handed over as it is made anew, and becomes gauges when somebody scrapes. A scrape
//! asks nobody for anything: it reads what was handed over, and so neither waits for a tick nor delays one.
//!
//! However many listeners, destinations, processes and cgroups there are, there are at most [`SERIES`] series: the
//! first subjects of a signal get series of their own and keep them, later ones count under `other`.

mod counters;
mod gauges;
mod place;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus::{Encoder as _, Error, Registry, TextEncoder};

use self::counters::Counters;
use crate::core::{
    engine::{Engine, Update},
    frame::{Frame, RunHeader, SourceStatus},
    snapshot::Snapshot,
    verdict::{Headroom, OwnCost, Verdict},
};

/// As many series are exposed at most, whatever the load.
pub const SERIES: usize = 500;

/// The type of what [`Metrics::expose`] writes: Prometheus' text format.
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// How things stand, as far as metrics tell it.
#[derive(Clone, Debug)]
pub struct Now {
    /// The state of each fault line, and the load.
    pub snapshot: Snapshot,
    /// The latest verdict on the episode.
    pub verdict: Arc<Verdict>,
    /// The resources in scope that are closest to their limits.
    pub closest: Vec<Headroom>,
    /// Whether an episode is under way.
    pub in_episode: bool,
    /// What observing cost so far.
    pub cost: Option<OwnCost>,
}

/// The metrics of one observation; may be asked from any thread.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    counters: Counters,
    header: RunHeader,
    now: Mutex<Option<Arc<Now>>>,
    /// How reading each source goes, by name.
    sources: Mutex<BTreeMap<String, SourceStatus>>,
}

impl Metrics {
    /// Metrics of an observation that is about to begin.
    ///
    /// # Errors
    ///
    /// Two metrics have the same name, which a test of this module would have found.
    pub fn new(header: RunHeader) -> Result<Self, Error> {
        let registry = Registry::new();
        let counters = Counters::register(&registry)?;
        Ok(Self { registry, counters, header, now: Mutex::default(), sources: Mutex::default() })
    }

    /// Adds what a tick brought.
    pub fn enter(&self, frame: &Frame, update: &Update, engine: &Engine) {
        self.counters.enter(frame, update, engine);
        let mut sources = lock(&self.sources);
        sources.extend(frame.sources.iter().map(|status| (status.source.clone(), status.clone())));
    }

    /// From now on, things stand like this.
    pub fn show(&self, now: Now) {
        *lock(&self.now) = Some(Arc::new(now));
    }

    /// How things stand; `None` before that was shown for the first time.
    pub fn now(&self) -> Option<Arc<Now>> {
        lock(&self.now).clone()
    }

    /// Everything in the text format, with `more` of the caller's own.
    ///
    /// # Errors
    ///
    /// A metric has no valid form, which a test of this module would have found.
    pub fn expose(&self, more: &Registry) -> Result<Vec<u8>, Error> {
        let sources: Vec<_> = lock(&self.sources).values().cloned().collect();
        let gauges = gauges::registry(&self.header, &sources, self.now().as_deref())?;
        let mut families = self.registry.gather();
        families.extend(gauges.gather());
        families.extend(more.gather());
        let mut text = Vec::with_capacity(64 * 1024);
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(text)
    }
}

/// What is held is whole at any time: a panic elsewhere does not spoil it.
fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

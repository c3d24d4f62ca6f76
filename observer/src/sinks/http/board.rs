//! What the routes answer from: what the observation handed over, and the ways to ask something of it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::body::Bytes;
use tokio::sync::{mpsc::UnboundedSender, oneshot};

use super::events::EventLog;
use crate::sinks::prometheus::Metrics;

/// A latest look longer ago than this is an observation that stands still.
const STALLED_NS: u64 = 3_000_000_000;

/// A request for all that is known now, to be answered by the observation itself.
pub type FrameWanted = oneshot::Sender<Bytes>;

/// Where the observation hands over what there is to tell, and the routes find it.
pub struct Board {
    /// Counts, and how things stand.
    pub metrics: Arc<Metrics>,
    /// What happened.
    pub events: Arc<EventLog>,
    /// CLOCK_MONOTONIC of the latest look; 0 before the first.
    looked_ns: AtomicU64,
    ways: Ways,
}

/// How the routes ask something of the observation.
pub struct Ways {
    /// CLOCK_MONOTONIC, in nanoseconds.
    pub clock: fn() -> u64,
    /// Begins a phase of this name, or says why it cannot have that name.
    pub mark: Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>,
    /// Where requests for a frame go.
    pub frames: UnboundedSender<FrameWanted>,
}

impl Board {
    /// A board of an observation that is about to begin.
    pub fn new(metrics: Arc<Metrics>, run: &str, ways: Ways) -> Self {
        Self { metrics, events: Arc::new(EventLog::new(run)), looked_ns: AtomicU64::new(0), ways }
    }

    /// The observation has looked.
    pub fn looked(&self, at_ns: u64) {
        self.looked_ns.store(at_ns, Ordering::Relaxed);
    }

    /// How long the latest look is ago, where that is too long; `None` while all is well.
    pub fn stalled_s(&self) -> Option<f64> {
        let ago_ns = (self.ways.clock)().saturating_sub(self.looked_ns.load(Ordering::Relaxed));
        (ago_ns > STALLED_NS).then_some(ago_ns as f64 / 1e9)
    }

    /// Begins a phase.
    ///
    /// # Errors
    ///
    /// Why it cannot have that name.
    pub fn mark(&self, name: &str) -> Result<(), String> {
        (self.ways.mark)(name)
    }

    /// All that is known now; `None` when the observation ends instead of answering.
    pub async fn frame(&self) -> Option<Bytes> {
        let (wanted, frame) = oneshot::channel();
        self.ways.frames.send(wanted).ok()?;
        frame.await.ok()
    }
}

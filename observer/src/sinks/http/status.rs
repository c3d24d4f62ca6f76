//! What the server has to say of itself: for /healthz and its own metrics.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// How it stands with the web configuration file and the certificates it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ConfigState {
    /// There is none.
    #[default]
    Absent,
    /// As it is on disk.
    Current,
    /// What is on disk cannot be used; what was read before goes on. Why, naming the file and the key.
    Stale(String),
}

impl ConfigState {
    /// In words.
    pub fn describe(&self) -> String {
        match self {
            Self::Absent => "no web configuration file".to_owned(),
            Self::Current => "the web configuration is in force as it is on disk".to_owned(),
            Self::Stale(why) => format!("the former web configuration stays in force: {why}"),
        }
    }
}

/// Something that happened while serving, told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The state of the web configuration changed: it cannot be read any more, or can be again, or is a new one.
    Config(ConfigState),
    /// Connections cannot be accepted for want of something, usually descriptors.
    NotAccepting(String),
    /// The server's certificate is good for less than a week: until this instant (RFC 3339).
    CertificateEnds(String),
    /// The server's certificate was good until this instant (RFC 3339).
    CertificateOver(String),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(state) => f.write_str(&state.describe()),
            Self::NotAccepting(why) => write!(f, "connections to the HTTP server wait: {why}"),
            Self::CertificateEnds(end) => write!(
                f,
                "clients will refuse the HTTP server's certificate, or one that goes with it, from {end} on: put a \
                 new one in its place (no restart is needed)"
            ),
            Self::CertificateOver(end) => write!(
                f,
                "clients refuse the HTTP server's certificate, or one that goes with it, since {end}: put a new one \
                 in its place (no restart is needed)"
            ),
        }
    }
}

/// What is counted since the server started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Connections accepted.
    Accepted,
    /// Connections closed at once, because all places were taken by connections being answered.
    TurnedAway,
    /// Connections that waited longest and were closed to make room for another.
    MadeRoom,
    /// TLS handshakes that failed or took too long.
    HandshakeFailed,
    /// Connections cut because a request, its body or the taking of its answer took too long, also for a server that
    /// stops.
    TooSlow,
    /// Requests refused for their user or password, or for lack of them.
    Unauthenticated,
    /// Requests put off because too many passwords were being checked for the same peer.
    PasswordsBusy,
    /// Requests refused by the configured rate limit.
    RateLimited,
    /// Requests that would have changed something, refused for where they came from.
    ForeignOrigin,
    /// Times that accepting failed for want of descriptors or memory.
    AcceptFailed,
    /// Times that the web configuration became unusable, in another way than before.
    ReloadFailed,
}

impl Count {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Accepted,
        Self::TurnedAway,
        Self::MadeRoom,
        Self::HandshakeFailed,
        Self::TooSlow,
        Self::Unauthenticated,
        Self::PasswordsBusy,
        Self::RateLimited,
        Self::ForeignOrigin,
        Self::AcceptFailed,
        Self::ReloadFailed,
    ];

    /// The name, as a label's value.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::TurnedAway => "turned_away",
            Self::MadeRoom => "made_room",
            Self::HandshakeFailed => "handshake_failed",
            Self::TooSlow => "too_slow",
            Self::Unauthenticated => "unauthenticated",
            Self::PasswordsBusy => "passwords_busy",
            Self::RateLimited => "rate_limited",
            Self::ForeignOrigin => "foreign_origin",
            Self::AcceptFailed => "accept_failed",
            Self::ReloadFailed => "reload_failed",
        }
    }
}

/// What the server has to say of itself; may be asked from any thread.
#[derive(Debug, Default)]
pub struct Status {
    config: Mutex<ConfigState>,
    counts: [AtomicU64; Count::ALL.len()],
    open: AtomicU64,
    /// Becomes true when the server stops.
    stopping: watch::Sender<bool>,
}

impl Status {
    /// How it stands with the web configuration.
    pub fn config(&self) -> ConfigState {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often it happened since the server started.
    pub fn count(&self, count: Count) -> u64 {
        self.counts[count as usize].load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub fn open_connections(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Returns once the server is to stop.
    pub(super) async fn stopped(&self) {
        // It fails only when the sender is gone, which is here.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    pub(super) fn add(&self, count: Count) {
        self.counts[count as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_open(&self, open: usize) {
        self.open.store(open as u64, Ordering::Relaxed);
    }

    /// Sets the state and says whether it is another than before.
    pub(super) fn set_config(&self, state: ConfigState) -> bool {
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *config != state;
        *config = state;
        changed
    }
}

/// Where notices go.
pub(super) type Notify = Arc<dyn Fn(Notice) + Send + Sync>;

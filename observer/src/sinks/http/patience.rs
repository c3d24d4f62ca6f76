//! How long a connection may take for what it does: pure, time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// For the first request line and headers in full, counted from the first byte, or from the connection where none comes.
pub(super) const HEAD: Duration = Duration::from_secs(5);
/// Without a request, after an answer.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// For a request from its headers to the last byte of its answer.
pub(super) const ANSWER: Duration = Duration::from_secs(60);
/// Without a byte being taken of what is to be sent.
pub(super) const STALL: Duration = Duration::from_secs(10);

/// When the server stops: for the rest of a request that has begun, and for the end of what has been answered.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// What becomes of a connection at its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deadline {
    /// Nothing was going on: closed, as is usual.
    Idle(Instant),
    /// Something takes too long: cut.
    Late(Instant),
}

impl Deadline {
    pub fn at(self) -> Instant {
        match self {
            Self::Idle(at) | Self::Late(at) => at,
        }
    }
}

/// What a connection is about, as far as deadlines depend on it.
#[derive(Debug)]
pub(super) struct Patience {
    /// Since when no request is being answered; meaningless while one is.
    quiet_since: Instant,
    /// When the first byte of a request came whose headers are not there in full.
    head_since: Option<Instant>,
    /// When the requests being answered came.
    asked: BTreeMap<u64, Instant>,
    next: u64,
    served: bool,
    /// Since when the other end takes nothing of what is to be sent.
    stalled_since: Option<Instant>,
    /// Whether bytes without a request are the beginning of one: not so with HTTP/2.
    bytes_begin_request: bool,
}

/// A request that is being answered.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked(u64);

impl Patience {
    /// Of a new connection.
    pub fn new(now: Instant) -> Self {
        Self {
            quiet_since: now,
            head_since: None,
            asked: BTreeMap::new(),
            next: 0,
            served: false,
            stalled_since: None,
            bytes_begin_request: true,
        }
    }

    /// The handshake is over: requests may come.
    pub fn begin(&mut self, now: Instant, http2: bool) {
        self.quiet_since = now;
        self.bytes_begin_request = !http2;
    }

    /// Bytes came.
    pub fn received(&mut self, now: Instant) {
        if self.asked.is_empty() && self.bytes_begin_request {
            self.head_since.get_or_insert(now);
        }
    }

    /// The headers of a request are there.
    pub fn asked(&mut self, now: Instant) -> Asked {
        let id = self.next;
        self.next += 1;
        self.head_since = None;
        self.asked.insert(id, now);
        Asked(id)
    }

    /// Its answer has been handed over in full, or given up.
    pub fn answered(&mut self, asked: &Asked, now: Instant) {
        self.asked.remove(&asked.0);
        self.served = true;
        self.quiet_since = now;
    }

    /// Bytes wait to be sent, and the other end takes none.
    pub fn stalled(&mut self, now: Instant) {
        self.stalled_since.get_or_insert(now);
    }

    /// The other end took some.
    pub fn sent(&mut self) {
        self.stalled_since = None;
    }

    /// When it is enough.
    pub fn deadline(&self) -> Deadline {
        let going_on = match (self.asked.first_key_value(), self.head_since) {
            (Some((_, since)), _) => Deadline::Late(*since + ANSWER),
            (None, Some(since)) => Deadline::Late(since + HEAD),
            (None, None) if self.served => Deadline::Idle(self.quiet_since + KEEP_ALIVE),
            (None, None) => Deadline::Late(self.quiet_since + HEAD),
        };
        match self.stalled_since.map(|since| since + STALL) {
            Some(stall) if stall < going_on.at() => Deadline::Late(stall),
            _ => going_on,
        }
    }

    /// The same for a server that stops, since `stopped`. Who waits for an answer, or has not taken all of one, gets
    /// it; of who has begun a request, the rest is waited for, but not for long, and as long for who has been answered
    /// to close: HTTP/1 does that by itself, while an HTTP/2 client that looks elsewhere may never do so.
    pub fn deadline_stopping(&self, stopped: Instant) -> Deadline {
        if !self.asked.is_empty() || self.stalled_since.is_some() {
            return self.deadline();
        }
        let has_begun = self.head_since.is_some() || self.served;
        Deadline::Idle(if has_begun { self.quiet_since.max(stopped) + LINGER } else { stopped })
    }

    /// Who may be closed to make room for another, the smallest first: who never asked, then who waits longest. `None`
    /// where a request is being answered.
    pub fn dispensable(&self) -> Option<(bool, Instant)> {
        self.asked.is_empty().then_some((self.served, self.quiet_since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn who_sends_nothing_is_cut_after_the_time_for_headers() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        patience.begin(start + seconds(2), false);
        assert_eq!(patience.deadline(), Deadline::Late(start + seconds(2) + HEAD));
    }

    #[test]
    fn dribbled_headers_have_one_time_in_all() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        for second in 1..4 {
            patience.received(start + seconds(second));
        }
        assert_eq!(patience.deadline(), Deadline::Late(start + seconds(1) + HEAD));
    }

    #[test]
    fn between_requests_it_may_wait_and_a_new_one_has_its_own_time() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        let asked = patience.asked(start);
        assert_eq!(patience.deadline(), Deadline::Late(start + ANSWER));
        patience.answered(&asked, start + seconds(1));
        assert_eq!(patience.deadline(), Deadline::Idle(start + seconds(1) + KEEP_ALIVE));
        patience.received(start + seconds(50));
        assert_eq!(patience.deadline(), Deadline::Late(start + seconds(50) + HEAD));
    }

    #[test]
    fn the_oldest_of_several_requests_counts() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        patience.begin(start, true);
        let first = patience.asked(start);
        let second = patience.asked(start + seconds(9));
        assert_eq!(patience.deadline(), Deadline::Late(start + ANSWER));
        patience.answered(&first, start + seconds(10));
        assert_eq!(patience.deadline(), Deadline::Late(start + seconds(9) + ANSWER));
        assert_eq!(patience.dispensable(), None);
        patience.answered(&second, start + seconds(11));
        patience.received(start + seconds(12));
        assert_eq!(patience.deadline(), Deadline::Idle(start + seconds(11) + KEEP_ALIVE));
    }

    #[test]
    fn who_takes_nothing_is_cut_and_who_takes_some_is_not() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        patience.asked(start);
        patience.stalled(start + seconds(3));
        patience.stalled(start + seconds(8));
        assert_eq!(patience.deadline(), Deadline::Late(start + seconds(3) + STALL));
        patience.sent();
        assert_eq!(patience.deadline(), Deadline::Late(start + ANSWER));
    }

    #[test]
    fn a_server_that_stops_waits_for_answers_and_little_else() {
        let (start, stopped) = (Instant::now(), Instant::now() + seconds(100));
        let mut patience = Patience::new(start);
        assert_eq!(patience.deadline_stopping(stopped), Deadline::Idle(stopped));
        patience.received(start + seconds(99));
        assert_eq!(patience.deadline_stopping(stopped), Deadline::Idle(stopped + LINGER));
        let asked = patience.asked(stopped);
        assert_eq!(patience.deadline_stopping(stopped), Deadline::Late(stopped + ANSWER));
        patience.stalled(stopped + seconds(1));
        patience.answered(&asked, stopped + seconds(2));
        assert_eq!(patience.deadline_stopping(stopped), Deadline::Late(stopped + seconds(1) + STALL));
        patience.sent();
        assert_eq!(patience.deadline_stopping(stopped), Deadline::Idle(stopped + seconds(2) + LINGER));
    }

    #[test]
    fn who_never_asked_makes_room_first() {
        let start = Instant::now();
        let silent = Patience::new(start + seconds(9));
        let mut served = Patience::new(start);
        let asked = served.asked(start);
        served.answered(&asked, start + seconds(1));
        assert!(silent.dispensable() < served.dispensable());
    }
}

//! Basic authentication against bcrypt hashes.
//!
//! A check costs tens of milliseconds by design. So it runs beside the event loop, one at a time; who was right before
//! is known again without one, so that a scrape each second costs nothing; and no peer may have more than a few
//! waiting, so that wrong passwords do not hold up others. After a wrong one, checking rests: a flood of them costs a
//! quarter of a core.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use tokio::sync::{Semaphore, oneshot};

use super::places::{Peer, lock};

/// Checks that one peer may have waiting, the one under way included.
const WAITING_PER_PEER: usize = 8;

/// After a wrong password, checking rests for as many times as long as the check took.
const REST: u32 = 3;

/// Wrong credentials that are remembered, so that a scraper with an old password costs one check, not one a second.
const WRONG_ONES: usize = 64;

/// What a request said of who it is from.
pub(super) struct Credentials {
    user: String,
    password: Vec<u8>,
}

impl Credentials {
    /// From the headers of a request; `None` where there are none that could be right.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = BASE64_STANDARD.decode(encoded.trim_matches(' ')).ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        let user = std::str::from_utf8(&decoded[..colon]).ok()?.to_owned();
        Some(Self { user, password: decoded[colon + 1..].to_vec() })
    }
}

/// Whether somebody is who they say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// The user whose password it is.
    Right(Arc<str>),
    Wrong,
    /// Not checked: too many checks for this peer are waiting.
    Busy,
}

/// Checks passwords and remembers outcomes, by a keyed digest of user, hash and password: neither passwords nor what
/// could be compared with a list of them stay in memory.
pub(super) struct Passwords {
    key: hmac::Key,
    outcomes: Arc<Mutex<Outcomes>>,
    turn: Arc<Semaphore>,
    waiting: Arc<Mutex<HashMap<Peer, usize>>>,
    /// Waits for so long: sleeps, but in tests.
    rest: Arc<dyn Fn(Duration) + Send + Sync>,
}

/// What is known without a check.
#[derive(Default)]
struct Outcomes {
    /// Of each user the credentials that were right last.
    right: HashMap<String, hmac::Tag>,
    wrong: VecDeque<hmac::Tag>,
}

impl Outcomes {
    fn remember(&mut self, user: String, tag: hmac::Tag, is_right: bool) {
        if is_right {
            self.right.insert(user, tag);
        } else {
            self.wrong.truncate(WRONG_ONES - 1);
            self.wrong.push_front(tag);
        }
    }
}

impl Passwords {
    /// # Errors
    /// The kernel gives no random numbers.
    pub fn new() -> Result<Self, ring::error::Unspecified> {
        Ok(Self {
            key: hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new())?,
            outcomes: Arc::default(),
            turn: Arc::new(Semaphore::new(1)),
            waiting: Arc::default(),
            rest: Arc::new(thread::sleep),
        })
    }

    /// Checks credentials against `users` (each with a bcrypt hash).
    ///
    /// An unknown user takes the time of a known one: the password is held against somebody else's hash for nothing.
    pub async fn check(&self, users: &BTreeMap<String, String>, peer: Peer, given: Credentials) -> Checked {
        let known = users.get(&given.user);
        let Some(hash) = known.or_else(|| self.stand_in(users, &given.user)) else { return Checked::Wrong };
        let tag = self.tag(&given, hash);
        if known.is_some() && self.was_right(&given, hash) {
            return Checked::Right(given.user.into());
        }
        if lock(&self.outcomes).wrong.iter().any(|wrong| wrong.as_ref() == tag.as_ref()) {
            return Checked::Wrong;
        }
        let Some(waiting) = Waiting::enter(&self.waiting, peer) else { return Checked::Busy };
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return Checked::Busy };
        // Somebody else with the same credentials may have waited before.
        if known.is_some() && self.was_right(&given, hash) {
            return Checked::Right(given.user.into());
        }
        lock(&self.outcomes).right.retain(|user, _| users.contains_key(user));
        let (user, password, hash) = (given.user.clone(), given.password, hash.clone());
        let (outcomes, rest, is_known) =
            (Arc::clone(&self.outcomes), Arc::clone(&self.rest), known.is_some());
        let (told, outcome) = oneshot::channel();
        // The place in the queue is held until the work is done, also when who asked has gone meanwhile; and the outcome
        // is remembered, so that it is there when they ask again.
        tokio::task::spawn_blocking(move || {
            let begun = Instant::now();
            let right = bcrypt::verify(&password, &hash).unwrap_or(false) && is_known;
            let took = begun.elapsed();
            lock(&outcomes).remember(user, tag, right);
            drop(waiting);
            let _ = told.send(right);
            if !right {
                rest(took * REST);
            }
            drop(turn);
        });
        if outcome.await.unwrap_or(false) { Checked::Right(given.user.into()) } else { Checked::Wrong }
    }

    /// The hash of some user, always the same one for the same name.
    fn stand_in<'a>(&self, users: &'a BTreeMap<String, String>, name: &str) -> Option<&'a String> {
        let tag = hmac::sign(&self.key, name.as_bytes());
        let some = tag.as_ref().iter().fold(0, |sum, byte| sum + usize::from(*byte));
        users.values().nth(some % users.len().max(1))
    }

    fn was_right(&self, given: &Credentials, hash: &str) -> bool {
        let outcomes = lock(&self.outcomes);
        let message = message(given, hash);
        outcomes
            .right
            .get(&given.user)
            .is_some_and(|tag| hmac::verify(&self.key, &message, tag.as_ref()).is_ok())
    }

    fn tag(&self, given: &Credentials, hash: &str) -> hmac::Tag {
        hmac::sign(&self.key, &message(given, hash))
    }
}

/// The hash has no zero byte in it, nor can the user's name hide where it ends.
fn message(given: &Credentials, hash: &str) -> Vec<u8> {
    let user = given.user.as_bytes();
    [&(user.len() as u64).to_be_bytes()[..], user, hash.as_bytes(), b"\0", &given.password].concat()
}

/// One check that a peer has waiting or under way.
struct Waiting {
    all: Arc<Mutex<HashMap<Peer, usize>>>,
    peer: Peer,
}

impl Waiting {
    fn enter(all: &Arc<Mutex<HashMap<Peer, usize>>>, peer: Peer) -> Option<Self> {
        let mut counts = lock(all);
        let count = counts.entry(peer).or_default();
        if *count >= WAITING_PER_PEER {
            return None;
        }
        *count += 1;
        Some(Self { all: Arc::clone(all), peer })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut counts = lock(&self.all);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests;

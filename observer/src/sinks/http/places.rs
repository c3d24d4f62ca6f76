//! The places for connections: how many there are, and who makes room when none is left.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::task::AbortHandle;

use super::patience::Patience;
use super::status::{Count, Status};

/// Connections at a time.
pub(super) const TOTAL: usize = 256;
/// Connections of one peer at a time.
pub(super) const PER_PEER: usize = 32;

/// What counts as one peer: an IPv4 address, or the /64 of an IPv6 address, which is one machine's to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Peer(IpAddr);

impl Peer {
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(v6) => Self(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into()),
            v4 => Self(v4),
        }
    }
}

/// What a connection is about, shared by those who see parts of it.
pub(super) type SharedPatience = Arc<Mutex<Patience>>;

/// Locks what no panic can leave in disorder.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All places.
pub(super) struct Places {
    taken: Mutex<Taken>,
    status: Arc<Status>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    by: BTreeMap<u64, Guest>,
}

struct Guest {
    peer: Peer,
    patience: SharedPatience,
    /// Ends the connection; not known until its task is spawned.
    task: Option<AbortHandle>,
}

/// A place that is taken until this is dropped.
pub(super) struct Place {
    id: u64,
    places: Arc<Places>,
    patience: SharedPatience,
}

impl Places {
    pub fn new(status: Arc<Status>) -> Arc<Self> {
        Arc::new(Self { taken: Mutex::default(), status })
    }

    /// Takes a place. When the peer has all of its own, or all are taken, the connection that can be spared best makes
    /// room: among the peer's own, or among all. `None` when every one of them is being answered.
    pub fn take(self: &Arc<Self>, peer: Peer, now: Instant) -> Option<Place> {
        let mut taken = lock(&self.taken);
        let own = |guest: &Guest| guest.peer == peer;
        let room = if taken.by.values().filter(|guest| own(guest)).count() >= PER_PEER {
            taken.make_room(own)
        } else if taken.by.len() >= TOTAL {
            taken.make_room(|_| true)
        } else {
            Some(false)
        };
        match room {
            None => {
                self.status.add(Count::TurnedAway);
                return None;
            }
            Some(true) => self.status.add(Count::MadeRoom),
            Some(false) => {}
        }
        let id = taken.next;
        taken.next += 1;
        let patience = Arc::new(Mutex::new(Patience::new(now)));
        taken.by.insert(id, Guest { peer, patience: Arc::clone(&patience), task: None });
        self.status.set_open(taken.by.len());
        Some(Place { id, places: Arc::clone(self), patience })
    }

    /// Says which task ends when the place is needed by another.
    pub fn set_task(&self, id: u64, task: AbortHandle) {
        if let Some(guest) = lock(&self.taken).by.get_mut(&id) {
            guest.task = Some(task);
        }
    }
}

impl Taken {
    /// Frees the place that can be spared best. `None` when none can, else true.
    fn make_room(&mut self, among: impl Fn(&Guest) -> bool) -> Option<bool> {
        let spare = |(id, guest): (&u64, &Guest)| Some((lock(&guest.patience).dispensable()?, *id));
        let (_, id) = self.by.iter().filter(|(_, guest)| among(guest)).filter_map(spare).min()?;
        if let Some(task) = self.by.remove(&id).and_then(|guest| guest.task) {
            task.abort();
        }
        Some(true)
    }
}

impl Place {
    pub fn id(&self) -> u64 {
        self.id
    }

    pub fn patience(&self) -> &SharedPatience {
        &self.patience
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.places.taken);
        // Who made room is gone from here already.
        taken.by.remove(&self.id);
        self.places.status.set_open(taken.by.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u32) -> Peer {
        Peer::of(IpAddr::V4(n.into()))
    }

    #[test]
    fn a_peer_makes_room_among_its_own() {
        let places = Places::new(Arc::default());
        let now = Instant::now();
        let other = places.take(peer(2), now).unwrap();
        let held: Vec<Place> = (0..PER_PEER).map(|_| places.take(peer(1), now).unwrap()).collect();
        let more = places.take(peer(1), now).unwrap();
        let taken = lock(&places.taken);
        assert!(!taken.by.contains_key(&held[0].id));
        assert!(taken.by.contains_key(&other.id) && taken.by.contains_key(&more.id));
        assert_eq!(taken.by.len(), PER_PEER + 1);
        assert_eq!(places.status.count(Count::MadeRoom), 1);
        drop(taken);
    }

    #[test]
    fn nobody_who_is_being_answered_makes_room() {
        let places = Places::new(Arc::default());
        let now = Instant::now();
        let held: Vec<Place> = (0..PER_PEER).map(|_| places.take(peer(1), now).unwrap()).collect();
        for place in &held {
            lock(place.patience()).asked(now);
        }
        assert!(places.take(peer(1), now).is_none());
        assert_eq!(places.status.count(Count::TurnedAway), 1);
        assert!(places.take(peer(2), now).is_some());
        drop(held);
        assert_eq!(places.status.open_connections(), 0);
    }

    #[test]
    fn there_is_an_end_to_all_places() {
        let places = Places::new(Arc::default());
        let now = Instant::now();
        let held: Vec<Place> = (0..2 * TOTAL as u32).map(|n| places.take(peer(n), now).unwrap()).collect();
        assert_eq!(places.status.open_connections(), TOTAL as u64);
        drop(held);
    }

    #[test]
    fn one_machine_is_one_peer_whatever_address_it_chooses() {
        let of = |text: &str| Peer::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.2"), of("192.0.2.1"));
    }
}

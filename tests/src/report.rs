//! What the lab and its roles say to each other: one JSON value per line.
//!
//! Roles report on their standard output and take orders on their standard input. For the command under
//! observation both go through `observer run`, which has to leave them untouched.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::clock::Bracket;

/// How often one errno was returned to the application, and when first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrnoCount {
    /// The errno.
    pub errno: i32,
    /// How often.
    pub count: u64,
    /// Around the first system call that returned it.
    pub first: Bracket,
}

/// What a role has seen so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Workers that are at work.
    pub active: u64,
    /// Connections established by the role.
    pub connected: u64,
    /// How often segments of established connections were sent again, by the sockets' own account.
    pub retransmits: u64,
    /// Requests answered, connections accepted, or ports taken.
    pub done: u64,
    /// Connections that the role gave up, since they were not established in time.
    pub unconnected: u64,
    /// How many of them had sent their SYN again.
    pub abandoned: u64,
    /// Around the first of those.
    pub first_abandoned: Option<Bracket>,
    /// How often SYNs were sent again, by the sockets' own account.
    pub syn_retransmits: u64,
    /// Requests that the role gave up, since they were not answered in time.
    pub unanswered: u64,
    /// Errors by errno.
    pub errnos: Vec<ErrnoCount>,
}

impl Tally {
    /// The count and first instant of one errno.
    pub fn errno(&self, errno: i32) -> Option<&ErrnoCount> {
        self.errnos.iter().find(|entry| entry.errno == errno)
    }

    /// How often one errno was returned.
    pub fn count(&self, errno: i32) -> u64 {
        self.errno(errno).map_or(0, |entry| entry.count)
    }
}

/// From a role to the lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The role is set up.
    Ready {
        /// Its process id.
        pid: u32,
        /// Inode number of its network namespace.
        netns: u32,
    },
    /// The role has done what it was started for, and now holds what it has.
    Holding,
    /// The answer to [`Order::Tally`], and the last word of a role.
    Tally(Tally),
    /// Raw packets sent and answered.
    Packets {
        /// SYNs sent.
        syns: u64,
        /// Different SYN-ACKs seen.
        syn_acks: u64,
        /// Final ACKs sent.
        acks: u64,
    },
    /// A load of known shape is over.
    Shaped {
        /// When each of its parts ended, on CLOCK_MONOTONIC.
        ends_ns: Vec<u64>,
        /// How late a connection was opened at worst.
        late_ns: u64,
    },
    /// Signals caught, by number.
    Signals(Vec<i32>),
}

impl Report {
    /// Writes the report as a line.
    pub fn send(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        serde_json::to_writer(&mut out, self)?;
        out.write_all(b"\n")?;
        out.flush()
    }
}

/// From the lab to a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Report the tally.
    Tally,
    /// Make no more trouble: a service is healthy from now on, a load goes on with one worker.
    Relent,
    /// Accept, or begin, where that was paused.
    Resume,
    /// Take memory until there is none.
    Swell,
    /// Close everything and end.
    Stop,
}

/// The orders on standard input, until it ends.
pub fn orders() -> impl Iterator<Item = Order> {
    io::stdin().lock().lines().map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok())
}

/// A tally that several threads write.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    tally: Tally,
    errnos: BTreeMap<i32, ErrnoCount>,
}

impl Ledger {
    /// A worker begins.
    pub fn begins(&self) {
        self.book().tally.active += 1;
    }

    /// A worker has come to its end.
    pub fn ends(&self) {
        self.book().tally.active -= 1;
    }

    /// One more connection established.
    pub fn connected(&self) {
        self.book().tally.connected += 1;
    }

    /// A connect has ended, after it had sent its SYN again so many times.
    pub fn syn_retransmits(&self, count: u64) {
        self.book().tally.syn_retransmits += count;
    }

    /// A connection has ended, after it had sent segments again so many times.
    pub fn retransmits(&self, count: u64) {
        self.book().tally.retransmits += count;
    }

    /// One more connection given up, within `bracket`, after so many further SYNs.
    pub fn unconnected(&self, syn_retransmits: u64, bracket: Bracket) {
        let tally = &mut self.book().tally;
        tally.unconnected += 1;
        if syn_retransmits > 0 {
            tally.abandoned += 1;
            let first = tally.first_abandoned.get_or_insert(bracket);
            *first = earlier(*first, bracket);
        }
    }

    /// One more request answered, connection accepted or port taken.
    pub fn done(&self) {
        self.book().tally.done += 1;
    }

    /// One more attempt failed, within `bracket`; an error without an errno is the role's own impatience.
    pub fn failed(&self, error: &io::Error, bracket: Bracket) {
        let mut book = self.book();
        match error.raw_os_error() {
            None => book.tally.unanswered += 1,
            Some(errno) => {
                let entry =
                    book.errnos.entry(errno).or_insert(ErrnoCount { errno, count: 0, first: bracket });
                entry.count += 1;
                entry.first = earlier(entry.first, bracket);
            }
        }
    }

    /// The tally so far.
    pub fn tally(&self) -> Tally {
        let book = self.book();
        Tally { errnos: book.errnos.values().copied().collect(), ..book.tally.clone() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Threads may report out of order: the earliest end is the tightest true statement.
fn earlier(one: Bracket, other: Bracket) -> Bracket {
    if other.to_ns < one.to_ns { other } else { one }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::Ledger;
    use crate::clock::Bracket;

    #[test]
    fn the_earliest_occurrence_is_kept_whatever_the_order() {
        let ledger = Ledger::default();
        let error = io::Error::from_raw_os_error(libc::EMFILE);
        ledger.failed(&error, Bracket { from_ns: 20, to_ns: 30 });
        ledger.failed(&error, Bracket { from_ns: 10, to_ns: 15 });
        let tally = ledger.tally();
        assert_eq!(tally.count(libc::EMFILE), 2);
        assert_eq!(tally.errno(libc::EMFILE).map(|e| e.first.from_ns), Some(10));
        assert_eq!(tally.count(libc::EADDRINUSE), 0);
    }

    #[test]
    fn a_connect_is_abandoned_only_after_a_further_syn() {
        let ledger = Ledger::default();
        ledger.unconnected(0, Bracket { from_ns: 1, to_ns: 2 });
        ledger.unconnected(2, Bracket { from_ns: 20, to_ns: 30 });
        ledger.unconnected(1, Bracket { from_ns: 10, to_ns: 15 });
        let tally = ledger.tally();
        assert_eq!((tally.unconnected, tally.abandoned), (3, 2));
        assert_eq!(tally.first_abandoned, Some(Bracket { from_ns: 10, to_ns: 15 }));
    }
}

//! The log behind `/api/v1/events`: what happened, numbered, so that who lost the connection can go on.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use tokio::sync::watch;

use crate::core::{
    event::{Event, What},
    time::rfc3339,
    verdict::HitSubject,
};

/// As many events are kept for who comes back.
const KEPT: usize = 1_000;

/// An event as it is sent.
#[derive(Clone, Debug)]
pub struct Numbered {
    number: u64,
    /// The text of it: `id`, `event` and `data`, and the empty line that ends it.
    pub text: Arc<str>,
}

/// What happened lately.
#[derive(Debug)]
pub struct EventLog {
    /// Tells the events of this observation from those of another.
    run: String,
    kept: Mutex<VecDeque<Numbered>>,
    /// The number of the latest.
    latest: watch::Sender<u64>,
}

/// Who follows the log.
#[derive(Debug)]
pub struct Follower {
    log: Arc<EventLog>,
    /// The number of the latest that it got.
    got: u64,
    latest: watch::Receiver<u64>,
}

impl EventLog {
    /// An empty log of an observation.
    pub fn new(run: &str) -> Self {
        let latest = watch::Sender::new(0);
        Self { run: run.to_owned(), kept: Mutex::default(), latest }
    }

    /// Enters what happened. `real_ns` tells CLOCK_REALTIME of an instant of CLOCK_MONOTONIC.
    pub fn enter(&self, events: &[Event], real_ns: impl Fn(u64) -> u64) {
        if events.is_empty() {
            return;
        }
        let mut kept = self.kept();
        let mut number = *self.latest.borrow();
        for event in events {
            number += 1;
            let row =
                Row { mono_ns: event.at_ns, time: rfc3339(real_ns(event.at_ns)), what: (&event.what).into() };
            let data = serde_json::to_string(&row).unwrap_or_default();
            let text = format!("id: {}-{number}\nevent: {}\ndata: {data}\n\n", self.run, event.what.name());
            kept.push_back(Numbered { number, text: text.into() });
        }
        let excess = kept.len().saturating_sub(KEPT);
        kept.drain(..excess);
        drop(kept);
        self.latest.send_replace(number);
    }

    /// Follows from behind the event with this id; without one, or with another observation's, from the oldest
    /// that is kept.
    pub fn follow(self: &Arc<Self>, last_id: Option<&str>) -> Follower {
        let of_run = last_id.and_then(|id| id.strip_prefix(self.run.as_str())?.strip_prefix('-'));
        let got = of_run.and_then(|number| number.parse().ok()).unwrap_or(0);
        Follower { log: Arc::clone(self), got, latest: self.latest.subscribe() }
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Numbered>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Follower {
    /// What is new, as it is sent; waits until there is something. `None` when the log is no more. Events that
    /// are no longer kept are told by their number.
    pub async fn next(&mut self) -> Option<String> {
        let got = self.got;
        self.latest.wait_for(|latest| *latest > got).await.ok()?;
        let kept = self.log.kept();
        let news: Vec<&Numbered> = kept.iter().filter(|event| event.number > got).collect();
        let (first, last) = (news.first()?.number, news.last()?.number);
        let missed = first - got - 1;
        let mut text = String::new();
        if missed > 0 {
            text = format!("event: missed\ndata: {{\"count\":{missed}}}\n\n");
        }
        text.extend(news.iter().map(|event| &*event.text));
        self.got = last;
        Some(text)
    }
}

/// The data of an event.
#[derive(Serialize)]
struct Row<'a> {
    mono_ns: u64,
    time: String,
    #[serde(flatten)]
    what: Data<'a>,
}

/// What an event says, in the contract's words.
#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Started {},
    Ended { exit_status: Option<i32> },
    Phase { phase: &'a str },
    Onset { fault_line: &'a str, subject: &'a HitSubject, onset_lo_mono_ns: u64, onset_hi_mono_ns: u64 },
    KernelLog { text: &'a str },
    Unreadable { source: &'a str, why: &'a str },
    Loss { reason: &'a str, count: u64 },
}

impl<'a> From<&'a What> for Data<'a> {
    fn from(what: &'a What) -> Self {
        match what {
            What::Started => Self::Started {},
            What::Ended { exit_status } => Self::Ended { exit_status: *exit_status },
            What::Phase { name } => Self::Phase { phase: name },
            What::Onset { fault_line, subject, at } => {
                Self::Onset { fault_line, subject, onset_lo_mono_ns: at.lo_ns, onset_hi_mono_ns: at.hi_ns }
            }
            What::KernelLog { text } => Self::KernelLog { text },
            What::Unreadable { source, why } => Self::Unreadable { source, why },
            What::Loss { reason, count } => Self::Loss { reason, count: *count },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(events: u64) -> Arc<EventLog> {
        let log = Arc::new(EventLog::new("run"));
        (1..=events).for_each(|at_ns| log.enter(&[Event { at_ns, what: What::Started }], |mono_ns| mono_ns));
        log
    }

    fn next(follower: &mut Follower) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(follower.next()).expect("news")
    }

    fn ids(text: &str) -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix("id: ")).collect()
    }

    #[test]
    fn who_comes_back_gets_what_came_meanwhile_and_nothing_twice() {
        let log = log(5);
        let mut follower = log.follow(Some("run-3"));
        assert_eq!(ids(&next(&mut follower)), ["run-4", "run-5"]);
        log.enter(&[Event { at_ns: 6, what: What::Loss { reason: "ring_full".into(), count: 2 } }], |ns| ns);
        let text = next(&mut follower);
        assert!(text.starts_with("id: run-6\nevent: loss\ndata: {\"mono_ns\":6,"), "{text}");
        assert!(text.ends_with("\"reason\":\"ring_full\",\"count\":2}\n\n"), "{text}");
    }

    #[test]
    fn another_observations_id_begins_from_the_oldest() {
        let log = log(2);
        for id in [None, Some("other-1"), Some("run-x"), Some("")] {
            assert_eq!(ids(&next(&mut log.follow(id))), ["run-1", "run-2"], "{id:?}");
        }
    }

    #[test]
    fn what_is_no_longer_kept_is_told_by_its_number() {
        let text = next(&mut log(KEPT as u64 + 7).follow(Some("run-2")));
        assert!(text.starts_with("event: missed\ndata: {\"count\":5}\n\nid: run-8\n"), "{}", &text[..80]);
    }

    #[test]
    fn line_breaks_in_the_kernels_log_do_not_end_an_event() {
        let log = log(0);
        log.enter(&[Event { at_ns: 1, what: What::KernelLog { text: "a\n\nid: b".into() } }], |ns| ns);
        let text = next(&mut log.follow(None));
        assert_eq!(text.matches("\n\n").count(), 1, "{text}");
    }
}

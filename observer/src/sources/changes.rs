//! Lets through what changed, and says between which two reads it did.
//!
//! The instant of a change lies after the beginning of the last read that still gave the former value, and
//! before the end of the read that gave the new one. Every item therefore remembers when its latest read
//! began, whether or not that read brought anything new.

use std::collections::HashMap;

use observer_common::Signal;

use crate::core::{
    fact_key::FactKey,
    frame::{Fact, Frame, Resource, SignalSample, Tier, UsageSample},
    subject::{Controller, Subject},
};

/// The two instants that bracket one read of a file or one dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Just before it began.
    pub before_ns: u64,
    /// Just after it had ended.
    pub after_ns: u64,
}

impl Window {
    /// Does `read` between two looks at the clock.
    pub fn around<T>(clock: &dyn Fn() -> u64, read: impl FnOnce() -> T) -> (Self, T) {
        let before_ns = clock();
        let value = read();
        (Self { before_ns, after_ns: clock() }, value)
    }
}

/// A counter as it was read last.
#[derive(Debug)]
struct Counter {
    /// What the kernel said.
    raw: u64,
    /// What it had reached when it began anew, so that the sample never falls.
    base: u64,
    before_ns: u64,
}

/// A usage as it was read last.
#[derive(Debug)]
struct Gauge {
    used: u64,
    limit: Option<u64>,
    before_ns: u64,
}

/// Everything as it was read last.
#[derive(Debug, Default)]
pub struct Changes {
    counters: HashMap<(Signal, Subject), Counter>,
    gauges: HashMap<(Resource, Subject), Gauge>,
    facts: HashMap<FactKey, Fact>,
}

/// Where a source puts what it read: into the frame, if it is news.
#[derive(Debug)]
pub struct Samples<'f> {
    frame: &'f mut Frame,
    changes: &'f mut Changes,
}

impl<'f> Samples<'f> {
    /// Puts what changed against `changes` into `frame`.
    pub fn new(frame: &'f mut Frame, changes: &'f mut Changes) -> Self {
        Self { frame, changes }
    }

    /// The frame so far, what others put there included.
    pub fn frame(&self) -> &Frame {
        self.frame
    }

    /// A counter of the kernel's was read.
    pub fn signal(&mut self, signal: Signal, subject: &Subject, raw: u64, window: Window) {
        let known = self.changes.counters.entry((signal, subject.clone()));
        let mut first = false;
        let counter = known.or_insert_with(|| {
            first = true;
            Counter { raw, base: 0, before_ns: window.before_ns }
        });
        let since_ns = if first { window.after_ns } else { counter.before_ns };
        counter.before_ns = window.before_ns;
        if !first && counter.raw == raw {
            return;
        }
        if raw < counter.raw {
            counter.base = counter.base.saturating_add(counter.raw);
        }
        counter.raw = raw;
        self.frame.signals.push(SignalSample {
            signal,
            tier: Tier::Counter,
            subject: subject.clone(),
            reason: None,
            generator: false,
            count: counter.base.saturating_add(raw),
            first_ns: None,
            last_ns: None,
            peak: None,
            limit: None,
            read_ns: window.after_ns,
            since_ns,
        });
    }

    /// A resource in use was read.
    pub fn usage(
        &mut self,
        resource: Resource,
        subject: &Subject,
        used: u64,
        limit: Option<(u64, &str)>,
        window: Window,
    ) {
        let value = limit.map(|(value, _)| value);
        let mut first = false;
        let gauge = self.changes.gauges.entry((resource, subject.clone())).or_insert_with(|| {
            first = true;
            Gauge { used, limit: value, before_ns: window.before_ns }
        });
        let since_ns = if first { window.after_ns } else { gauge.before_ns };
        gauge.before_ns = window.before_ns;
        if !first && gauge.used == used && gauge.limit == value {
            return;
        }
        (gauge.used, gauge.limit) = (used, value);
        self.frame.usages.push(UsageSample {
            resource,
            subject: subject.clone(),
            used,
            limit: value,
            limit_set_by: limit.map(|(_, by)| by.to_owned()),
            read_ns: window.after_ns,
            since_ns,
        });
    }

    /// The subject of a usage is no more, or no longer followed: says so with `used`, and forgets it.
    pub fn usage_ends(&mut self, resource: Resource, subject: &Subject, used: u64, window: Window) {
        let Some(gauge) = self.changes.gauges.remove(&(resource, subject.clone())) else { return };
        if gauge.used == used {
            return;
        }
        self.frame.usages.push(UsageSample {
            resource,
            subject: subject.clone(),
            used,
            limit: gauge.limit,
            limit_set_by: None,
            read_ns: window.after_ns,
            since_ns: gauge.before_ns,
        });
    }

    /// The subject of a counter is no more. It is forgotten unless it counted anything: if it comes back,
    /// its samples must not fall.
    pub fn signal_ends(&mut self, signal: Signal, subject: &Subject) {
        let key = (signal, subject.clone());
        if self.changes.counters.get(&key).is_some_and(|counter| counter.base == 0 && counter.raw == 0) {
            self.changes.counters.remove(&key);
        }
    }

    /// Something was learnt.
    pub fn fact(&mut self, fact: Fact) {
        let key = FactKey::of(&fact);
        if self.changes.facts.get(&key) != Some(&fact) {
            self.changes.facts.insert(key, fact.clone());
            self.frame.facts.push(fact);
        }
    }

    /// A process is no more: if its id comes back, it is told again.
    pub fn process_ends(&mut self, pid: u32) {
        for controller in Controller::ALL {
            self.changes.facts.remove(&FactKey::ProcessCgroup(pid, *controller));
        }
        if self.changes.facts.remove(&FactKey::Process(pid)).is_some() {
            let its_own = format!("pid {pid} ");
            self.changes
                .facts
                .retain(|key, _| !matches!(key, FactKey::Limit(_, place) if place.starts_with(&its_own)));
        }
    }

    /// A network namespace is no more, or out of sight: nothing is in use there, and if it comes back its
    /// limits are told again.
    pub fn namespace_ends(&mut self, netns: u32, window: Window) {
        let gauges = self.changes.gauges.keys().filter(|(_, subject)| subject.netns == Some(netns));
        for (resource, subject) in gauges.cloned().collect::<Vec<_>>() {
            self.usage_ends(resource, &subject, 0, window);
        }
        let place = format!("netns {netns}");
        self.changes.facts.retain(|key, _| !matches!(key, FactKey::Limit(_, other) if *other == place));
        // Counters are kept where they count: if the namespace comes back they must not fall.
        self.changes.counters.retain(|(_, subject), counter| {
            subject.netns != Some(netns) || counter.base > 0 || counter.raw > 0
        });
    }

    /// A process no longer holds a listener.
    pub fn owner_ends(&mut self, netns: u32, listener: std::net::SocketAddr, pid: u32) {
        self.changes.facts.remove(&FactKey::ListenerOwner(netns, listener, pid));
    }
}

#[cfg(test)]
mod tests;

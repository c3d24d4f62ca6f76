//! What is counted for as long as observer runs.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use observer_common::Signal;
use prometheus::{Error, IntCounter, IntCounterVec, Opts, Registry};

use super::place;
use crate::core::{
    engine::{Engine, Update},
    frame::{Frame, Loss},
    ledger::Increment,
    subject::Subject,
};

/// As many subjects of one signal get series of their own,
const OF_SIGNAL: usize = 6;
/// and as many of all signals: with an `other` for each signal and kind of place, and the gauges, there is room for
/// no more.
const OF_ALL: usize = 130;
/// As many reasons of losses are told apart.
const REASONS: usize = 40;

/// The counters, and which subjects have one.
#[derive(Debug)]
pub(super) struct Counters {
    signals: IntCounterVec,
    crowded: IntCounter,
    lost: IntCounterVec,
    ticks: IntCounter,
    late: IntCounter,
    episodes: IntCounter,
    /// Held by the thread that counts, for the time of a tick.
    admitted: Mutex<Admitted>,
}

#[derive(Debug, Default)]
struct Admitted {
    signals: BTreeMap<(Signal, Subject), IntCounter>,
    of_signal: BTreeMap<Signal, usize>,
    others: BTreeMap<(Signal, [&'static str; place::LABELS.len()]), IntCounter>,
    /// The losses by reason: how many were told, and where they count.
    losses: BTreeMap<String, (u64, IntCounter)>,
}

impl Counters {
    /// Registers them.
    pub(super) fn register(registry: &Registry) -> Result<Self, Error> {
        let vec = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, Error> {
            let vec = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok(vec)
        };
        let one = |name: &str, help: &str| -> Result<IntCounter, Error> {
            let one = IntCounter::new(name, help)?;
            registry.register(Box::new(one.clone()))?;
            Ok(one)
        };
        let of_place = [&["signal"][..], &place::LABELS].concat();
        Ok(Self {
            signals: vec(
                "observer_signal_total",
                "What the kernel did, by signal and place, since observer began; later places count as other.",
                &of_place,
            )?,
            lost: vec(
                "observer_events_lost_total",
                "What is known to have happened and is in no count, by reason.",
                &["reason"],
            )?,
            crowded: one(
                "observer_signal_other_total",
                "What observer_signal_total counts as other, because the series are given away.",
            )?,
            ticks: one("observer_ticks_total", "Looks at the kernel.")?,
            late: one("observer_ticks_late_total", "Looks that came more than 200 ms after the one before.")?,
            episodes: one("observer_episodes_total", "Episodes that have begun.")?,
            admitted: Mutex::default(),
        })
    }

    /// Adds what a tick brought.
    pub(super) fn enter(&self, frame: &Frame, update: &Update, engine: &Engine) {
        let mut admitted = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        for increment in &update.counted {
            self.count(&mut admitted, increment, engine);
        }
        frame.losses.iter().for_each(|loss| self.lose(&mut admitted, loss));
        self.ticks.inc();
        self.late.inc_by(u64::from(update.late));
        self.episodes.inc_by(u64::from(frame.begins()));
    }

    fn count(&self, admitted: &mut Admitted, increment: &Increment, engine: &Engine) {
        let key = (increment.signal, increment.subject.clone());
        if let Some(known) = admitted.signals.get(&key) {
            return known.inc_by(increment.events);
        }
        let of_signal = admitted.of_signal.entry(increment.signal).or_default();
        if admitted.signals.len() >= OF_ALL || *of_signal >= OF_SIGNAL {
            let other = place::other(&increment.subject);
            let counter = admitted.others.entry((increment.signal, other));
            counter.or_insert_with(|| self.of(increment.signal, other)).inc_by(increment.events);
            return self.crowded.inc_by(increment.events);
        }
        *of_signal += 1;
        let values = place::values(&engine.describe(&increment.subject));
        let counter = self.of(increment.signal, values.each_ref().map(String::as_str));
        counter.inc_by(increment.events);
        admitted.signals.insert(key, counter);
    }

    fn of(&self, signal: Signal, place: [&str; place::LABELS.len()]) -> IntCounter {
        let labels: Vec<&str> = std::iter::once(signal.name()).chain(place).collect();
        self.signals.with_label_values(&labels)
    }

    fn lose(&self, admitted: &mut Admitted, loss: &Loss) {
        let is_full = admitted.losses.len() >= REASONS;
        let (told, counter) = admitted.losses.entry(loss.reason.clone()).or_insert_with(|| {
            let reason = if is_full { place::OTHER } else { &loss.reason };
            (0, self.lost.with_label_values(&[reason]))
        });
        counter.inc_by(loss.count.saturating_sub(*told));
        *told = loss.count;
    }
}

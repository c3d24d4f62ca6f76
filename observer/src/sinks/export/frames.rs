//! The rows of a frame: what it says, and by how much that differs from before.

use std::collections::HashMap;

use observer_common::Signal;

use super::{
    place::{Names, Place},
    row::{At, FrameRow, LossRow, OnsetRow, Row, SignalRow, UsageRow, What, seconds},
};
use crate::core::{
    engine::Update,
    frame::{Fact, Frame, Loss, Mark, SignalSample, UsageSample},
    subject::Subject,
    verdict::Clock,
};

/// What counts by itself: a probe's cell, or a counter of the kernel's.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Cell {
    signal: Signal,
    subject: Subject,
    is_probe: bool,
    generator: bool,
    reason: Option<String>,
}

/// What was read last of everything, and what it is called.
#[derive(Debug)]
pub(super) struct Frames {
    origin: Clock,
    next_seq: Option<u64>,
    last_ns: u64,
    names: Names,
    counts: HashMap<Cell, u64>,
    losses: HashMap<String, u64>,
}

impl Frames {
    /// Nothing was read yet.
    pub(super) fn new(origin: Clock) -> Self {
        Self {
            origin,
            next_seq: None,
            last_ns: origin.mono_ns,
            names: Names::default(),
            counts: HashMap::new(),
            losses: HashMap::new(),
        }
    }

    /// Seconds from the beginning of the run to the latest frame.
    pub(super) fn seen_s(&self) -> f64 {
        seconds(self.origin, self.last_ns)
    }

    /// The rows of the next frame: itself, then marks, facts, signals, usages, sources, losses, onsets.
    pub(super) fn rows<'f>(&mut self, frame: &'f Frame, update: &Update) -> Vec<Row<'f>> {
        let origin = self.origin;
        let at = |mono_ns: u64| At::in_frame(frame, origin, mono_ns);
        let now = || at(frame.mono_ns);
        frame.facts.iter().for_each(|fact| self.names.learn(fact));
        let missing_before = self.next_seq.map_or(0, |next| frame.seq.saturating_sub(next));
        self.last_ns = frame.mono_ns;
        self.next_seq = Some(frame.seq.saturating_add(1));

        let mut rows = vec![Row { at: now(), what: What::Frame(FrameRow { missing_before }) }];
        rows.extend(frame.marks.iter().map(|mark| Row { at: at(mark_ns(mark)), what: What::Mark(mark) }));
        rows.extend(frame.facts.iter().map(|fact| {
            let at = fact_ns(fact).map_or_else(now, at);
            Row { at, what: What::Fact(fact) }
        }));
        rows.extend(frame.signals.iter().map(|sample| self.signal(at(sample.read_ns), sample)));
        rows.extend(frame.usages.iter().map(|sample| self.usage(at(sample.read_ns), sample)));
        rows.extend(frame.sources.iter().map(|status| Row { at: now(), what: What::Source(status) }));
        rows.extend(frame.losses.iter().map(|loss| self.loss(now(), loss)));
        rows.extend(update.onsets.iter().map(|(fault_line, subject, onset)| Row {
            at: at(onset.hi_ns),
            what: What::Onset(OnsetRow {
                fault_line,
                subject: self.place(subject),
                onset_lo_s: seconds(origin, onset.lo_ns),
                onset_hi_s: seconds(origin, onset.hi_ns),
                found_s: seconds(origin, frame.mono_ns),
            }),
        }));
        rows
    }

    fn signal<'f>(&mut self, at: At, sample: &'f SignalSample) -> Row<'f> {
        let cell = Cell {
            signal: sample.signal,
            subject: sample.subject.clone(),
            is_probe: sample.tier.is_probe(),
            generator: sample.generator,
            reason: sample.reason.clone(),
        };
        let before = self.counts.insert(cell, sample.count);
        // Probes count from zero when they are loaded, unless the recording begins later; a counter's first read
        // is its origin.
        let from_zero = sample.tier.is_probe() && !sample.is_origin();
        let before = before.or(from_zero.then_some(0));
        let delta = before.map(|before| sample.count.saturating_sub(before));
        let passed_s = sample.read_ns.saturating_sub(sample.since_ns) as f64 / 1e9;
        Row {
            at,
            what: What::Signal(SignalRow {
                signal: sample.signal,
                tier: sample.tier,
                subject: self.place(&sample.subject),
                reason: sample.reason.as_deref(),
                generator: sample.generator,
                count: sample.count,
                delta,
                rate_per_s: delta
                    .filter(|_| passed_s > 0.0)
                    .map(|delta| round(delta as f64 / passed_s, 10.0)),
                since_s: seconds(self.origin, sample.since_ns),
                first_s: sample.first_ns.map(|first_ns| seconds(self.origin, first_ns)),
                last_s: sample.last_ns.map(|last_ns| seconds(self.origin, last_ns)),
                peak: sample.peak,
                limit: sample.limit,
            }),
        }
    }

    fn usage<'f>(&self, at: At, sample: &'f UsageSample) -> Row<'f> {
        let limit = sample.limit.filter(|limit| *limit > 0);
        Row {
            at,
            what: What::Usage(UsageRow {
                resource: sample.resource,
                subject: self.place(&sample.subject),
                used: sample.used,
                limit: sample.limit,
                ratio: limit.map(|limit| round(sample.used as f64 / limit as f64, 10_000.0)),
                limit_set_by: sample.limit_set_by.as_deref(),
                since_s: seconds(self.origin, sample.since_ns),
            }),
        }
    }

    fn loss<'f>(&mut self, at: At, loss: &'f Loss) -> Row<'f> {
        let before = self.losses.insert(loss.reason.clone(), loss.count).unwrap_or(0);
        let delta = loss.count.saturating_sub(before);
        Row { at, what: What::Loss(LossRow { reason: &loss.reason, count: loss.count, delta }) }
    }

    fn place(&self, subject: &Subject) -> Place {
        self.names.place(subject)
    }
}

fn mark_ns(mark: &Mark) -> u64 {
    match mark {
        Mark::CommandStarted { at_ns, .. } | Mark::CommandEnded { at_ns, .. } | Mark::Phase { at_ns, .. } => {
            *at_ns
        }
    }
}

/// When the kernel said it, where it did; what was merely learnt has no instant of its own.
fn fact_ns(fact: &Fact) -> Option<u64> {
    match fact {
        Fact::KernelLog { at_ns, .. } | Fact::OomVictim { at_ns, .. } => Some(*at_ns),
        _ => None,
    }
}

fn round(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

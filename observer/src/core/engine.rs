//! The engine: fed frames, it knows at any time what broke first. Pure and deterministic: the same
//! frames give the same bytes.

mod exposure;
mod tick;

use std::collections::BTreeMap;

use observer_common::Signal;

use self::{exposure::Exposures, tick::Occurrence};
use super::{
    assemble::{self, headroom},
    audit::Audit,
    detect::{Cusum, Spells, Tick},
    frame::{Frame, Mark, PhaseSource, Resource, RunHeader, SignalCoverage, Tier},
    inference::{Inference, Missing},
    ledger::{Bracket, Increment, Ledger},
    lines::{self, Failure, LINES},
    load::LoadHistory,
    scope::Scope,
    subject::Subject,
    verdict::{Headroom, HitSubject, OwnCost, Verdict},
};

/// A tick that begins this long after the one before is late.
const LATE_NS: u64 = 200_000_000;

/// What is long ago is made coarser every so many ticks, when it is too much.
const THIN_TICKS: u64 = 100;

/// How much of the load before an episode says what was usual.
const BEFORE_NS: u64 = 2_000_000_000;

/// As many subjects of a resource are told of at any time.
const OF_EACH: usize = 5;

/// How long after the end of the load something that happened before may still be learnt.
const AFTERTHOUGHT_NS: u64 = 1_000_000_000;

/// How long after the end of the load a kill may still be its doing, where nobody said how long to look on. An observer
/// that stays sees kills hours later, which are not.
const AFTERMATH_NS: u64 = 60_000_000_000;

/// What a step brought.
#[derive(Debug, Default)]
pub struct Update {
    /// Onsets found by this step, provisional until the verdict.
    pub onsets: Vec<(&'static str, Subject, Bracket)>,
    /// Sources that could be read before, and cannot be any more.
    pub newly_failing: Vec<String>,
    /// What was counted since the step before, each once: where a probe counts, not by the kernel's counter too.
    pub counted: Vec<Increment>,
    /// Whether it came late: more than twice a tick after the one before.
    pub late: bool,
}

/// A fault line under watch at one subject.
#[derive(Debug)]
pub struct Watch {
    /// The line's place in the catalogue.
    pub line: usize,
    /// Where, without cgroup.
    pub subject: Subject,
    detector: Cusum,
    /// The onset, once found; it never moves.
    pub onset: Option<Bracket>,
    /// When it was active since the run began.
    pub spells: Spells,
    /// The tier of the signal that found it.
    pub tier: Tier,
    /// Whether the signal was inferred from other counters.
    pub inferred: bool,
    /// The tick in which it failed last.
    entered_ns: u64,
}

impl Watch {
    /// Whether it was active in the pre-roll, and did not rise enough since to be a hit.
    pub fn is_pre_existing(&self) -> bool {
        self.onset.is_none() && self.detector.was_active()
    }
}

/// A phase mark of the user's.
#[derive(Clone, Debug)]
pub struct PhaseMark {
    /// CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// The user's name for the phase that begins.
    pub name: String,
    /// Where it came from.
    pub source: PhaseSource,
}

/// The engine.
pub struct Engine {
    pub(super) header: RunHeader,
    pub(super) ledger: Ledger,
    pub(super) audit: Audit,
    pub(super) load: LoadHistory,
    pub(super) watches: BTreeMap<(usize, Subject), Watch>,
    pub(super) phase_marks: Vec<PhaseMark>,
    pub(super) times: Times,
    pub(super) exit_status: Option<i32>,
    pub(super) ticks_late: u64,
    /// When what strains a line, without being a failure of it, was last seen.
    pub(super) strained: BTreeMap<(usize, Subject), u64>,
    tick_seconds: f64,
    /// What could have failed in the pre-roll.
    exposed_before: Exposures,
    inference: Inference,
}

/// The instants that a run is measured by, on CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// The first frame.
    pub first_ns: Option<u64>,
    /// The latest frame.
    pub last_ns: u64,
    /// CLOCK_REALTIME less CLOCK_MONOTONIC at the latest frame.
    pub real_offset_ns: i128,
    /// The command was started.
    pub start_ns: Option<u64>,
    /// The command ended.
    pub end_ns: Option<u64>,
}

impl Engine {
    /// An engine for a run that is about to be observed or replayed.
    pub fn new(header: RunHeader) -> Self {
        let probed = |signal: Signal| is_probed(&header.coverage, signal);
        let missing = Missing {
            accept_overflow: !(probed(Signal::AcceptOverflowSyn) && probed(Signal::AcceptOverflowAck)),
            syn_queue_drop: !probed(Signal::SynQueueDrop),
            descriptor_limit: !probed(Signal::DescriptorLimit),
            file_table: !probed(Signal::FileTableFull),
        };
        Self {
            ledger: Ledger::new(&header),
            audit: Audit::new(&header.coverage),
            header,
            load: LoadHistory::default(),
            watches: BTreeMap::new(),
            phase_marks: Vec::new(),
            times: Times::default(),
            exit_status: None,
            ticks_late: 0,
            strained: BTreeMap::new(),
            tick_seconds: 0.0,
            exposed_before: Exposures::default(),
            inference: Inference::new(missing),
        }
    }

    /// Takes in one frame.
    pub fn step(&mut self, frame: &Frame) -> Update {
        let is_first = self.times.first_ns.is_none();
        let mut update = Update { late: self.clock(frame), ..Update::default() };
        frame.marks.iter().for_each(|mark| self.begin(mark, &mut update));
        update.newly_failing = self.newly_failing(frame);
        let increments = self.ledger.enter(frame);
        self.audit.enter(frame, &increments);
        if is_first {
            self.load.take_over(frame, &self.ledger);
        }
        self.load.enter(frame, &increments);
        if frame.seq.is_multiple_of(THIN_TICKS) {
            let onsets: Vec<_> = self.watches.values().filter_map(|watch| watch.onset).collect();
            self.load.thin(&onsets);
        }
        self.note_strain(&increments);
        let mut implied = self.inference.infer(&self.ledger, &increments, frame.mono_ns);
        implied.retain(|increment| self.is_in_time(increment));
        implied.iter().for_each(|increment| self.ledger.enter_inferred(increment));
        let (in_time, after): (Vec<_>, _) = increments.into_iter().partition(|it| self.is_in_time(it));
        self.detect(frame.mono_ns, &in_time, &implied, &mut update);
        frame.marks.iter().for_each(|mark| self.end(mark));
        update.counted = in_time;
        update.counted.extend(after);
        update.counted.retain(|increment| !self.ledger.is_counted_twice(increment));
        update
    }

    fn newly_failing(&self, frame: &Frame) -> Vec<String> {
        let failing = frame.sources.iter().filter(|status| status.error.is_some());
        let newly = failing.filter(|status| !self.ledger.failing.contains_key(&status.source));
        newly.map(|status| status.source.clone()).collect()
    }

    fn note_strain(&mut self, increments: &[Increment]) {
        for increment in increments {
            for (index, line) in LINES.iter().enumerate() {
                if line.strain().contains(&increment.signal) {
                    let at = self.strained.entry((index, increment.subject.clone())).or_default();
                    *at = increment.last_ns.max(*at);
                }
            }
        }
    }

    /// Whether it may have happened before the load ended, or counts even after it: what happens then is the
    /// teardown of the test, not the test, unless it kills.
    fn is_in_time(&self, increment: &Increment) -> bool {
        self.counts_at(increment.first.lo_ns, lines::outlasts_load(increment.signal))
    }

    /// Whether what happened at an instant is the load's doing; some of it is for a while after it has ended.
    pub(super) fn counts_at(&self, at_ns: u64, outlasts_load: bool) -> bool {
        let Some(end_ns) = self.times.end_ns else { return true };
        at_ns <= if outlasts_load { self.aftermath_ns(end_ns) } else { end_ns }
    }

    /// Until when what outlasts the load is its doing. Who runs a command says how long to look on after it.
    fn aftermath_ns(&self, end_ns: u64) -> u64 {
        if self.header.command.is_empty() { end_ns + AFTERMATH_NS } else { u64::MAX }
    }

    /// Whether a line is still watched. What happened in the load may be read, or follow from what is read,
    /// a little after its end.
    fn is_watched(&self, line: usize, at_ns: u64) -> bool {
        self.counts_at(at_ns.saturating_sub(AFTERTHOUGHT_NS), LINES[line].outlasts_load())
    }

    /// What was known before the first frame.
    pub fn header(&self) -> &RunHeader {
        &self.header
    }

    /// Whether a run has begun; before that is the pre-roll.
    pub fn is_started(&self) -> bool {
        self.times.start_ns.is_some()
    }

    /// Whether a run or an episode is under way: it has begun, and its load has not ended.
    pub fn is_under_load(&self) -> bool {
        self.is_started() && self.times.end_ns.is_none()
    }

    /// The verdict on everything seen so far.
    pub fn verdict(&self, cost: Option<OwnCost>) -> Verdict {
        assemble::verdict(self, cost)
    }

    /// Where a subject is, in the contract's form: with names instead of the kernel's numbers.
    pub fn describe(&self, subject: &Subject) -> HitSubject {
        assemble::case::describe(self, subject)
    }

    /// The subjects in scope that are closest to their limit of a resource now, a few of each.
    pub fn closest(&self) -> Vec<Headroom> {
        let scope = Scope::of(&self.ledger, &self.header);
        let of = |resource: &Resource| headroom::now(self, &scope, *resource, OF_EACH);
        Resource::ALL.iter().flat_map(of).collect()
    }

    /// Returns whether it comes late.
    fn clock(&mut self, frame: &Frame) -> bool {
        let times = &mut self.times;
        let passed_ns = times.first_ns.map_or(0, |_| frame.mono_ns.saturating_sub(times.last_ns));
        self.tick_seconds = passed_ns as f64 / 1e9;
        self.ticks_late += u64::from(passed_ns > LATE_NS);
        times.first_ns.get_or_insert(frame.mono_ns);
        times.last_ns = frame.mono_ns;
        times.real_offset_ns = i128::from(frame.real_ns) - i128::from(frame.mono_ns);
        passed_ns > LATE_NS
    }

    fn begin(&mut self, mark: &Mark, update: &mut Update) {
        match mark {
            Mark::CommandStarted { at_ns, .. } if self.times.start_ns.is_some() => {
                self.begin_anew(*at_ns, update);
            }
            Mark::CommandStarted { at_ns, .. } => {
                self.times.start_ns = Some(*at_ns);
                self.ledger.start();
            }
            Mark::Phase { at_ns, name, source } => {
                self.phase_marks.push(PhaseMark { at_ns: *at_ns, name: name.clone(), source: *source });
            }
            Mark::CommandEnded { .. } => {}
        }
    }

    /// Another episode: judged by itself, with what is known of the host by now. It is seen to have begun after
    /// it has: what happened in between is part of it.
    fn begin_anew(&mut self, at_ns: u64, update: &mut Update) {
        // What had happened before the end is the last one's.
        let at_ns = self.times.end_ns.map_or(at_ns, |end_ns| at_ns.max(end_ns));
        let increments = self.ledger.start_anew(at_ns);
        self.audit.start_anew();
        self.load.forget_before(at_ns.saturating_sub(BEFORE_NS));
        let implied = self.inference.start_anew(at_ns, &self.ledger);
        self.watches.clear();
        self.phase_marks.clear();
        self.strained.clear();
        self.exposed_before = Exposures::default();
        self.exit_status = None;
        self.ticks_late = 0;
        let Times { last_ns, real_offset_ns, .. } = self.times;
        self.times =
            Times { first_ns: Some(at_ns), last_ns, real_offset_ns, start_ns: Some(at_ns), end_ns: None };
        let tick_seconds =
            std::mem::replace(&mut self.tick_seconds, last_ns.saturating_sub(at_ns) as f64 / 1e9);
        self.note_strain(&increments);
        implied.iter().for_each(|increment| self.ledger.enter_inferred(increment));
        self.detect(last_ns, &increments, &implied, update);
        self.tick_seconds = tick_seconds;
    }

    fn end(&mut self, mark: &Mark) {
        if let Mark::CommandEnded { at_ns, exit_status } = mark {
            self.times.end_ns = Some(*at_ns);
            self.ledger.end(*at_ns, self.aftermath_ns(*at_ns));
            self.exit_status = *exit_status;
        }
    }

    fn detect(&mut self, at_ns: u64, increments: &[Increment], implied: &[Increment], update: &mut Update) {
        let mut exposures = Exposures::default();
        self.best(increments).for_each(|increment| exposures.add(increment));
        for (key, occurrence) in self.occurrences(increments, implied) {
            if !self.is_watched(key.0, at_ns) {
                continue;
            }
            let exposure = self.exposure(&exposures, key.0, &key.1, occurrence.events);
            let Occurrence { events, uncapped, first, .. } = occurrence;
            let tick = Tick { at_ns, events, uncapped, exposure, first };
            self.watch(&key, &occurrence);
            self.enter(&key, &occurrence, &tick, update);
        }
        self.pass_quiet_ticks(at_ns, &exposures);
        if self.times.start_ns.is_none() {
            let mut before = std::mem::take(&mut self.exposed_before);
            self.best(increments).for_each(|increment| before.add(increment));
            self.exposed_before = before;
        }
    }

    /// The increments of the best tier that counts each signal: what a probe counts, a counter counts again.
    fn best<'a>(&'a self, increments: &'a [Increment]) -> impl Iterator<Item = &'a Increment> {
        increments.iter().filter(|increment| {
            increment.tier.is_probe() || !is_probed(&self.header.coverage, increment.signal)
        })
    }

    /// What failed in this tick, per line and subject: each is judged once, whichever of its signals
    /// and cells it was counted in.
    fn occurrences(
        &self,
        increments: &[Increment],
        implied: &[Increment],
    ) -> BTreeMap<(usize, Subject), Occurrence> {
        let mut found: BTreeMap<(usize, Subject), Occurrence> = BTreeMap::new();
        let all = increments.iter().map(|i| (i, false)).chain(implied.iter().map(|i| (i, true)));
        for (increment, inferred) in all {
            for (line, failure) in failures_of(increment.signal) {
                if self.is_judged(line, failure, increment, inferred) {
                    let occurrence = Occurrence::new(failure, increment, inferred);
                    let key = (line, increment.subject.clone());
                    found.entry(key).and_modify(|known| known.join(&occurrence)).or_insert(occurrence);
                }
            }
        }
        found
    }

    /// Whether this increment is the one to judge a failure by: the probe's where there is one, the
    /// listener's rather than its namespace's.
    fn is_judged(&self, line: usize, failure: &Failure, increment: &Increment, inferred: bool) -> bool {
        let others = failure.instead_of;
        if !others.is_empty() && others.iter().all(|other| is_probed(&self.header.coverage, *other)) {
            return false;
        }
        let precise = is_probed(&self.header.coverage, failure.signal);
        let counted = match (precise, increment.tier) {
            (true, tier) => tier.is_probe(),
            // The kernel's counter of a namespace is matched to its listener first.
            (false, _) if is_matched(failure.signal) => inferred,
            (false, _) => true,
        };
        counted && LINES[line].is_failure(&self.ledger, increment)
    }

    fn watch(&mut self, key: &(usize, Subject), occurrence: &Occurrence) {
        if self.watches.contains_key(key) {
            return;
        }
        let mut detector = Cusum::new(occurrence.policy);
        // Whatever passed without a failure before this first one is part of what is normal.
        let first_ns = self.times.first_ns.unwrap_or(self.times.last_ns);
        let before_ns = self.times.start_ns.unwrap_or(self.times.last_ns);
        let exposed = self.exposed_before.at(LINES[key.0].exposure(), &key.1, 0);
        let exposure =
            exposed.map_or_else(|| before_ns.saturating_sub(first_ns) as f64 / 1e9, |exposed| exposed as f64);
        let first = Bracket { lo_ns: before_ns, hi_ns: before_ns };
        detector.learn(&Tick { at_ns: before_ns, events: 0, uncapped: 0, exposure, first });
        let watch = Watch {
            line: key.0,
            subject: key.1.clone(),
            detector,
            onset: None,
            spells: Spells::default(),
            tier: occurrence.tier,
            inferred: false,
            entered_ns: 0,
        };
        self.watches.insert(key.clone(), watch);
    }

    fn enter(&mut self, key: &(usize, Subject), occurrence: &Occurrence, tick: &Tick, update: &mut Update) {
        let Some(watch) = self.watches.get_mut(key) else { return };
        watch.entered_ns = tick.at_ns;
        watch.inferred |= occurrence.inferred;
        if self.times.start_ns.is_none() {
            watch.detector.learn(tick);
            return;
        }
        watch.spells.enter(occurrence.first.hi_ns, occurrence.last_ns, occurrence.events);
        if watch.onset.is_none()
            && let Some(onset) = watch.detector.observe(tick)
        {
            watch.onset = Some(onset);
            watch.tier = occurrence.tier;
            update.onsets.push((LINES[key.0].id(), key.1.clone(), onset));
        }
    }

    /// What could have failed where this did; where that is not counted, the seconds that passed.
    fn exposure(&self, exposures: &Exposures, line: usize, subject: &Subject, failed: u64) -> f64 {
        let exposed = exposures.at(LINES[line].exposure(), subject, failed);
        exposed.map_or(self.tick_seconds, |exposed| exposed as f64)
    }

    /// Detectors have to see the ticks without failures as well: the score falls with exposure.
    fn pass_quiet_ticks(&mut self, at_ns: u64, exposures: &Exposures) {
        let started = self.times.start_ns.is_some();
        let seconds = self.tick_seconds;
        let quiet = |watch: &&mut Watch| watch.onset.is_none() && watch.entered_ns != at_ns;
        for watch in self.watches.values_mut().filter(quiet) {
            let exposed = exposures.at(LINES[watch.line].exposure(), &watch.subject, 0);
            let exposure = exposed.map_or(seconds, |exposed| exposed as f64);
            let tick = Tick {
                at_ns,
                events: 0,
                uncapped: 0,
                exposure,
                first: Bracket { lo_ns: at_ns, hi_ns: at_ns },
            };
            if started {
                watch.detector.observe(&tick);
            } else {
                watch.detector.learn(&tick);
            }
        }
    }
}

/// Whether a probe counts this signal.
pub(super) fn is_probed(coverage: &[SignalCoverage], signal: Signal) -> bool {
    coverage.iter().any(|covered| covered.signal == signal && covered.tier.is_probe())
}

/// Signals that the kernel counts per namespace, and that inference gives to a listener.
fn is_matched(signal: Signal) -> bool {
    matches!(signal, Signal::ListenOverflow | Signal::SynQueueDrop)
}

fn failures_of(signal: Signal) -> impl Iterator<Item = (usize, &'static Failure)> {
    LINES.iter().enumerate().flat_map(move |(index, line)| {
        line.failures().iter().filter(move |failure| failure.signal == signal).map(move |f| (index, f))
    })
}

#[cfg(test)]
mod tests;

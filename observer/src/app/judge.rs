//! When things are shown and judged while an observation goes on: often enough to be looked at, at once when a
//! fault line is hit, and never so often that it disturbs the test.

use std::sync::Arc;

use super::{clock::mono_ns, observation::own_cost};
use crate::{
    core::{engine::Engine, verdict::Verdict},
    sources::{Pace, Stopwatch},
};

/// Who looks on, and so how often it is worth the trouble when nothing happens that has to be seen at once.
#[derive(Clone, Copy, Debug)]
pub(super) enum Audience {
    /// Somebody before a screen.
    Screen,
    /// Whoever scrapes /metrics, every few seconds: what is counted is there at once, without this.
    Scrapes,
}

impl Audience {
    /// How often things are shown.
    const fn show_ns(self) -> u64 {
        match self {
            // At every second tick.
            Self::Screen => 190_000_000,
            Self::Scrapes => 490_000_000,
        }
    }

    /// How often the verdict is made anew.
    const fn verdict_ms(self) -> u64 {
        match self {
            Self::Screen => 1_960,
            Self::Scrapes => 4_960,
        }
    }

    /// The share of a CPU that verdicts may take, one in so many: the longer an episode, the dearer its verdict.
    const fn verdict_share(self) -> u64 {
        match self {
            Self::Screen => 2_000,
            Self::Scrapes => 10_000,
        }
    }
}

/// What a hit may make it take: a scan of ports can hit a line at a new subject in every tick.
const HIT_SHARE: u64 = 20;

/// The latest verdict, and when it is time for the next.
pub(super) struct Judge {
    audience: Audience,
    verdict: Arc<Verdict>,
    verdicts: Pace,
    hits: Pace,
    /// Whether something was hit that the verdict does not say yet.
    unjudged: bool,
    shown_ns: u64,
}

impl Judge {
    /// Judges what is known so far.
    pub(super) fn new(engine: &Engine, audience: Audience) -> Self {
        let verdict = Arc::new(engine.verdict(None));
        Self {
            audience,
            verdict,
            verdicts: Pace::every_ms(audience.verdict_ms()).at_most_one_in(audience.verdict_share()),
            hits: Pace::every_ms(0).at_most_one_in(HIT_SHARE),
            unjudged: false,
            shown_ns: 0,
        }
    }

    /// Whether it is time to show how things stand; the verdict is then as new as it is to be.
    pub(super) fn is_time(&mut self, now_ns: u64, hit: bool, engine: &Engine) -> bool {
        self.unjudged |= hit;
        let hit = self.unjudged && self.hits.is_due(now_ns);
        if !hit && now_ns.saturating_sub(self.shown_ns) < self.show_ns() {
            return false;
        }
        self.shown_ns = now_ns;
        if hit || self.verdicts.is_due(now_ns) {
            self.judge(engine);
        }
        true
    }

    /// Judges anew.
    pub(super) fn judge(&mut self, engine: &Engine) {
        let watch = Stopwatch::start(&mono_ns);
        self.verdict = Arc::new(engine.verdict(own_cost()));
        let cost = watch.cost(&mono_ns);
        self.unjudged = false;
        self.verdicts.ran_at(watch.started_ns(), cost);
        self.hits.ran_at(watch.started_ns(), cost);
    }

    /// How often things are shown when nothing happens.
    pub(super) const fn show_ns(&self) -> u64 {
        self.audience.show_ns()
    }

    /// The latest verdict.
    pub(super) fn verdict(&self) -> Arc<Verdict> {
        Arc::clone(&self.verdict)
    }
}

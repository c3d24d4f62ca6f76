//! What is shown: the latest scene with everything that led to it.

use std::{collections::VecDeque, sync::Arc};

use super::log::Log;
use crate::{
    core::{
        history::{History, LineStep, Step},
        lines::LINES,
        snapshot::{LineNow, PRESSED_RATIO, Snapshot, State},
        verdict::{Hit, Verdict},
    },
    tui::feed::{Anew, Player, Scene},
};

/// A rate is that of the last second.
const SECOND_NS: u64 = 1_000_000_000;
/// Totals that are kept for it, however often a scene comes.
const TOTALS: usize = 32;

/// What is shown.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// How things stand; `None` before the first scene.
    pub snapshot: Option<Snapshot>,
    /// What the engine says.
    pub verdict: Option<Arc<Verdict>>,
    /// The recording that is played.
    pub player: Option<Player>,
    /// The course so far.
    pub history: Arc<History>,
    /// What happened.
    pub log: Log,
    /// Verdicts on episodes that are over, oldest first.
    pub episodes: Vec<Arc<Verdict>>,
    /// Whether an episode is under way.
    pub in_episode: bool,
    /// Failures so far at the latest instants, per line.
    totals: VecDeque<(u64, Vec<u64>)>,
}

impl Picture {
    /// Takes in how things stand now.
    pub fn enter(&mut self, scene: Scene) {
        let Scene { snapshot, verdict, history, events, events_forgotten, player, kept: _ } = scene;
        self.log.enter(&events, events_forgotten);
        self.count(&snapshot);
        (self.snapshot, self.verdict, self.player) = (Some(snapshot), Some(verdict), player);
        self.history = history;
    }

    /// Begins anew.
    pub fn renew(&mut self, anew: Anew) {
        let Anew { scene, episodes, in_episode } = anew;
        *self = Self { episodes, in_episode, ..Self::default() };
        self.enter(scene);
    }

    /// Where scenes were left out, the rate is the mean since the latest that was seen, until a second is over.
    fn count(&mut self, snapshot: &Snapshot) {
        let since_ns = snapshot.at_ns.saturating_sub(SECOND_NS);
        // The latest that is a second old is where the last second begins.
        while self.totals.len() >= TOTALS || self.totals.get(1).is_some_and(|(at_ns, _)| *at_ns <= since_ns) {
            self.totals.pop_front();
        }
        self.totals.push_back((snapshot.at_ns, snapshot.lines.iter().map(|line| line.failures).collect()));
    }

    /// How a line stands, in the catalogue's order.
    pub fn line(&self, index: usize) -> Option<&LineNow> {
        self.snapshot.as_ref()?.lines.get(index)
    }

    /// Failures of a line per second, in the last second.
    pub fn failures_per_s(&self, index: usize) -> Option<f64> {
        let ((from_ns, before), (to_ns, after)) = (self.totals.front()?, self.totals.back()?);
        let Some(passed_ns) = to_ns.checked_sub(*from_ns).filter(|passed| *passed > 0) else {
            return self.failures_per_s_then(index, *to_ns);
        };
        let seconds = passed_ns as f64 / 1e9;
        Some(after.get(index)?.saturating_sub(*before.get(index)?) as f64 / seconds)
    }

    /// The same at an instant of the past, as exactly as the history knows.
    pub fn failures_per_s_then(&self, index: usize, at_ns: u64) -> Option<f64> {
        let failures = self.step_at(at_ns)?.lines.get(index)?.failures;
        Some(failures as f64 * 1e9 / self.history.step_ns() as f64)
    }

    /// The first hit of a line, as the verdict has it.
    pub fn hit(&self, id: &str) -> Option<&Hit> {
        let verdict = self.verdict.as_ref()?;
        verdict.first.iter().chain(&verdict.hits).find(|hit| hit.fault_line == id)
    }

    /// The line that was hit first, as an index of the catalogue.
    pub fn first_line(&self) -> Option<usize> {
        let first = self.verdict.as_ref()?.first.as_ref()?;
        LINES.iter().position(|line| line.id() == first.fault_line)
    }

    /// The place of a line among those that were hit, 1 for the first one; several may be.
    pub fn place(&self, id: &str) -> Option<usize> {
        let verdict = self.verdict.as_ref()?;
        let first = verdict.first.as_ref()?;
        if first.fault_line == id || verdict.co_first.iter().any(|hit| hit.fault_line == id) {
            return Some(1);
        }
        let mut seen: Vec<&str> = vec![&first.fault_line];
        seen.extend(verdict.co_first.iter().map(|hit| hit.fault_line.as_str()));
        for hit in &verdict.hits {
            if !seen.contains(&hit.fault_line.as_str()) {
                seen.push(&hit.fault_line);
            }
        }
        seen.iter().position(|seen| *seen == id).map(|at| at + 1)
    }

    /// The step of the history that an instant falls into. Scenes come about as often as steps: where one
    /// is without a scene, the one before stands in.
    pub fn step_at(&self, at_ns: u64) -> Option<&Step> {
        let at = self.index_at(at_ns)?;
        let mut latest = self.history.steps().get(at.saturating_sub(GAP)..=at)?.iter().rev();
        latest.clone().find(|step| is_seen(step)).or_else(|| latest.next())
    }

    /// Failures of a line from the beginning to the end of the step that an instant falls into.
    pub fn failures_until(&self, index: usize, at_ns: u64) -> Option<u64> {
        let steps = self.history.steps().get(..=self.index_at(at_ns)?)?;
        Some(steps.iter().filter_map(|step| step.lines.get(index)).map(|line| line.failures).sum())
    }

    fn index_at(&self, at_ns: u64) -> Option<usize> {
        let since_ns = at_ns.checked_sub(self.history.start_ns()?)?;
        Some((since_ns / self.history.step_ns()) as usize)
    }

    /// How a line stood at an instant of the past.
    pub fn state_at(&self, index: usize, at_ns: u64) -> State {
        let now = self.line(index).map_or(State::NotMeasurable, |line| line.state);
        if matches!(now, State::Ignored | State::NotMeasurable) {
            return now;
        }
        let then = self.step_at(at_ns).and_then(|step| step.lines.get(index).copied()).unwrap_or_default();
        let Some(hit) = LINES.get(index).and_then(|line| self.hit(line.id())) else { return unhit(then) };
        match self.seconds_at(at_ns) {
            Some(at_s) if at_s < hit.onset_lo_s.min(hit.onset_s) => unhit(then),
            Some(at_s)
                if hit
                    .spells
                    .iter()
                    .any(|spell| spell.onset_s <= at_s && spell.end_s.is_none_or(|end_s| at_s <= end_s)) =>
            {
                State::Hit
            }
            _ if then.failures > 0 => State::Hit,
            _ => State::Passed,
        }
    }

    /// An instant in seconds since the episode began.
    pub fn seconds_at(&self, at_ns: u64) -> Option<f64> {
        let origin_ns = self.origin_ns()?;
        Some((i128::from(at_ns) - i128::from(origin_ns)) as f64 / 1e9)
    }

    /// CLOCK_MONOTONIC from which seconds count: the beginning of the episode, else of what is shown.
    pub fn origin_ns(&self) -> Option<u64> {
        let snapshot = self.snapshot.as_ref()?;
        snapshot.start_ns.or_else(|| self.verdict.as_ref().map(|verdict| verdict.run.clock.mono_ns))
    }

    /// CLOCK_REALTIME of an instant.
    pub fn real_ns(&self, at_ns: u64) -> Option<u64> {
        let snapshot = self.snapshot.as_ref()?;
        let real_ns = i128::from(snapshot.real_ns) + i128::from(at_ns) - i128::from(snapshot.at_ns);
        u64::try_from(real_ns).ok()
    }

    /// From when to when there is something to show: the whole recording, else what was seen so far.
    pub fn span_ns(&self) -> Option<(u64, u64)> {
        if let Some(player) = self.player {
            return Some((player.from_ns, player.to_ns.max(player.from_ns + 1)));
        }
        let (from_ns, now_ns) = (self.history.start_ns()?, self.snapshot.as_ref()?.at_ns);
        Some((from_ns, now_ns.max(from_ns + SHORTEST_NS)))
    }
}

/// Steps without a scene for which the one before stands in.
pub const GAP: usize = 2;

/// Whether somebody looked in a step.
fn is_seen(step: &Step) -> bool {
    let known = |line: &LineStep| line.usage_ratio.is_some() || line.failures > 0;
    step.connections_per_s.is_some() || step.concurrency.is_some() || step.lines.iter().any(known)
}

/// A course that is shorter than this grows into the space it will have.
const SHORTEST_NS: u64 = 10 * SECOND_NS;

fn unhit(then: LineStep) -> State {
    let pressed = then.failures > 0 || then.usage_ratio.is_some_and(|ratio| ratio >= PRESSED_RATIO);
    if pressed { State::Pressured } else { State::Clear }
}

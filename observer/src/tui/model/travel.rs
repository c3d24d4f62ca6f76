//! The ways through a recording.

use std::time::Duration;

use super::Model;
use crate::{
    core::verdict::Verdict,
    tui::{
        feed::Request,
        keys::{Action, Step},
    },
};

/// How slow and how fast a recording is played.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.125..=64.0;
/// How far the two skips go.
const NEAR: Duration = Duration::from_secs(1);
const FAR: Duration = Duration::from_secs(10);
/// Two instants that are closer than this are the same place to jump to: a frame lies on one of its own ticks.
const SAME_S: f64 = 0.25;
/// A jump to an onset ends a little after it, where it can be seen.
const AFTER_S: f64 = 0.2;

impl Model {
    pub(super) fn travel(&mut self, action: Action) -> Option<Request> {
        let player = self.picture().player;
        match action {
            Action::Play => Some(Request::Play(!player?.playing)),
            Action::Tick(step) => Some(Request::Step(step == Step::On)),
            Action::Speed(step) => {
                let factor = if step == Step::On { 2.0 } else { 0.5 };
                Some(Request::Speed((player?.speed * factor).clamp(*SPEEDS.start(), *SPEEDS.end())))
            }
            Action::Skip(step) => Some(Request::Skip { forwards: step == Step::On, by: NEAR }),
            Action::SkipFar(step) => Some(Request::Skip { forwards: step == Step::On, by: FAR }),
            Action::Onset(step) => self.jump(step, "onset", |verdict| {
                let onsets = verdict.hits.iter().chain(&verdict.elsewhere);
                onsets.map(|hit| hit.onset_hi_s.max(hit.onset_s) + AFTER_S).collect()
            }),
            Action::Phase(step) => {
                self.jump(step, "phase", |verdict| verdict.phases.iter().map(|phase| phase.start_s).collect())
            }
            _ => None,
        }
    }

    /// To the next instant of a kind, or the one before. Verdicts on the whole recording, where the caller
    /// gave them, know what is to come.
    fn jump(&mut self, step: Step, kind: &str, instants: impl Fn(&Verdict) -> Vec<f64>) -> Option<Request> {
        let picture = self.picture();
        let here_s = picture.seconds_at(picture.snapshot.as_ref()?.at_ns)?;
        let origin_ns = picture.origin_ns()?;
        let verdicts = picture.episodes.iter().chain(&picture.verdict);
        let all = verdicts.flat_map(|verdict| {
            let shift_s = (i128::from(verdict.run.clock.mono_ns) - i128::from(origin_ns)) as f64 / 1e9;
            instants(verdict).into_iter().map(move |at_s| at_s + shift_s)
        });
        let to_s = match step {
            Step::On => all.filter(|at_s| *at_s > here_s + SAME_S).reduce(f64::min),
            Step::Back => all.filter(|at_s| *at_s < here_s - SAME_S).reduce(f64::max),
        };
        let Some(to_s) = to_s else {
            let way = if step == Step::On { "later" } else { "earlier" };
            self.say(&format!("no {way} {kind} is known"));
            return None;
        };
        self.go(to_s)
    }

    /// To an instant of the recording, in seconds since its episode began.
    pub(super) fn go(&mut self, at_s: f64) -> Option<Request> {
        let picture = self.picture();
        let (origin_ns, player) = (picture.origin_ns()?, picture.player?);
        let at_ns = (origin_ns as f64 + at_s * 1e9).max(0.0) as u64;
        Some(Request::Seek { at_ns: at_ns.clamp(player.from_ns, player.to_ns.max(player.from_ns)) })
    }
}

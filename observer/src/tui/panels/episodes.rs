//! Episodes that are over, and what became of the one before in the one that is looked at.

use ratatui::{style::Style, text::Line};

use super::{document, wrapped};
use crate::{
    core::{
        compare::{Judged, compare},
        verdict::{Outcome, Verdict},
    },
    sinks::report::{comparison, numbers::plural, sentence},
    tui::model::{Model, picture::Picture},
};

pub(super) fn lines(model: &Model, width: usize) -> Vec<Line<'static>> {
    let (picture, theme) = (model.picture(), model.theme);
    let mut lines = Vec::new();
    let state = match (model.is_replay(), picture.in_episode) {
        (true, _) => {
            format!("A recording of {}.", plural(picture.episodes.len(), "episode", "episodes"))
        }
        (_, true) => "An episode is under way: e ends it.".to_owned(),
        (_, false) => "No episode is under way: b begins one.".to_owned(),
    };
    lines.extend(wrapped(&state, width, theme.dim()));
    if let Some(pair) = pair(picture, model.is_replay()) {
        let [before, after] = pair.each_ref().map(|(name, verdict)| Judged { recording: name, verdict });
        lines.push(Line::default());
        lines.extend(document::lines(&comparison::document(&compare(before, after)), width, theme));
    }
    for (at, verdict) in picture.episodes.iter().enumerate().rev() {
        lines.push(Line::default());
        let style = match verdict.outcome {
            Outcome::Hit => theme.bad(),
            Outcome::Clear => theme.good(),
            Outcome::Inconclusive => theme.unsure(),
        };
        let started = verdict.run.started.get(11..19).unwrap_or_default();
        lines.push(Line::styled(format!("Episode {}, began {started} UTC", at + 1), theme.title()));
        lines.extend(wrapped(&headline(verdict), width, style));
        let because = verdict.first.as_ref().map(sentence::because);
        lines.extend(because.iter().flat_map(|because| wrapped(because, width, Style::new())));
    }
    lines
}

fn headline(verdict: &Verdict) -> String {
    match verdict.outcome {
        Outcome::Hit => sentence::broke_first(verdict),
        Outcome::Clear => sentence::nothing_broke(verdict),
        Outcome::Inconclusive => sentence::inconclusive(verdict),
    }
}

/// The episode that is looked at and the one before it, the earlier one first, with their names.
fn pair(picture: &Picture, is_replay: bool) -> Option<[(String, &Verdict); 2]> {
    let (known, now) = (&picture.episodes, picture.verdict.as_deref()?);
    let after = match (is_replay, picture.in_episode) {
        // Of a recording all are known, those to come as well.
        (true, _) => known.iter().position(|it| it.run.clock.mono_ns == now.run.clock.mono_ns)?,
        (false, true) => known.len(),
        (false, false) => known.len().checked_sub(1)?,
    };
    let before = after.checked_sub(1)?;
    let latest = match known.get(after) {
        Some(verdict) => (name(after), &**verdict),
        None => (format!("{}, so far", name(after)), now),
    };
    Some([(name(before), &**known.get(before)?), latest])
}

fn name(at: usize) -> String {
    format!("episode {}", at + 1)
}

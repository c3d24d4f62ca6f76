//! Episodes that are over, and how the latest two compare.

use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::wrapped;
use crate::{
    core::verdict::{Outcome, Verdict},
    sinks::report::{
        numbers::duration,
        sentence::{self, load_words},
    },
    tui::{
        model::Model,
        text::{left, printable, wrap},
    },
};

/// Columns of the names of what is compared.
const NAME: usize = 12;

pub(super) fn lines(model: &Model, width: usize) -> Vec<Line<'static>> {
    let (picture, theme) = (model.picture(), model.theme);
    let mut lines = Vec::new();
    let state = match (model.is_replay(), picture.in_episode) {
        (true, _) => "This is a recording: it is one episode.",
        (_, true) => "An episode is under way: e ends it.",
        (_, false) => "No episode is under way: b begins one.",
    };
    lines.extend(wrapped(state, width, theme.dim()));
    let current = picture.verdict.as_deref();
    let (names, pair) = match (current, picture.episodes.as_slice()) {
        (Some(now), [.., before]) if picture.in_episode => {
            (["the one before", "now"], Some((&**before, now)))
        }
        (_, [.., before, latest]) => (["the one before", "the latest"], Some((&**before, &**latest))),
        _ => ([""; 2], None),
    };
    if let Some((before, after)) = pair {
        lines.push(Line::default());
        compare(&mut lines, model, width, names, [before, after]);
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

/// Two verdicts side by side.
fn compare(
    lines: &mut Vec<Line<'static>>,
    model: &Model,
    width: usize,
    names: [&str; 2],
    verdicts: [&Verdict; 2],
) {
    let room = (width.saturating_sub(NAME) / 2).saturating_sub(2).max(1);
    let of = |words: fn(&Verdict) -> String| verdicts.map(words);
    let rows = [
        ("", names.map(str::to_owned)),
        ("outcome", of(outcome)),
        ("first", of(|it| it.first.as_ref().map_or("nothing".to_owned(), |hit| hit.fault_line.clone()))),
        ("onset", of(|it| it.first.as_ref().map(|hit| duration(hit.onset_s)).unwrap_or_default())),
        ("load then", of(|it| it.first.as_ref().and_then(|hit| load_words(&hit.load)).unwrap_or_default())),
        ("closest", of(|it| it.headroom.first().map(sentence::use_of).unwrap_or_default())),
    ];
    for (name, texts) in rows {
        let differs = texts[0] != texts[1] && !name.is_empty();
        let [before, after] = texts.map(|text| wrap(&printable(&text), room));
        for at in 0..before.len().max(after.len()) {
            let cell = |lines: &[String]| left(lines.get(at).map_or("", String::as_str), room + 2);
            let style = if differs { model.theme.unsure() } else { Style::new() };
            lines.push(Line::from(vec![
                Span::styled(left(if at == 0 { name } else { "" }, NAME), model.theme.dim()),
                Span::raw(cell(&before)),
                Span::styled(cell(&after), style),
            ]));
        }
    }
}

fn outcome(verdict: &Verdict) -> String {
    match verdict.outcome {
        Outcome::Hit => "hit",
        Outcome::Clear => "clear",
        Outcome::Inconclusive => "inconclusive",
    }
    .to_owned()
}

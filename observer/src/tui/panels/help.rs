//! The help, made of the table of keys.

use ratatui::text::{Line, Span};

use crate::tui::{
    keys,
    model::Model,
    text::{columns, left},
};

/// Columns of the keys.
const KEYS: usize = 22;

pub(super) fn lines(model: &Model) -> Vec<Line<'static>> {
    let theme = model.theme;
    let of = |typing: bool| {
        keys::bindings(model.options.mode, typing).map(move |binding| {
            let label = binding.label();
            let room = KEYS.max(columns(&label) + 2);
            Line::from(vec![Span::styled(left(&label, room), theme.key()), Span::raw(binding.help)])
        })
    };
    let mut lines: Vec<Line> = of(false).collect();
    lines.push(Line::raw(
        "The mouse: a click selects, a second one opens, the wheel scrolls; Shift and drag selects text.",
    ));
    lines.push(Line::default());
    lines.push(Line::styled("While something is typed", theme.title()));
    lines.extend(of(true));
    lines.push(Line::default());
    lines.push(Line::styled("States", theme.title()));
    for (state, words) in STATES {
        let name = format!("{} {}", crate::tui::theme::symbol(*state), crate::tui::theme::word(*state));
        lines.push(Line::from(vec![Span::styled(left(&name, KEYS), theme.state(*state)), Span::raw(*words)]));
    }
    lines.push(Line::raw("History: the bar is how far the resource was used, × are failures, · is quiet."));
    lines
}

use crate::core::snapshot::State;

const STATES: &[(State, &str)] = &[
    (State::Hit, "it is hit"),
    (State::Passed, "it was hit, and has been quiet for ten seconds"),
    (State::Pressured, "close to its limit, strained, or failing too rarely to matter"),
    (State::Clear, "nothing"),
    (State::NotMeasurable, "it cannot be judged on this kernel, which is not the same as clear"),
    (State::Ignored, "you do not want to hear of it"),
];

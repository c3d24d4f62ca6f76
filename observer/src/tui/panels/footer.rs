//! The bottom row: words for the user, else what keys there are.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::tui::{keys, model::Model, text::columns};

pub(super) fn draw(frame: &mut Frame, area: Rect, model: &Model) {
    let theme = model.theme;
    let line = match &model.notice {
        Some(notice) => Line::styled(format!(" {notice} "), theme.badge(theme.unsure())),
        None => hints(model, usize::from(area.width)),
    };
    frame.buffer_mut().set_line(area.x, area.y, &line, area.width);
}

/// As many hints as fit, and always the last two: how to get help, and out.
fn hints(model: &Model, width: usize) -> Line<'static> {
    let bindings = keys::bindings(model.options.mode, model.prompt.is_some());
    let mut hints: Vec<(String, String)> = bindings
        .filter_map(|binding| Some((keys::label_of(binding.action)?, format!(" {}  ", binding.hint?))))
        .collect();
    let all = |hints: &[(String, String)]| -> usize {
        hints.iter().map(|(key, hint)| columns(key) + columns(hint)).sum()
    };
    while all(&hints) > width && hints.len() > LAST {
        hints.remove(hints.len() - LAST - 1);
    }
    let spans = hints.into_iter().flat_map(|(key, hint)| {
        [Span::styled(key, model.theme.key()), Span::styled(hint, model.theme.dim())]
    });
    Line::from(spans.collect::<Vec<_>>())
}

const LAST: usize = 2;

//! The bottom row: words for the user, else what keys there are.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::tui::{keys, model::Model};

pub(super) fn draw(frame: &mut Frame, area: Rect, model: &Model) {
    let theme = model.theme;
    let line = match &model.notice {
        Some(notice) => Line::styled(format!(" {notice} "), theme.badge(theme.unsure())),
        None => hints(model),
    };
    frame.buffer_mut().set_line(area.x, area.y, &line, area.width);
}

fn hints(model: &Model) -> Line<'static> {
    let mut spans = Vec::new();
    for binding in keys::bindings(model.options.mode, model.prompt.is_some()) {
        let (Some(hint), Some(key)) = (binding.hint, keys::label_of(binding.action)) else { continue };
        spans.push(Span::styled(key, model.theme.key()));
        spans.push(Span::styled(format!(" {hint}  "), model.theme.dim()));
    }
    Line::from(spans)
}

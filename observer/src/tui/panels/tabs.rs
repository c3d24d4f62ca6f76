//! The views, with their keys.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::tui::{
    keys::{self, Action},
    model::{Model, View},
};

pub(super) fn draw(frame: &mut Frame, area: Rect, model: &Model) {
    let theme = model.theme;
    let mut spans = Vec::new();
    for (view, label) in labels() {
        let style = if view == model.view { theme.badge(theme.title()) } else { theme.dim() };
        spans.push(Span::styled(label, style));
        spans.push(Span::raw(" "));
    }
    frame.buffer_mut().set_line(area.x, area.y, &Line::from(spans), area.width);
}

/// The view whose tab is in a column.
pub(in crate::tui) fn at(area: Rect, column: u16) -> Option<View> {
    let mut from = usize::from(area.x);
    for (view, label) in labels() {
        let to = from + label.len();
        if (from..to).contains(&usize::from(column)) {
            return Some(view);
        }
        from = to + 1;
    }
    None
}

fn labels() -> impl Iterator<Item = (View, String)> {
    View::ALL.iter().map(|view| {
        let key = keys::label_of(Action::Show(*view)).unwrap_or_default();
        (*view, format!(" {key} {} ", view.title()))
    })
}

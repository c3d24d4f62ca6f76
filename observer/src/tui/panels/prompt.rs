//! What is asked of the user.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::Clear,
};

use super::titled;
use crate::tui::{
    model::Model,
    text::{columns, printable},
};

pub(super) fn draw(frame: &mut Frame, area: Rect, model: &Model) {
    let Some(prompt) = &model.prompt else { return };
    frame.render_widget(Clear, area);
    let inner = titled(frame, area, prompt.ask.question(), model.theme);
    let text = printable(&prompt.text);
    let room = usize::from(inner.width).saturating_sub(4);
    // The end of a long text is what is being typed.
    let letters = text.chars().count();
    let tail: String = text.chars().skip(letters.saturating_sub(room)).collect();
    let mut rows = inner.rows();
    if let Some(row) = rows.next() {
        let at = row.x.saturating_add(2 + columns(&tail) as u16).min(row.right().saturating_sub(1));
        let line = Line::from(vec![Span::styled("> ", model.theme.key()), Span::styled(tail, Style::new())]);
        frame.buffer_mut().set_line(row.x, row.y, &line, row.width);
        frame.set_cursor_position((at, row.y));
    }
    if let Some(row) = rows.next().filter(|_| !prompt.ask.suggestions().is_empty()) {
        let words = format!("Tab: {}", prompt.ask.suggestions().join(", "));
        frame.buffer_mut().set_line(row.x, row.y, &Line::styled(words, model.theme.dim()), row.width);
    }
}

//! The board in one row, where something else has its place.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::{
    core::{lines::LINES, snapshot::State},
    tui::{model::Model, theme},
};

pub(super) fn draw(frame: &mut Frame, area: Rect, model: &Model) {
    let picture = model.picture();
    let mut quiet = 0;
    let mut told: Vec<(usize, usize, State)> = Vec::new();
    for (index, line) in LINES.iter().enumerate() {
        let state = match model.cursor_ns {
            Some(at_ns) => picture.state_at(index, at_ns),
            None => picture.line(index).map_or(State::NotMeasurable, |now| now.state),
        };
        match state {
            State::Hit | State::Passed | State::Pressured => {
                told.push((picture.place(line.id()).unwrap_or(usize::MAX), index, state));
            }
            State::Clear => quiet += 1,
            State::NotMeasurable | State::Ignored => {}
        }
    }
    told.sort_by_key(|(place, index, _)| (*place, *index));
    let mut spans = Vec::new();
    for (place, index, state) in told {
        let style = model.theme.state(state);
        if place == 1 {
            spans.push(Span::styled("►FIRST", model.theme.badge(style)));
            spans.push(Span::raw(" "));
        }
        let words = format!("{} {} {}", theme::symbol(state), LINES[index].id(), theme::word(state));
        spans.push(Span::styled(words, style));
        spans.push(Span::styled(" · ", model.theme.dim()));
    }
    spans.push(Span::styled(format!("{quiet} clear"), model.theme.good()));
    frame.buffer_mut().set_line(area.x, area.y, &Line::from(spans), area.width);
}

//! Where in the recording.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::{
    sinks::report::numbers::duration,
    tui::{model::Model, text::columns},
};

pub(super) fn draw(frame: &mut Frame, area: Rect, model: &Model) {
    let (picture, theme) = (model.picture(), model.theme);
    let (Some(player), Some(at_ns)) = (picture.player, model.shown_ns()) else { return };
    let state = if player.playing { "▶ playing" } else { "‖ paused " };
    let seconds = |at_ns: u64| picture.seconds_at(at_ns).map(duration).unwrap_or_default();
    let before = format!("{state}  {}×  {} ", player.speed, seconds(at_ns));
    let mut after = format!(" {}", seconds(player.to_ns));
    if player.same_verdict == Some(false) {
        after += "  ≠ not the verdict that was recorded";
    }
    let room = usize::from(area.width).saturating_sub(columns(&before) + columns(&after));
    let length_ns = player.to_ns.saturating_sub(player.from_ns).max(1);
    let passed_ns = at_ns.saturating_sub(player.from_ns).min(length_ns);
    let full = (u128::from(passed_ns) * room as u128 / u128::from(length_ns)) as usize;
    let line = Line::from(vec![
        Span::styled(before, theme.title()),
        Span::styled("━".repeat(full), theme.chart()),
        Span::styled("─".repeat(room - full), theme.dim()),
        Span::styled(after, if player.same_verdict == Some(false) { theme.unsure() } else { theme.dim() }),
    ]);
    frame.buffer_mut().set_line(area.x, area.y, &line, area.width);
}

//! The load over time, under its phases, with a mark where each fault line was hit.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use super::{
    course::{Axis, bars},
    titled,
};
use crate::{
    core::history::Step,
    sinks::report::{band, numbers::duration, timeline},
    tui::{
        model::{Model, picture::Picture},
        text::{right, short},
    },
};

/// Columns to the left of a chart.
const GUTTER: usize = 8;

pub(super) fn draw(frame: &mut Frame, area: Rect, model: &Model) {
    let inner = titled(frame, area, "Load over time", model.theme);
    let picture = model.picture();
    let Some(axis) = Axis::of(picture, usize::from(inner.width).saturating_sub(GUTTER)) else { return };
    let lines = lines(model, &axis, usize::from(inner.height));
    for (line, row) in lines.iter().zip(inner.rows()) {
        frame.buffer_mut().set_line(row.x, row.y, line, row.width);
    }
    draw_cursor(frame, inner, &axis, model, lines.len());
}

fn lines(model: &Model, axis: &Axis, height: usize) -> Vec<Line<'static>> {
    let (picture, theme) = (model.picture(), model.theme);
    let (bands, marks) = band(picture, axis);
    let room = height.saturating_sub(bands.len() + marks.len() + 1);
    let (upper, lower) = heights(room);
    let mut lines: Vec<Line> = bands.into_iter().map(|text| gutter("", text, theme.dim())).collect();
    lines.extend(chart(model, axis, upper, "conn/s", |step| step.connections_per_s));
    if lower > 0 {
        // So that the top of the one is not taken for the foot of the other.
        lines.push(Line::default());
        lines.extend(chart(model, axis, lower, "open", |step| step.concurrency));
    }
    lines.extend(marks.into_iter().map(|text| gutter("", text, theme.bad())));
    lines.push(gutter("", scale(picture, axis), theme.dim()));
    lines
}

/// Rows of the upper and the lower chart, with one between them. One chart is worth more than two that are too low
/// to read.
fn heights(room: usize) -> (usize, usize) {
    match room.checked_sub(1) {
        Some(rows) if rows >= 4 => (rows.div_ceil(2), rows / 2),
        _ => (room, 0),
    }
}

fn gutter(label: &str, text: String, style: ratatui::style::Style) -> Line<'static> {
    Line::from(vec![
        Span::raw(right(label, GUTTER.saturating_sub(1))),
        Span::raw(" "),
        Span::styled(text, style),
    ])
}

/// The band of phases, and the marks of the onsets.
fn band(picture: &Picture, axis: &Axis) -> (Vec<String>, Vec<String>) {
    let Some(verdict) = picture.verdict.as_deref() else { return (Vec::new(), Vec::new()) };
    let column = |at_s: f64| axis.column_s(verdict, at_s);
    let bands = if verdict.phases.is_empty() {
        Vec::new()
    } else {
        vec![band::phase_line(&timeline::spans(verdict), column, axis.width)]
    };
    (bands, band::mark_lines(&timeline::onsets(verdict), column, axis.width))
}

/// A chart with what its top stands for.
fn chart(
    model: &Model,
    axis: &Axis,
    height: usize,
    name: &str,
    value: impl Fn(&Step) -> Option<f64>,
) -> Vec<Line<'static>> {
    let values = axis.highest(model.picture(), value);
    let top = values.iter().flatten().copied().fold(0.0, f64::max);
    let labels = if values.iter().all(Option::is_none) {
        ["?".to_owned(), name.to_owned()]
    } else {
        [short(top), name.to_owned()]
    };
    bars(&values, top, height)
        .into_iter()
        .enumerate()
        .map(|(row, bar)| gutter(labels.get(row).map_or("", String::as_str), bar, model.theme.chart()))
        .collect()
}

/// When it begins and ends.
fn scale(picture: &Picture, axis: &Axis) -> String {
    let at = |at_ns: u64| picture.seconds_at(at_ns).map(duration).unwrap_or_default();
    let (from, to) = (at(axis.from_ns), at(axis.to_ns));
    let gap = axis.width.saturating_sub(from.chars().count() + to.chars().count());
    format!("{from}{}{to}", " ".repeat(gap))
}

/// A line through everything at the instant that is shown, where that is not the end.
fn draw_cursor(frame: &mut Frame, area: Rect, axis: &Axis, model: &Model, rows: usize) {
    let now_ns = if model.is_replay() { model.shown_ns() } else { model.cursor_ns };
    let Some(at_ns) = now_ns else { return };
    let x = area.x + (GUTTER + axis.column(at_ns)) as u16;
    if x >= area.right() {
        return;
    }
    for row in area.rows().take(rows.saturating_sub(1)) {
        if let Some(cell) = frame.buffer_mut().cell_mut((x, row.y))
            && cell.symbol() != "▲"
        {
            if cell.symbol() == " " {
                cell.set_char('│');
            }
            cell.set_style(model.theme.badge(model.theme.unsure()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::heights;

    #[test]
    fn charts_are_apart_and_none_is_too_low_to_read() {
        for room in 0..60 {
            let (upper, lower) = heights(room);
            let gap = usize::from(lower > 0);
            assert_eq!(upper + gap + lower, room);
            assert!(lower == 0 || lower >= 2 && upper - lower <= 1, "{room}: {upper} and {lower}");
        }
    }
}

//! What happened, the latest below.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::titled;
use crate::{
    core::verdict::{Hit, HitSubject},
    sinks::report::{numbers::count, sentence},
    tui::{
        model::{
            Model, View,
            log::{self, Tone},
        },
        text::{clip, printable, right},
    },
};

/// Columns of the instant.
const INSTANT: usize = 11;

pub(super) fn draw(frame: &mut Frame, area: Rect, model: &Model) {
    let room = usize::from(area.height.saturating_sub(1));
    let all = shown(model).count();
    let scroll = if model.view == View::Log { model.scroll.min(all.saturating_sub(room)) } else { 0 };
    let above = all.saturating_sub(scroll + room);
    let inner = titled(frame, area, &title(model, above, scroll), model.theme);
    // Only what is seen is made: the log is long.
    let lines: Vec<&log::Line> = shown(model).skip(scroll).take(room).collect();
    for (line, row) in lines.into_iter().rev().zip(inner.rows()) {
        let line = of_event(model, line, usize::from(row.width));
        frame.buffer_mut().set_line(row.x, row.y, &line, row.width);
    }
}

/// The events that are to be seen, latest first. What had not happened yet is not shown in the past.
pub(super) fn shown(model: &Model) -> impl Iterator<Item = &log::Line> {
    let until_ns = model.cursor_ns.unwrap_or(u64::MAX);
    model.picture().log.latest(&model.filter).filter(move |line| line.at_ns <= until_ns)
}

fn title(model: &Model, above: usize, below: usize) -> String {
    let mut title = "What happened".to_owned();
    if !model.filter.is_empty() {
        title += &format!(", with \"{}\"", printable(&model.filter));
    }
    let forgotten = model.picture().log.forgotten;
    if forgotten > 0 {
        title += &format!(", without the first {}", count(forgotten));
    }
    match (above, below) {
        (0, 0) => title,
        (above, 0) => format!("{title} ({above} above)"),
        (above, below) => format!("{title} ({above} above, {below} below)"),
    }
}

fn of_event(model: &Model, line: &log::Line, width: usize) -> Line<'static> {
    let theme = model.theme;
    let at = model.picture().seconds_at(line.at_ns).map(|at_s| format!("{at_s:.3} s")).unwrap_or_default();
    let (before, style) = match (&line.tone, &line.onset) {
        (_, Some((id, subject))) => match standing(model, id, subject) {
            Standing::Hit => ("HIT ", theme.bad()),
            Standing::Elsewhere => ("elsewhere, not part of this test: ", theme.dim()),
            Standing::Open => ("failures, not a hit so far: ", theme.unsure()),
        },
        (Tone::Unsure, None) => ("", theme.unsure()),
        (Tone::Plain, None) => ("", Style::new()),
    };
    let text = clip(&format!("{before}{}", line.text), width.saturating_sub(INSTANT + 2));
    Line::from(vec![
        Span::styled(right(&at, INSTANT), theme.dim()),
        Span::raw("  "),
        Span::styled(text, style),
    ])
}

/// What an onset turned out to be.
enum Standing {
    Hit,
    Elsewhere,
    Open,
}

fn standing(model: &Model, id: &str, subject: &HitSubject) -> Standing {
    let place = sentence::place(subject);
    let is_it = |hit: &Hit| hit.fault_line == id && sentence::place(&hit.subject) == place;
    match model.picture().verdict.as_deref() {
        Some(verdict) if verdict.hits.iter().any(is_it) => Standing::Hit,
        Some(verdict) if verdict.elsewhere.iter().any(is_it) => Standing::Elsewhere,
        _ => Standing::Open,
    }
}

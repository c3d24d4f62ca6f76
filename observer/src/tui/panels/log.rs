//! What happened, the latest below.

use ratatui::text::{Line, Span};

use crate::{
    sinks::report::numbers::count,
    tui::{
        model::{
            Model, View,
            log::{self, Tone},
        },
        text::{clip, right},
    },
};

/// Columns of the instant.
const INSTANT: usize = 11;

pub(super) fn title(model: &Model) -> String {
    let log = &model.picture().log;
    let mut title = "What happened".to_owned();
    if !model.filter.is_empty() {
        title += &format!(", with \"{}\"", crate::tui::text::printable(&model.filter));
    }
    if log.forgotten > 0 {
        title += &format!(", without the first {}", count(log.forgotten));
    }
    title
}

/// As much of the log as can be seen, and what is above it; the latest line is the last.
pub(super) fn lines(model: &Model, width: usize, height: usize) -> Vec<Line<'static>> {
    let picture = model.picture();
    // What had not happened yet is not shown in the past.
    let until_ns = model.cursor_ns.unwrap_or(u64::MAX);
    let is_view = model.view == View::Log;
    let wanted = if is_view { usize::MAX } else { height };
    let latest = picture.log.latest(&model.filter).filter(|line| line.at_ns <= until_ns);
    let mut lines: Vec<Line> = latest.take(wanted).map(|line| of_event(model, line, width)).collect();
    lines.reverse();
    lines
}

fn of_event(model: &Model, line: &log::Line, width: usize) -> Line<'static> {
    let theme = model.theme;
    let at = model.picture().seconds_at(line.at_ns).map(|at_s| format!("{at_s:.3} s")).unwrap_or_default();
    let style = match line.tone {
        Tone::Bad => theme.bad(),
        Tone::Unsure => theme.unsure(),
        Tone::Plain => ratatui::style::Style::new(),
    };
    Line::from(vec![
        Span::styled(right(&at, INSTANT), theme.dim()),
        Span::raw("  "),
        Span::styled(clip(&line.text, width.saturating_sub(INSTANT + 2)), style),
    ])
}

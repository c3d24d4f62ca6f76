//! The fault lines by layer: state, headroom, failures, and their course.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::course::sparkline;
use crate::{
    core::{
        lines::{LINES, Layer},
        snapshot::State,
        verdict::Headroom,
    },
    sinks::report::{numbers::percent, sentence},
    tui::{
        keys::Step,
        model::Model,
        text::{left, right, short},
        theme,
    },
};

/// A row of the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    /// The name of a layer.
    Heading(Layer),
    /// A fault line, as an index of the catalogue.
    Line(usize),
}

/// The fault lines layer by layer, in the catalogue's order within each.
fn order() -> Vec<usize> {
    let mut order: Vec<usize> = (0..LINES.len()).collect();
    order.sort_by_key(|line| LINES[*line].layer());
    order
}

/// The line below another one, or above it.
pub(in crate::tui) fn next(selected: usize, step: Step) -> usize {
    let order = order();
    let at = order.iter().position(|line| *line == selected).unwrap_or(0);
    let to = match step {
        Step::On => (at + 1).min(order.len() - 1),
        Step::Back => at.saturating_sub(1),
    };
    order[to]
}

/// The rows below the head that fit, with the selected line among them.
fn rows(height: usize, selected: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for line in order() {
        let layer = LINES[line].layer();
        if rows.last().is_none_or(|last| matches!(last, Row::Line(last) if LINES[*last].layer() != layer)) {
            rows.push(Row::Heading(layer));
        }
        rows.push(Row::Line(line));
    }
    if rows.len() > height {
        rows.retain(|row| matches!(row, Row::Line(_)));
    }
    let at = rows.iter().position(|row| *row == Row::Line(selected)).unwrap_or(0);
    let from = (at + 1).saturating_sub(height);
    rows.into_iter().skip(from).take(height).collect()
}

/// The fault line in a row of the screen.
pub(in crate::tui) fn at(area: Rect, row: u16, selected: usize) -> Option<usize> {
    let below_head = usize::from(row.checked_sub(area.y + 1)?);
    match rows(usize::from(area.height.saturating_sub(1)), selected).get(below_head)? {
        Row::Line(line) => Some(*line),
        Row::Heading(_) => None,
    }
}

/// Columns of each part; 0 leaves it out.
struct Columns {
    layer: usize,
    gauge: usize,
    usage: usize,
    spark: usize,
}

const PLACE: usize = 7;
const NAME: usize = 22;
const STATE: usize = 12;
const PERCENT: usize = 6;
const FAILURES: usize = 9;
const RATE: usize = 6;

/// Below this width there is no room for the layers.
const NARROW: usize = PLACE + NAME + STATE + PERCENT + FAILURES + RATE + 9;

impl Columns {
    fn of(width: usize, has_headings: bool) -> Self {
        let layer = if has_headings || width < NARROW { 0 } else { 9 };
        let mut rest = width.saturating_sub(PLACE + layer + NAME + STATE + PERCENT + FAILURES + RATE);
        let mut take = |wanted: usize, from: usize| {
            let taken = if rest >= from { wanted } else { 0 };
            rest -= taken;
            taken
        };
        let (usage, gauge) = (take(16, 40), take(11, 23));
        Self { layer, gauge, usage, spark: rest.min(40) }
    }
}

pub(super) fn draw(frame: &mut Frame, area: Rect, model: &Model) {
    let rows = rows(usize::from(area.height.saturating_sub(1)), model.selected);
    let has_headings = rows.iter().any(|row| matches!(row, Row::Heading(_)));
    let columns = Columns::of(usize::from(area.width), has_headings);
    let buffer = frame.buffer_mut();
    buffer.set_line(area.x, area.y, &Line::styled(head(&columns), model.theme.dim()), area.width);
    let mut layer = None;
    for (row, place) in rows.iter().zip(area.rows().skip(1)) {
        let line = match row {
            Row::Heading(layer) => {
                Line::styled(format!("{:PLACE$}{}", "", layer.name()), model.theme.title())
            }
            Row::Line(line) => {
                let is_first_of_layer = layer.replace(LINES[*line].layer()) != Some(LINES[*line].layer());
                of_line(model, *line, &columns, is_first_of_layer)
            }
        };
        buffer.set_line(place.x, place.y, &line, place.width);
        if *row == Row::Line(model.selected) {
            buffer.set_style(place, model.theme.selected());
        }
    }
}

fn head(columns: &Columns) -> String {
    let Columns { layer, gauge, usage, spark } = *columns;
    [
        left("", PLACE),
        left("layer", layer),
        left("fault line", NAME),
        left("state", STATE),
        left("used", gauge),
        right(if gauge > 0 { "" } else { "used" }, PERCENT),
        right("of limit", usage),
        right("failures", FAILURES),
        right("/s", RATE),
        left("  history", spark),
    ]
    .concat()
}

/// What is known of a line at the instant that is shown.
struct Values {
    state: State,
    ratio: Option<f64>,
    closest: Option<Headroom>,
    failures: Option<f64>,
    per_s: Option<f64>,
}

impl Values {
    fn of(model: &Model, line: usize) -> Self {
        let picture = model.picture();
        let values = match model.cursor_ns {
            Some(at_ns) => {
                let step = picture.step_at(at_ns).and_then(|step| step.lines.get(line).copied());
                Self {
                    state: picture.state_at(line, at_ns),
                    ratio: step.and_then(|step| step.usage_ratio),
                    closest: None,
                    failures: picture.failures_until(line, at_ns).map(|failures| failures as f64),
                    per_s: picture.failures_per_s_then(line, at_ns),
                }
            }
            None => {
                let now = picture.line(line);
                Self {
                    state: now.map_or(State::NotMeasurable, |now| now.state),
                    ratio: now.and_then(|now| now.closest.as_ref()).map(|closest| closest.ratio),
                    closest: now.and_then(|now| now.closest.clone()),
                    failures: now.map(|now| now.failures as f64),
                    per_s: picture.failures_per_s(line),
                }
            }
        };
        let is_blind = matches!(values.state, State::NotMeasurable | State::Ignored);
        // What cannot be seen is not 0.
        if is_blind { Self { failures: None, per_s: None, ..values } } else { values }
    }
}

fn of_line(model: &Model, line: usize, columns: &Columns, is_first_of_layer: bool) -> Line<'static> {
    let (theme, id) = (model.theme, LINES[line].id());
    let values = Values::of(model, line);
    let style = theme.state(values.state);
    let is_broken = matches!(values.state, State::Hit | State::Passed);
    let number = |value: Option<f64>| value.map(short).unwrap_or_default();
    let quiet = if values.failures.is_some_and(|failures| failures > 0.0) { style } else { theme.dim() };
    let pressed = match values.ratio {
        Some(ratio) if ratio >= 1.0 => theme.bad(),
        Some(ratio) if ratio >= crate::core::snapshot::PRESSED_RATIO => theme.unsure(),
        _ => Style::new(),
    };
    let layer = if is_first_of_layer { LINES[line].layer().name() } else { "" };
    let usage = values.closest.as_ref().map(|usage| {
        let used = sentence::amount(&usage.resource, usage.peak_used);
        format!("{used}/{}", sentence::limit(&usage.resource, usage.limit))
    });
    let name = if is_broken { style } else { Style::new() };
    Line::from(vec![
        place(model, id),
        Span::styled(left(layer, columns.layer), theme.dim()),
        Span::styled(left(id, NAME), name),
        Span::styled(
            left(&format!("{} {}", theme::symbol(values.state), theme::word(values.state)), STATE),
            style,
        ),
        Span::styled(gauge(values.ratio, columns.gauge), pressed),
        Span::styled(right(&values.ratio.map(compact_percent).unwrap_or_default(), PERCENT), pressed),
        Span::raw(right(&usage.unwrap_or_default(), columns.usage)),
        Span::styled(right(&number(values.failures), FAILURES), quiet),
        Span::styled(right(&number(values.per_s), RATE), quiet),
        Span::styled(
            left(
                &format!("  {}", sparkline(model.picture(), line, columns.spark.saturating_sub(2))),
                columns.spark,
            ),
            if is_broken { style } else { theme.chart() },
        ),
    ])
}

/// `►FIRST`, `   #2`: the order in which they were hit.
fn place(model: &Model, id: &str) -> Span<'static> {
    let theme = model.theme;
    let hit = model.picture().hit(id);
    // In the past, what had not been hit yet has no place.
    let then_s = model.cursor_ns.and_then(|at_ns| model.picture().seconds_at(at_ns));
    let hit = hit.filter(|hit| then_s.is_none_or(|then_s| hit.onset_s <= then_s));
    match model.picture().place(id).filter(|_| hit.is_some()) {
        Some(1) => Span::styled("►FIRST ", theme.badge(theme.bad())),
        Some(place) => Span::styled(left(&format!("   #{place}"), PLACE), theme.bad()),
        None => Span::raw(left("", PLACE)),
    }
}

fn compact_percent(ratio: f64) -> String {
    percent(ratio).replace(' ', "")
}

/// `██████▌    `.
fn gauge(ratio: Option<f64>, width: usize) -> String {
    let Some(ratio) = ratio.filter(|_| width > 2) else { return left("", width) };
    let room = width - 1;
    let full = (ratio.clamp(0.0, 1.0) * room as f64).round() as usize;
    left(&format!("{}{}", "█".repeat(full), "░".repeat(room - full)), width)
}

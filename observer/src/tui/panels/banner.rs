//! What broke first; before that, what is closest to breaking.

use ratatui::{Frame, layout::Rect, style::Style, text::Line};

use super::wrapped;
use crate::{
    core::{
        frame::Resource,
        lines::LINES,
        snapshot::State,
        verdict::{Headroom, Hit, Outcome, Verdict},
    },
    sinks::report::{
        numbers::{count, duration, instant},
        sentence,
    },
    tui::{
        model::{Model, picture::Picture},
        text::clip,
    },
};

pub(super) fn draw(frame: &mut Frame, area: Rect, model: &Model) {
    let lines = lines(model, usize::from(area.width));
    for (line, row) in lines.iter().zip(area.rows()) {
        frame.buffer_mut().set_line(row.x, row.y, line, row.width);
    }
}

fn lines(model: &Model, width: usize) -> Vec<Line<'static>> {
    let (picture, theme) = (model.picture(), model.theme);
    let (Some(snapshot), Some(verdict)) = (&picture.snapshot, picture.verdict.as_deref()) else {
        return wrapped("Waiting for the first look at the host.", width, theme.unsure());
    };
    if let Some(first) = &verdict.first {
        let headline = format!("✖ {}", sentence::broke_first(verdict));
        let mut lines = wrapped(&headline, width, theme.bad());
        lines.extend(wrapped(&sentence::because(first), width, Style::new()));
        let place = clip(&crate::tui::text::printable(&place(first)), width);
        lines.push(Line::styled(place, theme.dim()));
        return lines;
    }
    if let Some(line) = snapshot.lines.iter().position(|line| line.state == State::Hit) {
        // The verdict follows within a moment.
        let (id, failures) = (LINES[line].id(), count(snapshot.lines[line].failures));
        return wrapped(&format!("✖ {id} is hit: {failures} failures so far."), width, theme.bad());
    }
    let (headline, style) = match (snapshot.start_ns, verdict.outcome) {
        (None, _) => ("○ Watching. No test has begun yet.".to_owned(), theme.good()),
        (_, Outcome::Inconclusive) => (format!("? {}", sentence::inconclusive(verdict)), theme.unsure()),
        (_, Outcome::Clear) if snapshot.end_ns.is_some() || model.is_replay() => {
            ("○ Nothing broke.".to_owned(), theme.good())
        }
        _ => ("○ Nothing broke so far.".to_owned(), theme.good()),
    };
    let mut lines = wrapped(&headline, width, style);
    lines.extend(wrapped(&closest(picture, verdict), width, Style::new()));
    lines
}

/// Where and when, to the millisecond on both clocks.
fn place(hit: &Hit) -> String {
    let clock = hit.onset.get(11..23).unwrap_or(&hit.onset);
    let place = sentence::place_in_full(&hit.subject);
    format!("{clock} UTC, {} into the episode. {place}", instant(hit.onset_s))
}

/// The resource that is closest to its limit, and the one that gets there soonest.
fn closest(picture: &Picture, verdict: &Verdict) -> String {
    let now: Vec<&Headroom> = picture
        .snapshot
        .iter()
        .flat_map(|snapshot| &snapshot.lines)
        .filter_map(|line| line.closest.as_ref())
        .chain(other(verdict))
        .collect();
    let Some(closest) = now.iter().max_by(|a, b| a.ratio.total_cmp(&b.ratio)) else {
        return "No resource with a limit was seen yet.".to_owned();
    };
    let mut words = format!("Closest to its limit: {}{}.", sentence::use_of(closest), at_this_rate(closest));
    let soonest = now
        .iter()
        .filter(|usage| usage.forecast_s.is_some_and(|left_s| left_s <= SOON_S))
        .min_by(|a, b| a.forecast_s.unwrap_or(SOON_S).total_cmp(&b.forecast_s.unwrap_or(SOON_S)));
    if let Some(soonest) = soonest.filter(|soonest| soonest.resource != closest.resource) {
        words += &format!(" Soonest: {}{}.", sentence::use_of(soonest), at_this_rate(soonest));
    }
    words
}

/// A limit that is farther away than this is not worth a word.
const SOON_S: f64 = 600.0;

fn at_this_rate(usage: &Headroom) -> String {
    let left = usage.forecast_s.filter(|left_s| *left_s <= SOON_S);
    left.map_or(String::new(), |left_s| format!(", full in {} at this rate", duration(left_s)))
}

/// What a verdict knows of resources that no fault line stands for.
fn other(verdict: &Verdict) -> impl Iterator<Item = &Headroom> {
    let stands = |name: &str| {
        LINES.iter().filter_map(|line| line.resource()).map(Resource::name).any(|known| known == name)
    };
    verdict.headroom.iter().filter(move |usage| !stands(&usage.resource))
}

//! The run as a band of phases, with a mark where each fault line was hit.

use super::{document::printable, numbers::duration};
use crate::core::verdict::{Hit, Phase};

/// As many hits have a digit of their own.
const MARKS: usize = 9;

/// Draws the band; nothing when there is no time to draw.
pub(super) fn draw(phases: &[Phase], hits: &[Hit], length_s: Option<f64>, width: usize) -> Vec<String> {
    let finite = |it: &f64| it.is_finite();
    let ends = phases.iter().map(|it| it.end_s).chain(hits.iter().map(|it| it.onset_s)).chain(length_s);
    let end = ends.filter(finite).fold(0.0, f64::max);
    let start = phases.iter().map(|it| it.start_s).filter(finite).fold(0.0, f64::min);
    if end <= start || width < 10 || phases.is_empty() && hits.is_empty() {
        return Vec::new();
    }
    let column = |seconds: f64| -> usize {
        let share = ((seconds - start) / (end - start)).clamp(0.0, 1.0);
        // Both ends are finite, so the product is a column.
        (share * (width - 1) as f64).round() as usize
    };
    let mut lines = vec![phase_line(phases, column, width)];
    lines.extend(mark_lines(hits, column, width));
    let (from, to) = (duration(start), duration(end));
    let gap = width.saturating_sub(from.chars().count() + to.chars().count());
    lines.push(format!("{from}{}{to}", " ".repeat(gap)));
    lines
}

/// `|-- idle --|---- ramp_up ----|`.
pub(crate) fn phase_line(phases: &[Phase], column: impl Fn(f64) -> usize, width: usize) -> String {
    let mut line = vec!['─'; width];
    for phase in phases {
        let (from, to) = (column(phase.start_s), column(phase.end_s));
        for border in [from, to] {
            if let Some(cell) = line.get_mut(border) {
                *cell = '│';
            }
        }
        let room = to.saturating_sub(from + 1);
        let name = printable(&phase.name);
        let letters = name.chars().count();
        let label: Vec<char> = match room {
            _ if letters + 2 <= room => format!(" {name} ").chars().collect(),
            _ if letters <= room => name.chars().collect(),
            0..=2 => Vec::new(),
            _ => name.chars().take(room - 1).chain(['…']).collect(),
        };
        let at = from + 1 + (room - label.len()) / 2;
        for (cell, letter) in line.iter_mut().skip(at).zip(label) {
            *cell = letter;
        }
    }
    line.into_iter().collect()
}

/// An arrow at each onset, and below it the number that the hit has in the table.
pub(crate) fn mark_lines(hits: &[Hit], column: impl Fn(f64) -> usize, width: usize) -> Vec<String> {
    let mut arrows = vec![' '; width];
    let mut digits = vec![' '; width];
    for (digit, hit) in ('1'..='9').zip(hits.iter().take(MARKS)) {
        let at = column(hit.onset_s);
        // Where another one stands already, the next free place beside it will do.
        let free = (at..width).chain((0..at).rev()).find(|place| digits.get(*place) == Some(&' '));
        let Some(place) = free else { continue };
        if let (Some(arrow), Some(cell)) = (arrows.get_mut(place), digits.get_mut(place)) {
            (*arrow, *cell) = ('▲', digit);
        }
    }
    [arrows, digits]
        .map(|line| line.into_iter().collect::<String>().trim_end().to_owned())
        .into_iter()
        .filter(|line| !line.is_empty())
        .collect()
}

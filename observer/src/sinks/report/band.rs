//! The run as a band of phases, with a mark where each fault line was hit.

use super::{
    document::printable,
    numbers::duration,
    timeline::{Onset, Span, Timeline},
};

/// As many hits have a digit of their own.
const MARKS: usize = 9;

/// Draws the band in lines of this width.
pub(super) fn draw(timeline: &Timeline, width: usize) -> Vec<String> {
    // The share is between 0 and 1, so the product is a column.
    let column = |seconds: f64| (timeline.share(seconds) * width.saturating_sub(1) as f64).round() as usize;
    let mut lines = vec![phase_line(&timeline.phases, column, width)];
    lines.extend(mark_lines(&timeline.onsets, column, width));
    let (from, to) = (duration(timeline.start_s), duration(timeline.end_s));
    let gap = width.saturating_sub(from.chars().count() + to.chars().count());
    lines.push(format!("{from}{}{to}", " ".repeat(gap)));
    lines
}

/// `|-- idle --|---- ramp_up ----|`.
pub(crate) fn phase_line(phases: &[Span], column: impl Fn(f64) -> usize, width: usize) -> String {
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
pub(crate) fn mark_lines(onsets: &[Onset], column: impl Fn(f64) -> usize, width: usize) -> Vec<String> {
    let mut arrows = vec![' '; width];
    let mut digits = vec![' '; width];
    for onset in onsets.iter().take_while(|onset| onset.number <= MARKS) {
        let Some(digit) = u32::try_from(onset.number).ok().and_then(|number| char::from_digit(number, 10))
        else {
            continue;
        };
        let at = column(onset.at_s);
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

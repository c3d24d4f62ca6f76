//! The pieces of a report, laid out for a panel.

use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::wrapped;
use crate::{
    sinks::report::document::{Block, Table, Tone},
    tui::{
        text::{columns, left, printable, right, wrap},
        theme::Theme,
    },
};

/// Columns between two columns of a table.
const GAP: usize = 2;

pub(super) fn lines(blocks: &[Block], width: usize, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for block in blocks {
        match block {
            Block::Headline(tone, text) => lines.extend(wrapped(text, width, headline(*tone, theme))),
            Block::Heading(text) | Block::Subheading(text) => {
                lines.push(Line::default());
                lines.extend(wrapped(text, width, theme.title()));
            }
            Block::Paragraph(text) => lines.extend(wrapped(text, width, Style::new())),
            Block::List(points) => lines.extend(points.iter().flat_map(|text| point(text, width, theme))),
            Block::Table(of) => lines.extend(table(of, width, theme)),
            // Those have panels of their own.
            Block::Commands(_) | Block::Timeline(_) | Block::Appendix(..) => {}
        }
    }
    lines
}

fn headline(tone: Tone, theme: Theme) -> Style {
    match tone {
        Tone::Bad => theme.bad(),
        Tone::Good => theme.good(),
        Tone::Unsure => theme.unsure(),
    }
}

fn point(text: &str, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = wrapped(text, width.saturating_sub(2), Style::new());
    for (at, line) in lines.iter_mut().enumerate() {
        line.spans.insert(0, Span::styled(if at == 0 { "- " } else { "  " }, theme.dim()));
    }
    lines
}

/// A table with its head; what is too long for its column goes on below.
fn table(table: &Table, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let heads: Vec<String> = table.columns.iter().map(|column| column.name.to_owned()).collect();
    let rows = table.rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect());
    let rows: Vec<Vec<String>> = std::iter::once(heads).chain(rows).collect();
    let widths = widths(&rows, width);
    let laid_out = rows.iter().enumerate().flat_map(|(at, row)| {
        let cells: Vec<Vec<String>> =
            row.iter().zip(&widths).map(|(cell, width)| wrap(cell, *width)).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        let style = if at == 0 { theme.dim() } else { Style::new() };
        let line = |row: usize| {
            let cells = cells.iter().zip(&widths).zip(&table.columns);
            let text: String = cells
                .map(|((cell, width), column)| {
                    let text = cell.get(row).map_or("", String::as_str);
                    let text = if column.right { right(text, *width) } else { left(text, *width) };
                    text + &" ".repeat(GAP)
                })
                .collect();
            Line::styled(text, style)
        };
        (0..height).map(line).collect::<Vec<_>>()
    });
    laid_out.collect()
}

/// What each column wants; where that is too much, the widest give way.
fn widths(rows: &[Vec<String>], room: usize) -> Vec<usize> {
    let count = rows.first().map_or(0, Vec::len);
    let wanted = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| columns(cell)).max();
    let mut widths: Vec<usize> = (0..count).map(|at| wanted(at).unwrap_or(0)).collect();
    while widths.iter().map(|width| width + GAP).sum::<usize>() > room {
        match widths.iter_mut().max() {
            Some(widest) if *widest > 1 => *widest -= 1,
            _ => break,
        }
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::report::document::left;

    #[test]
    fn a_table_keeps_to_its_room_and_leaves_nothing_out() {
        let row = vec!["a resource".to_owned(), "somewhere far away, on another host altogether".to_owned()];
        let of = Table::new(vec![left("what"), left("where")], vec![row.clone()]);
        for room in [24, 40, 80] {
            let lines = table(&of, room, Theme::default());
            let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
            assert!(text.iter().all(|line| columns(line) <= room), "{text:?}");
            for word in row.iter().flat_map(|cell| cell.split(' ')) {
                assert!(text.iter().any(|line| line.contains(word)), "{word} is missing: {text:?}");
            }
        }
    }
}

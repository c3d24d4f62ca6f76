//! A screen as SVG, with the colours of a dark terminal. Blocks and lines are drawn as shapes and everything else is
//! fitted to its cells, so that it looks the same whatever font there is.

use std::fmt::Write as _;

use ratatui::{
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};

/// A cell, and the space around the screen, in pixels.
const CELL: (f32, f32) = (8.4, 18.0);
const MARGIN: f32 = 14.0;
/// From the top of a cell to the line that letters stand on.
const BASE: f32 = 13.5;

const BACKGROUND: &str = "#14171c";
const FONT: &str =
    "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace";

/// What is on the screen; the title is for those who cannot see it.
pub(super) fn svg(buffer: &Buffer, title: &str) -> String {
    let (columns, rows) = (buffer.area.width, buffer.area.height);
    let (width, height) =
        (2.0 * MARGIN + CELL.0 * f32::from(columns), 2.0 * MARGIN + CELL.1 * f32::from(rows));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" role=\"img\" font-family=\"{FONT}\" font-size=\"14\" \
         shape-rendering=\"crispEdges\">\n\
         <title>{title}</title>\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n"
    );
    for row in 0..rows {
        let cells: Vec<&Cell> = (0..columns).map(|column| &buffer[(column, row)]).collect();
        let mut column = 0;
        // Words of one style are drawn in one piece, and so is a line of one symbol.
        for piece in cells.chunk_by(|a, b| a.style() == b.style() && kind(a) == kind(b)) {
            draw(&mut svg, piece, at(column, row));
            column += piece.len() as u16;
        }
    }
    svg + "</svg>\n"
}

fn at(column: u16, row: u16) -> (f32, f32) {
    (MARGIN + CELL.0 * f32::from(column), MARGIN + CELL.1 * f32::from(row))
}

fn draw(svg: &mut String, piece: &[&Cell], (x, y): (f32, f32)) {
    let Some(first) = piece.first() else { return };
    let has = |modifier| first.modifier.contains(modifier);
    let (width, mut ink) = (CELL.0 * piece.len() as f32, color(first.fg));
    assert_eq!(first.bg, Color::Reset, "the dashboard leaves the background alone");
    if has(Modifier::REVERSED) {
        rect(svg, (x, y), (width, CELL.1), ink);
        ink = BACKGROUND;
    }
    if has(Modifier::UNDERLINED) {
        rect(svg, (x, y + CELL.1 - 2.0), (width, 1.0), ink);
    }
    let text: String = piece.iter().map(|cell| cell.symbol()).collect();
    if text.trim().is_empty() || shape(svg, &text, (x, y), ink) {
        return;
    }
    let weight = if has(Modifier::BOLD) { " font-weight=\"bold\"" } else { "" };
    let mut write = |column: usize, words: &str| {
        let width = CELL.0 * words.chars().count() as f32;
        let (x, y) = (x + CELL.0 * column as f32, y + BASE);
        // A symbol stands in the middle of its cell: its font may be another.
        let place = match kind(first) {
            Some(_) => format!("x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"middle\"", x + CELL.0 / 2.0),
            None => format!("x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{width:.1}\""),
        };
        let words = words.replace('&', "&amp;").replace('<', "&lt;");
        writeln!(svg, "<text {place} fill=\"{ink}\"{weight}>{words}</text>").unwrap();
    };
    match kind(first) {
        Some(_) => text.chars().enumerate().for_each(|(at, symbol)| write(at, &symbol.to_string())),
        // Between words, spaces of one cell are kept as they are.
        None => text
            .split("  ")
            .scan(0, |at, words| Some((std::mem::replace(at, *at + words.len() + 2), words)))
            .filter(|(_, words)| !words.trim().is_empty())
            .for_each(|(at, words)| {
                write(at + words.len() - words.trim_start().len(), words.trim());
            }),
    }
}

/// None is a part of words; a symbol is of its own kind.
fn kind(cell: &Cell) -> Option<&str> {
    Some(cell.symbol()).filter(|symbol| !symbol.is_ascii())
}

/// Blocks and lines of one symbol, which have to meet in every font. Answers whether it was one.
fn shape(svg: &mut String, text: &str, (x, y): (f32, f32), ink: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let (width, height) = (CELL.0 * text.chars().count() as f32, CELL.1);
    match first {
        '─' => rect(svg, (x, y + height / 2.0 - 0.5), (width, 1.0), ink),
        '━' => rect(svg, (x, y + height / 2.0 - 1.5), (width, 3.0), ink),
        '│' => {
            for column in 0..text.chars().count() {
                rect(svg, (x + CELL.0 * (column as f32 + 0.5) - 0.5, y), (1.0, height), ink);
            }
        }
        '░' => {
            // As light as its dots, and apart from the row below: the last two digits are how much covers.
            rect(svg, (x, y + 1.0), (width, height - 2.0), &format!("{ink}33"));
        }
        // One eighth to the whole of a cell, from below.
        '▁'..='█' => {
            let high = height * (first as u32 - '▁' as u32 + 1) as f32 / 8.0;
            rect(svg, (x, y + height - high), (width, high), ink);
        }
        _ => return false,
    }
    true
}

fn rect(svg: &mut String, (x, y): (f32, f32), (width, height): (f32, f32), ink: &str) {
    writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{ink}\"/>"
    )
    .unwrap();
}

/// What a dark terminal makes of the colours of the theme.
fn color(color: Color) -> &'static str {
    match color {
        Color::Reset => "#d7dae0",
        Color::LightRed => "#ff6b6b",
        Color::Yellow => "#e2b93d",
        Color::Green => "#6cc070",
        Color::Cyan => "#4dc4d6",
        Color::LightBlue => "#6ea8fe",
        Color::Indexed(245) => "#8a8a8a",
        other => unreachable!("no colour for {other}: the theme has a new one"),
    }
}

//! A report for a terminal.

use super::{
    Style, band,
    document::{Block, Column, Table, Tone, printable},
};

const INDENT: &str = "  ";
const BOLD: &str = "1";
const DIM: &str = "2";

/// Renders the report for a terminal of the style's width.
pub(super) fn render(document: Vec<Block>, style: Style) -> String {
    // Wider lines are hard to read, narrower ones cannot hold a table.
    let mut page = Page { color: style.color, width: style.width.clamp(40, 120), out: String::new() };
    let mut before: Option<Block> = None;
    for block in document {
        // A table keeps its distance from what is above it, unless that is its heading.
        if matches!(block, Block::Table(_))
            && !matches!(before, Some(Block::Heading(_) | Block::Subheading(_)))
        {
            page.out.push('\n');
        }
        page.block(&block);
        before = Some(block);
    }
    page.out
}

struct Page {
    color: bool,
    width: usize,
    out: String,
}

impl Page {
    fn block(&mut self, block: &Block) {
        match block {
            Block::Headline(tone, text) => {
                let color = match tone {
                    Tone::Bad => "1;31",
                    Tone::Good => "1;32",
                    Tone::Unsure => "1;33",
                };
                self.wrapped(text, "", "", color);
            }
            Block::Heading(text) | Block::Subheading(text) => {
                self.out.push('\n');
                self.wrapped(text, "", "", BOLD);
            }
            Block::Paragraph(text) if self.is_in_section() => self.wrapped(text, INDENT, INDENT, ""),
            Block::Paragraph(text) => self.wrapped(text, "", "", ""),
            Block::List(points) => {
                for point in points {
                    self.wrapped(point, "  - ", "    ", "");
                }
            }
            Block::Table(table) => self.table(table),
            // Not wrapped: what is copied has to stay in one piece.
            Block::Commands(lines) => {
                for line in lines {
                    self.line(&format!("{INDENT}{INDENT}{}", printable(line)), "");
                }
            }
            Block::Timeline(timeline) => {
                for line in band::draw(timeline, self.width - 2 * INDENT.len()) {
                    self.line(&format!("{INDENT}{}", printable(&line)), "");
                }
            }
            Block::Appendix(..) => {}
        }
    }

    /// Whether a heading has been written.
    fn is_in_section(&self) -> bool {
        self.out.contains("\n\n")
    }

    fn line(&mut self, line: &str, color: &str) {
        let line = line.trim_end();
        if self.color && !color.is_empty() && !line.is_empty() {
            self.out += &format!("\x1b[{color}m{line}\x1b[0m\n");
        } else {
            self.out += line;
            self.out.push('\n');
        }
    }

    fn wrapped(&mut self, text: &str, first: &str, rest: &str, color: &str) {
        let room = self.width.saturating_sub(rest.chars().count());
        for (at, line) in wrap(&printable(text), room).iter().enumerate() {
            self.line(&format!("{}{line}", if at == 0 { first } else { rest }), color);
        }
    }

    fn table(&mut self, table: &Table) {
        let rows: Vec<Vec<String>> =
            table.rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
        let heads: Vec<String> = table.columns.iter().map(|column| column.name.to_owned()).collect();
        let widths: Vec<usize> = (0..heads.len())
            .map(|at| {
                let cells = rows.iter().chain([&heads]).filter_map(|row| row.get(at));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        self.line(&cells(&table.columns, &widths, &heads), DIM);
        for row in &rows {
            self.line(&cells(&table.columns, &widths, row), "");
        }
    }
}

/// One line of a table.
fn cells(columns: &[Column], widths: &[usize], row: &[String]) -> String {
    let mut line = String::from(INDENT);
    for ((column, width), cell) in columns.iter().zip(widths).zip(row) {
        let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
        line += &if column.right { format!("{gap}{cell}  ") } else { format!("{cell}{gap}  ") };
    }
    line
}

/// Lines of at most so many letters, broken between words. A longer word has a line of its own.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut length = 0;
    for word in text.split_whitespace() {
        let letters = word.chars().count();
        if length > 0 && length + 1 + letters > room {
            lines.push(std::mem::take(&mut line));
            length = 0;
        }
        if length > 0 {
            line.push(' ');
            length += 1;
        }
        line += word;
        length += letters;
    }
    if length > 0 {
        lines.push(line);
    }
    lines
}

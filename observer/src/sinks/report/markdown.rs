//! A report for a ticket.

use super::{
    band,
    document::{Block, Table, printable},
};

/// How wide drawings are.
const WIDTH: usize = 76;

/// Renders the report as Markdown (the GitHub flavour, for its tables).
pub(super) fn render(document: &[Block]) -> String {
    let blocks: Vec<String> = document.iter().map(block).collect();
    blocks.join("\n\n") + "\n"
}

fn block(block: &Block) -> String {
    match block {
        Block::Headline(_, text) => format!("**{}**", escaped(text)),
        Block::Heading(text) => format!("### {}", escaped(text)),
        Block::Subheading(text) => format!("#### {}", escaped(text)),
        Block::Paragraph(text) => escaped(text),
        Block::List(points) => {
            points.iter().map(|point| format!("- {}", escaped(point))).collect::<Vec<_>>().join("\n")
        }
        Block::Table(table) => self::table(table),
        Block::Commands(lines) => fenced("sh", lines),
        Block::Timeline(timeline) => fenced("text", &band::draw(timeline, WIDTH)),
        Block::Appendix(heading, table) => {
            let (heading, table) = (escaped(heading), self::table(table));
            format!("<details><summary>{heading}</summary>\n\n{table}\n\n</details>")
        }
    }
}

fn table(table: &Table) -> String {
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let heads = table.columns.iter().map(|column| escaped(column.name)).collect();
    let rules =
        table.columns.iter().map(|column| if column.right { "--:" } else { "---" }.to_owned()).collect();
    let rows = table.rows.iter().map(|row| line(row.iter().map(|cell| escaped(cell)).collect()));
    [line(heads), line(rules)].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

/// Lines as they are. The fence is longer than any in them.
fn fenced(language: &str, lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| printable(line)).collect();
    let longest = lines.iter().flat_map(|line| line.split(|it| it != '`')).map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}", lines.join("\n"))
}

/// Text that Markdown shows as it is.
fn escaped(text: &str) -> String {
    let text = printable(text);
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    let mut before = ' ';
    while let Some(letter) = letters.next() {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // Inside a word, as in the name of a fault line, it means nothing.
            '_' if before.is_alphanumeric() && letters.peek().is_some_and(|it| it.is_alphanumeric()) => {
                out.push('_');
            }
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' => out.extend(['\\', letter]),
            _ => out.push(letter),
        }
        before = letter;
    }
    // `->` reads better than its escape, and cannot open a tag.
    out.replace("-&gt;", "->")
}

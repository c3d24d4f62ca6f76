//! The pieces of a report as HTML: the headline is the page's, every other heading begins a section.

use super::{chart, markup::Markup};
use crate::sinks::report::document::{Block, Table, Tone};

/// Writes the whole document into the body.
pub(super) fn write(page: &mut Markup, document: &[Block]) {
    let is_heading = |block: &Block| matches!(block, Block::Heading(_) | Block::Appendix(..));
    let opening = document.iter().position(is_heading).unwrap_or(document.len());
    let (opening, rest) = document.split_at(opening);
    page.within("header", &[], |page| opening.iter().for_each(|block| self::block(page, "", block)));
    page.within("main", &[], |page| {
        let mut rest = rest;
        let mut number = 0;
        while let Some((first, after)) = rest.split_first() {
            let length = after.iter().position(is_heading).unwrap_or(after.len());
            let (content, next) = after.split_at(length);
            number += 1;
            section(page, number, first, content);
            rest = next;
        }
    });
}

fn section(page: &mut Markup, number: usize, first: &Block, content: &[Block]) {
    let id = format!("section-{number}");
    match first {
        Block::Heading(title) => page.within("section", &[("aria-labelledby", &id)], |page| {
            page.element("h2", &[("id", &id)], title);
            content.iter().for_each(|block| self::block(page, title, block));
        }),
        other => block(page, "", other),
    }
}

fn block(page: &mut Markup, section: &str, block: &Block) {
    match block {
        Block::Headline(tone, text) => {
            let class = match tone {
                Tone::Bad => "bad",
                Tone::Good => "good",
                Tone::Unsure => "unsure",
            };
            page.element("h1", &[("class", class)], text);
        }
        Block::Heading(text) => page.element("h2", &[], text),
        Block::Subheading(text) => page.element("h3", &[], text),
        Block::Paragraph(text) => page.element("p", &[], text),
        Block::List(points) => page.within("ul", &[], |page| {
            points.iter().for_each(|point| page.element("li", &[], point));
        }),
        Block::Table(table) => self::table(page, section, table),
        Block::Commands(lines) => page.within("ul", &[("class", "commands")], |page| {
            for line in lines {
                page.within("li", &[], |page| page.element("code", &[], line));
            }
        }),
        Block::Timeline(timeline) => chart::draw(page, timeline),
        Block::Appendix(title, table) => page.within("details", &[], |page| {
            page.element("summary", &[], title);
            self::table(page, title, table);
        }),
    }
}

/// A table that scrolls by itself where the window is narrow: for that, a keyboard has to reach it.
fn table(page: &mut Markup, section: &str, table: &Table) {
    let first = table.columns.first().map_or("", |column| column.name);
    let label = format!("{section}: table by {first}");
    let attributes = [("class", "scroll"), ("role", "group"), ("tabindex", "0"), ("aria-label", &label)];
    page.within("div", &attributes, |page| {
        page.within("table", &[], |page| {
            page.within("thead", &[], |page| {
                page.within("tr", &[], |page| {
                    for column in &table.columns {
                        head(page, column.name, column.right);
                    }
                });
            });
            page.within("tbody", &[], |page| table.rows.iter().for_each(|row| self::row(page, table, row)));
        });
    });
}

/// The heading of a column; where a column explains itself, there is none to read out.
fn head(page: &mut Markup, name: &str, right: bool) {
    match (name, right) {
        ("", _) => page.element("td", &[], ""),
        (_, true) => page.element("th", &[("scope", "col"), ("class", "number")], name),
        (_, false) => page.element("th", &[("scope", "col")], name),
    }
}

fn row(page: &mut Markup, table: &Table, row: &[String]) {
    page.within("tr", &[], |page| {
        for (column, cell) in table.columns.iter().zip(row) {
            let class: &[_] = if column.right { &[("class", "number")] } else { &[] };
            page.element("td", class, cell);
        }
    });
}

//! What a report says, before it is laid out: the same for every format that people read.

use super::timeline::Timeline;

/// How good the news is; a layout may colour by it, never say by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Something broke.
    Bad,
    /// Nothing broke.
    Good,
    /// One cannot tell.
    Unsure,
}

/// A piece of a report.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Block {
    /// The first sentence.
    Headline(Tone, String),
    /// Begins a section.
    Heading(String),
    /// Begins a part of a section.
    Subheading(String),
    /// Running text.
    Paragraph(String),
    /// Points, one below the other.
    List(Vec<String>),
    /// Columns of values.
    Table(Table),
    /// Lines to copy into a shell, as they are.
    Commands(Vec<String>),
    /// The run as a drawing.
    Timeline(Timeline),
    /// What a ticket wants for reference and a screen does not.
    Appendix(String, Table),
}

/// Columns of values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// Their headings.
    pub(crate) columns: Vec<Column>,
    /// As many cells in each as there are columns.
    pub(crate) rows: Vec<Vec<String>>,
}

/// How a column is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// Its heading.
    pub(crate) name: &'static str,
    /// Whether it holds numbers.
    pub(crate) right: bool,
}

/// A column of words.
pub(crate) fn left(name: &'static str) -> Column {
    Column { name, right: false }
}

/// A column of numbers.
pub(crate) fn right(name: &'static str) -> Column {
    Column { name, right: true }
}

impl Table {
    /// A table without the columns in which there is nothing.
    pub(crate) fn new(columns: Vec<Column>, rows: Vec<Vec<String>>) -> Self {
        let filled = |at: &usize| rows.iter().any(|row| row.get(*at).is_some_and(|cell| !cell.is_empty()));
        let keep: Vec<usize> = (0..columns.len()).filter(filled).collect();
        Self {
            columns: keep.iter().filter_map(|at| columns.get(*at).copied()).collect(),
            rows: rows
                .iter()
                .map(|row| keep.iter().map(|at| row.get(*at).cloned().unwrap_or_default()).collect())
                .collect(),
        }
    }
}

/// Text that others chose (names of processes, arguments), fit to be printed: a control character
/// would move the cursor or end a line.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            '\n' | '\r' | '\t' => ' ',
            // The second range turns the direction of writing around.
            _ if letter.is_control()
                || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                char::REPLACEMENT_CHARACTER
            }
            _ => letter,
        })
        .collect()
}

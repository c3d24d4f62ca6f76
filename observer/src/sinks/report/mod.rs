//! The post-mortem: a verdict, or two that are compared, for people (text, Markdown, HTML) and for
//! programs (JSON).
//!
//! What is said is decided once, in `content` and `comparison`, out of the words in `sentence`, `about` and
//! `numbers`; `text`, `markdown` and `html` only lay it out.

mod about;
pub(crate) mod band;
pub(crate) mod comparison;
mod content;
pub(crate) mod document;
mod html;
mod json;
mod lanes;
mod markdown;
pub(crate) mod numbers;
pub(crate) mod sentence;
mod text;
pub(crate) mod timeline;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
pub(crate) mod sample;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

use self::{content::Extent, timeline::Course};
use crate::core::{compare::Comparison, history::History, verdict::Verdict};

/// In which form a verdict is rendered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a terminal.
    #[default]
    Text,
    /// The contract: `observer.verdict/1`, `observer.comparison/1`.
    Json,
    /// For a ticket.
    Markdown,
    /// For a browser: one page, with the timeline to zoom into.
    Html,
}

/// How text is laid out. The other formats do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether to use colours; nothing is said by them alone.
    pub color: bool,
    /// Columns of the terminal.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self { color: false, width: 80 }
    }
}

/// Renders a verdict. The same verdict always gives the same bytes, and they end with a newline.
pub fn render(verdict: &Verdict, format: Format, style: Style) -> String {
    let brief = || content::document(verdict, Extent::Brief, None);
    match format {
        Format::Text => text::render(brief(), style),
        Format::Json => json::render(verdict),
        Format::Markdown => markdown::render(&brief()),
        Format::Html => page(verdict, None),
    }
}

/// Renders a verdict with the course that led to it, for the format that draws it.
pub fn render_course(verdict: &Verdict, history: &History, format: Format, style: Style) -> String {
    match format {
        Format::Html => page(verdict, lanes::of(history, verdict)),
        Format::Text | Format::Json | Format::Markdown => render(verdict, format, style),
    }
}

/// A verdict for a browser, with everything that is known.
fn page(verdict: &Verdict, course: Option<Course>) -> String {
    html::render(&content::document(verdict, Extent::Full, course), &about::made_by(verdict))
}

/// Renders a comparison of two runs, on the same terms.
pub fn render_comparison(comparison: &Comparison, format: Format, style: Style) -> String {
    let document = || comparison::document(comparison);
    match format {
        Format::Text => text::render(document(), style),
        Format::Json => json::render(comparison),
        Format::Markdown => markdown::render(&document()),
        Format::Html => html::render(&document(), &about::compared_by(comparison)),
    }
}

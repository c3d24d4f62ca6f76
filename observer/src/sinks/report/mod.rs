//! The post-mortem: a verdict for people (text, Markdown) and for programs (JSON).
//!
//! What is said is decided once, in `content`, out of the words in `sentence`, `about` and `numbers`; `text`
//! and `markdown` only lay it out.

mod about;
pub(crate) mod band;
mod content;
pub(crate) mod document;
mod json;
mod markdown;
pub(crate) mod numbers;
pub(crate) mod sentence;
mod text;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
pub(crate) mod sample;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

use crate::core::verdict::Verdict;

/// In which form a verdict is rendered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For a terminal.
    #[default]
    Text,
    /// The contract, `observer.verdict/1`.
    Json,
    /// For a ticket.
    Markdown,
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
    match format {
        Format::Text => text::render(verdict, style),
        Format::Json => json::render(verdict),
        Format::Markdown => markdown::render(verdict),
    }
}

//! What led to what, as a tree.

use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::wrapped;
use crate::{
    core::verdict::{Hit, Link, Verdict},
    sinks::report::{numbers::duration, sentence},
    tui::{model::Model, text},
};

/// As deep as a chain is drawn: links may go in a circle.
const DEEPEST: usize = 6;
/// As many hits without a cause or an effect are told.
const ALONE: usize = 20;
/// As many hits elsewhere are told.
const ELSEWHERE: usize = 5;

pub(super) fn lines(model: &Model, width: usize) -> Vec<Line<'static>> {
    let theme = model.theme;
    let Some(verdict) = model.picture().verdict.as_deref() else { return Vec::new() };
    let mut lines = Vec::new();
    let causes = sentence::unique(verdict.chain.iter().map(|link| link.cause.as_str()));
    let is_effect = |id: &str| verdict.chain.iter().any(|link| link.effect == id);
    for root in causes.into_iter().filter(|cause| !is_effect(cause)) {
        lines.push(Line::styled(root.to_owned(), theme.bad()));
        effects(&mut lines, model, verdict, root, width, 1);
    }
    let alone = verdict.hits.iter().filter(|hit| !verdict.chain.iter().any(|link| names(link, hit)));
    for hit in alone.take(ALONE) {
        lines.extend(wrapped(
            &format!("{} at {}, by itself", hit.fault_line, sentence::place(&hit.subject)),
            width,
            theme.bad(),
        ));
    }
    if lines.is_empty() {
        lines.push(Line::styled("Nothing was hit.", theme.dim()));
    }
    for hit in verdict.elsewhere.iter().take(ELSEWHERE) {
        let words = format!(
            "elsewhere on this host, not part of this test: {} at {}, {}",
            hit.fault_line,
            sentence::place(&hit.subject),
            sentence::when(hit)
        );
        lines.extend(wrapped(&words, width, theme.dim()));
    }
    lines
}

fn names(link: &Link, hit: &Hit) -> bool {
    link.cause == hit.fault_line || link.effect == hit.fault_line
}

fn effects(
    lines: &mut Vec<Line<'static>>,
    model: &Model,
    verdict: &Verdict,
    cause: &str,
    width: usize,
    depth: usize,
) {
    let indent = "   ".repeat(depth);
    for link in verdict.chain.iter().filter(|link| link.cause == cause) {
        lines.push(Line::from(vec![
            Span::raw(format!("{}└─ ", "   ".repeat(depth - 1))),
            Span::styled(link.effect.clone(), model.theme.bad()),
            Span::styled(format!(", {} later", duration(link.lag_s)), Style::new()),
        ]));
        let mechanism = text::printable(link.mechanism.trim());
        let room = width.saturating_sub(indent.len());
        lines.extend(
            text::wrap(&mechanism, room)
                .into_iter()
                .map(|line| Line::styled(format!("{indent}{line}"), model.theme.dim())),
        );
        if depth < DEEPEST {
            effects(lines, model, verdict, &link.effect, width, depth + 1);
        }
    }
}

//! `observer explain`: the catalogue in words.

use std::fmt::Write as _;

use anyhow::Result;

use super::answer;
use crate::{
    cli::ExplainArgs,
    core::{
        lines::{self, FaultLine, LINES},
        verdict::HitSubject,
    },
};

const WIDTH: usize = 96;

pub(super) fn explain(args: &ExplainArgs) -> Result<()> {
    match args.fault_line.as_deref().and_then(lines::by_id) {
        Some(line) => answer(&entry(line)),
        None => answer(&list()),
    }
    Ok(())
}

fn list() -> String {
    let width = LINES.iter().map(|line| line.id().len()).max().unwrap_or(0);
    let rows = LINES.iter().map(|line| format!("{:width$}  {}\n", line.id(), line.title()));
    rows.chain(["\n`observer explain FAULT_LINE` tells more.\n".to_owned()]).collect()
}

fn entry(line: &dyn FaultLine) -> String {
    let mut text = format!("{}: {}\n\n{}\n", line.id(), line.title(), wrap(line.what(), ""));
    section(&mut text, "Causes", line.causes().iter().map(|cause| (*cause).to_owned()), true);
    let place = HitSubject::default();
    section(&mut text, "Verify", line.verify(&place).into_iter(), false);
    section(&mut text, "Change", line.remedy(&place, None).into_iter(), true);
    let signals: Vec<&str> = line.failures().iter().map(|failure| failure.signal.name()).collect();
    // Writing into a String cannot fail.
    let _ = writeln!(text, "\nSignals: {}", signals.join(", "));
    text
}

fn section(text: &mut String, title: &str, items: impl Iterator<Item = String>, prose: bool) {
    let _ = writeln!(text, "\n{title}:");
    for item in items {
        let body = if prose { wrap(&item, "    ") } else { item };
        let _ = writeln!(text, "  - {}", body.trim_start());
    }
}

/// Breaks prose at [`WIDTH`]; commands stay whole, to be copied.
fn wrap(prose: &str, indent: &str) -> String {
    let mut lines = vec![indent.to_owned()];
    for word in prose.split_whitespace() {
        let full =
            lines.last().is_some_and(|line| line.len() + 1 + word.len() > WIDTH && line.len() > indent.len());
        if full {
            lines.push(indent.to_owned());
        }
        if let Some(line) = lines.last_mut() {
            if line.len() > indent.len() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n")
}

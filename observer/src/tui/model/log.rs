//! What happened, as lines of text.

use std::collections::VecDeque;

use super::super::text::printable;
use crate::{
    core::event::{Event, What},
    sinks::report::{numbers::count, sentence},
};

/// Lines that are kept; older ones are forgotten.
const KEPT: usize = 2_000;

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Something broke.
    Bad,
    /// Something cannot be seen.
    Unsure,
    /// The course of the test.
    Plain,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// CLOCK_MONOTONIC of it.
    pub at_ns: u64,
    /// What happened, fit to be printed.
    pub text: String,
    /// How grave it is.
    pub tone: Tone,
}

/// The log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    lines: VecDeque<Line>,
    /// Lines that were forgotten.
    pub forgotten: u64,
}

impl Log {
    /// Enters what happened.
    pub fn enter(&mut self, events: &[Event]) {
        for event in events {
            if self.lines.len() == KEPT {
                self.lines.pop_front();
                self.forgotten += 1;
            }
            let (text, tone) = words(&event.what);
            self.lines.push_back(Line { at_ns: event.at_ns, text: printable(&text), tone });
        }
    }

    /// The lines that contain a text, whatever its case, latest first.
    pub fn latest<'a>(&'a self, filter: &'a str) -> impl Iterator<Item = &'a Line> {
        let wanted = filter.to_lowercase();
        self.lines
            .iter()
            .rev()
            .filter(move |line| wanted.is_empty() || line.text.to_lowercase().contains(&wanted))
    }
}

fn words(what: &What) -> (String, Tone) {
    match what {
        What::Started => ("the test began".to_owned(), Tone::Plain),
        What::Ended { exit_status: Some(status) } => {
            (format!("the load ended, exit status {status}"), Tone::Plain)
        }
        What::Ended { exit_status: None } => ("the load ended".to_owned(), Tone::Plain),
        What::Phase { name } => (format!("phase {name} began"), Tone::Plain),
        What::Onset { fault_line, subject, .. } => {
            (format!("HIT {fault_line} at {}", sentence::place(subject)), Tone::Bad)
        }
        What::KernelLog { text } => (format!("kernel: {text}"), Tone::Unsure),
        What::Unreadable { source, why } => (format!("{source} cannot be read: {why}"), Tone::Unsure),
        What::Loss { reason, count: lost } => {
            (format!("{} counts missing so far: {reason}", count(*lost)), Tone::Unsure)
        }
    }
}

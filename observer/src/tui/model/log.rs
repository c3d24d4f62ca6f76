//! What happened, as lines of text.

use std::collections::VecDeque;

use super::super::text::printable;
use crate::{
    core::{
        event::{Event, What},
        verdict::HitSubject,
    },
    sinks::report::{numbers::plural, sentence},
};

/// Lines that are kept; older ones are forgotten.
pub(in crate::tui) const KEPT: usize = 2_000;

/// How grave a line is, where it is no onset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Something cannot be seen, or the kernel complains.
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
    /// The fault line and where it was hit. Only a verdict knows whether that is part of the test.
    pub onset: Option<(&'static str, HitSubject)>,
}

/// The log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    lines: VecDeque<Line>,
    /// Lines that were forgotten.
    pub forgotten: u64,
}

impl Log {
    /// Enters what happened, after as many events that are not told.
    pub fn enter(&mut self, events: &[Event], forgotten: u64) {
        self.forgotten += forgotten;
        for event in events {
            if self.lines.len() == KEPT {
                self.lines.pop_front();
                self.forgotten += 1;
            }
            self.lines.push_back(Line::of(event));
        }
    }

    /// The lines that contain a text, whatever its case, latest first.
    pub fn latest(&self, filter: &str) -> impl Iterator<Item = &Line> + use<'_> {
        let wanted = filter.to_lowercase();
        self.lines
            .iter()
            .rev()
            .filter(move |line| wanted.is_empty() || line.text.to_lowercase().contains(&wanted))
    }
}

impl Line {
    fn of(event: &Event) -> Self {
        let onset = match &event.what {
            What::Onset { fault_line, subject, .. } => Some((*fault_line, subject.clone())),
            _ => None,
        };
        let (text, tone) = words(&event.what);
        Self { at_ns: event.at_ns, text: printable(&text), tone, onset }
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
            (format!("{fault_line} at {}", sentence::place(subject)), Tone::Plain)
        }
        What::KernelLog { text } => (format!("kernel: {text}"), Tone::Unsure),
        What::Unreadable { source, why } => (format!("{source}: {why}"), Tone::Unsure),
        What::Loss { reason, count } => {
            let lost = plural(usize::try_from(*count).unwrap_or(usize::MAX), "count", "counts");
            (format!("{lost} missing so far: {reason}"), Tone::Unsure)
        }
    }
}

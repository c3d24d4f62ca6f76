//! Everything about the selected fault line: why, the numbers, how to verify it, what to change.

use ratatui::{style::Style, text::Line};

use super::wrapped;
use crate::{
    core::{
        lines::{FaultLine, LINES},
        snapshot::State,
        verdict::{Evidence, Hit, HitSubject, HitUsage, Verdict},
    },
    sinks::report::{
        numbers::{count, decimal, instant},
        sentence,
    },
    tui::{
        model::Model,
        text::{left, printable, right, wrap},
        theme,
    },
};

fn line_of(model: &Model) -> &'static dyn FaultLine {
    LINES[model.selected.min(LINES.len() - 1)]
}

pub(super) fn title(model: &Model) -> String {
    let line = line_of(model);
    let state = model.picture().line(model.selected).map_or(State::NotMeasurable, |now| now.state);
    format!("{}: {} {}", line.id(), theme::symbol(state), theme::word(state))
}

/// The commands that verify the selected line, as they are.
pub(in crate::tui) fn commands(model: &Model) -> Vec<String> {
    let line = line_of(model);
    let commands = match model.picture().hit(line.id()) {
        Some(hit) => hit.verify.clone(),
        None => line.verify(&closest_place(model)),
    };
    commands.iter().map(|command| printable(command)).collect()
}

/// Where the resource behind the line is closest to its limit.
fn closest_place(model: &Model) -> HitSubject {
    let now = model.picture().line(model.selected);
    now.and_then(|now| now.closest.as_ref()).map(|usage| usage.subject.clone()).unwrap_or_default()
}

pub(super) fn lines(model: &Model, width: usize) -> Vec<Line<'static>> {
    let mut page = Page { model, width, lines: Vec::new() };
    let line = line_of(model);
    let hit = model.picture().hit(line.id());
    match hit {
        Some(hit) => page.hit(hit),
        None => page.not_hit(line),
    }
    page.heading("Verify it by hand (y copies)");
    // Neither wrapped nor indented: what is copied has to stay in one piece.
    page.lines.extend(commands(model).into_iter().map(|command| Line::styled(command, model.theme.chart())));
    page.heading("What to change");
    let remedy = hit.map_or_else(|| line.remedy(&closest_place(model), None), |hit| hit.remedy.clone());
    page.points(remedy.into_iter());
    page.heading("What it is");
    page.paragraph(line.what());
    page.heading("What usually leads to it");
    page.points(line.causes().iter().map(|cause| (*cause).to_owned()));
    page.lines
}

struct Page<'a> {
    model: &'a Model,
    width: usize,
    lines: Vec<Line<'static>>,
}

impl Page<'_> {
    fn heading(&mut self, text: &str) {
        if !self.lines.is_empty() {
            self.lines.push(Line::default());
        }
        self.lines.push(Line::styled(text.to_owned(), self.model.theme.title()));
    }

    fn paragraph(&mut self, text: &str) {
        self.lines.extend(wrapped(text, self.width, Style::new()));
    }

    fn points(&mut self, points: impl Iterator<Item = String>) {
        for point in points {
            for (at, line) in wrap(&printable(&point), self.width.saturating_sub(2)).into_iter().enumerate() {
                let mark = if at == 0 { "- " } else { "  " };
                self.lines.push(Line::raw(format!("{mark}{line}")));
            }
        }
    }

    fn hit(&mut self, hit: &Hit) {
        let words = format!("{} {}", sentence::because(hit), upper(&sentence::when(hit)));
        self.lines.extend(wrapped(&format!("{words}."), self.width, self.model.theme.bad()));
        if let Some(cause) = &hit.explained_by {
            self.paragraph(&format!("Caused by {cause}."));
        }
        let mut points = vec![sentence::place_in_full(&hit.subject)];
        points.extend(hit.usage.as_ref().map(sentence::usage));
        points.extend(sentence::spells(&hit.spells));
        points.extend(hit.log.iter().map(sentence::log));
        self.points(points.into_iter());
        self.others(hit);
        self.evidence(&hit.evidence);
    }

    /// The same line was hit elsewhere as well.
    fn others(&mut self, hit: &Hit) {
        let Some(verdict) = self.model.picture().verdict.as_deref() else { return };
        let is_other = |other: &&Hit| other.fault_line == hit.fault_line && other.subject != hit.subject;
        let told = |hits: &[Hit], note: &str| -> Vec<String> {
            let others = hits.iter().filter(is_other).take(OTHERS);
            others
                .map(|other| format!("{note} {}: {}", sentence::place(&other.subject), sentence::when(other)))
                .collect()
        };
        let mut points = told(&verdict.hits, "Also at");
        points.extend(told(&verdict.elsewhere, "Elsewhere, not part of this test, at"));
        self.points(points.into_iter());
    }

    fn evidence(&mut self, evidence: &[Evidence]) {
        if evidence.is_empty() {
            return;
        }
        self.heading("Evidence");
        let head = row("signal", ["count", "first", "last", "rate", "rate before"].map(str::to_owned), "why");
        self.lines.push(Line::styled(head, self.model.theme.dim()));
        for it in evidence {
            let rate = |per_s: f64| format!("{}/s", decimal(per_s));
            let cells = [
                count(it.count),
                it.first_s.map(instant).unwrap_or_default(),
                it.last_s.map(instant).unwrap_or_default(),
                it.rate_per_s.map(rate).unwrap_or_default(),
                it.baseline_per_s.map(rate).unwrap_or_default(),
            ];
            let why = it.reasons.as_ref().map(sentence::reasons).unwrap_or_default();
            self.lines.push(Line::raw(row(it.signal.name(), cells, &printable(&why))));
        }
    }

    fn not_hit(&mut self, line: &dyn FaultLine) {
        let verdict = self.model.picture().verdict.as_deref();
        let why = verdict.and_then(|verdict| why(verdict, line.id()));
        self.paragraph(&format!("{}.", upper(line.title())));
        if let Some(why) = why {
            self.paragraph(&why);
        }
        if let Some(usage) =
            self.model.picture().line(self.model.selected).and_then(|now| now.closest.as_ref())
        {
            let usage = HitUsage {
                resource: usage.resource.clone(),
                used: usage.peak_used,
                limit: Some(usage.limit),
                peak_ratio: Some(usage.ratio),
                limit_set_by: None,
            };
            let place = sentence::place(&closest_place(self.model));
            self.paragraph(&format!(
                "Now, at {place}: {}",
                sentence::usage(&usage).replacen("Peak use", "use", 1)
            ));
        }
    }
}

/// As many further places are told.
const OTHERS: usize = 5;

/// What the verdict says of a line that was not hit.
fn why(verdict: &Verdict, id: &str) -> Option<String> {
    let note = |notes: &[crate::core::verdict::Note], words: &str| {
        notes.iter().find(|note| note.fault_line == id).map(|note| format!("{words}: {}.", note.why))
    };
    let elsewhere = || {
        let hit = verdict.elsewhere.iter().find(|hit| hit.fault_line == id)?;
        Some(format!("Hit elsewhere, not part of this test: {}", sentence::also(hit)))
    };
    elsewhere()
        .or_else(|| note(&verdict.not_measurable, "It cannot be judged here"))
        .or_else(|| note(&verdict.ruled_out, "Ruled out so far"))
}

fn row(name: &str, cells: [String; 5], why: &str) -> String {
    let mut row = left(name, 22);
    for (cell, width) in cells.iter().zip([9, 10, 10, 10, 13]) {
        row += &right(cell, width);
    }
    format!("{row}  {why}").trim_end().to_owned()
}

fn upper(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

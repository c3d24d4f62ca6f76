//! The timeline as a drawing that is there without a script; a table below it says the same in numbers.
//!
//! What the script has to place anew when it zooms carries its instants in seconds: `data-at`, or `data-from` and
//! `data-to`. What is in the group `zoom` is stretched as a whole.

mod course;
mod words;

use super::{markup::Markup, ticks};
use crate::sinks::report::timeline::{Onset, Span, Timeline};

/// Width of the drawing; heights and places are in the same unit.
const WIDTH: f64 = 1000.0;
/// Room for the names of values, left of the plot.
const LEFT: f64 = 70.0;
/// The plot.
const PLOT: f64 = WIDTH - LEFT - 14.0;
/// Height of a row of flags.
const FLAG: f64 = 20.0;
/// Rows that flags are spread over where they are close to each other.
const FLAG_ROWS: usize = 3;
/// Height of the band of phases.
const BAND: f64 = 26.0;
/// Height of a lane, and of its name above it.
const LANE: f64 = 64.0;
const LANE_NAME: f64 = 22.0;
/// Height of the names of instants.
const AXIS: f64 = 24.0;
/// Width of a letter, at most.
const LETTER: f64 = 7.5;

/// A drawing of a timeline.
struct Chart<'a> {
    timeline: &'a Timeline,
    flag_rows: Vec<usize>,
}

/// Draws the timeline, and its data below it.
pub(super) fn draw(page: &mut Markup, timeline: &Timeline) {
    let chart = Chart { timeline, flag_rows: flag_rows(timeline) };
    page.within("figure", &[("class", "timeline")], |page| {
        tools(page);
        let scroll = [
            ("class", "scroll plot"),
            ("role", "group"),
            ("tabindex", "0"),
            ("aria-label", "Timeline: the drawing"),
        ];
        page.within("div", &scroll, |page| chart.svg(page));
        page.element("p", &[("class", "readout"), ("hidden", "")], "");
        page.element("figcaption", &[], &words::legend(timeline));
    });
    course::table(page, timeline);
}

/// The buttons, which only the script shows: without it, they would do nothing.
fn tools(page: &mut Markup) {
    page.within("div", &[("class", "tools"), ("hidden", "")], |page| {
        for (action, name) in [
            ("in", "Zoom in"),
            ("out", "Zoom out"),
            ("back", "Earlier"),
            ("on", "Later"),
            ("all", "Whole run"),
        ] {
            page.element("button", &[("type", "button"), ("data-zoom", action)], name);
        }
        let hint =
            "Drag over a span, or turn the wheel with Ctrl held, to zoom; + − 0 and the arrows do it, too.";
        page.element("span", &[("class", "hint")], hint);
    });
}

impl Chart<'_> {
    fn svg(&self, page: &mut Markup) {
        let Timeline { start_s, end_s, .. } = self.timeline;
        let (view, from, to) =
            (format!("0 0 {WIDTH} {}", px(self.height())), seconds(*start_s), seconds(*end_s));
        let (left, width) = (px(LEFT), px(PLOT));
        let attributes = [
            ("viewBox", view.as_str()),
            ("role", "img"),
            ("aria-labelledby", "timeline-title timeline-text"),
            ("data-from", &from),
            ("data-to", &to),
            ("data-left", &left),
            ("data-width", &width),
        ];
        page.within("svg", &attributes, |page| {
            page.element("title", &[("id", "timeline-title")], "The run over time");
            page.element("desc", &[("id", "timeline-text")], &words::description(self.timeline));
            self.clip(page);
            page.within("g", &[("clip-path", "url(#plot)")], |page| {
                page.within("g", &[("class", "zoom")], |page| self.stretched(page));
            });
            self.axis(page);
            self.timeline.phases.iter().for_each(|phase| self.phase_name(page, phase));
            self.timeline
                .onsets
                .iter()
                .zip(&self.flag_rows)
                .for_each(|(onset, row)| self.flag(page, onset, *row));
            course::frames(page, self.timeline, self.lanes_top());
        });
    }

    /// Nothing of what is stretched leaves the plot.
    fn clip(&self, page: &mut Markup) {
        page.within("clipPath", &[("id", "plot")], |page| {
            rect(page, "", (LEFT, PLOT), (0.0, self.height() - AXIS));
        });
    }

    /// Everything that a zoom stretches.
    fn stretched(&self, page: &mut Markup) {
        for (at, phase) in self.timeline.phases.iter().enumerate() {
            let (from, to) = (self.x(phase.start_s), self.x(phase.end_s));
            let class = if at % 2 == 0 { "phase even" } else { "phase odd" };
            rect(page, class, (from, to - from), (self.band_top(), self.height() - AXIS - self.band_top()));
            rect(page, "phase band", (from, to - from), (self.band_top(), BAND));
        }
        course::lanes(page, self.timeline, self.lanes_top());
        for (onset, row) in self.timeline.onsets.iter().zip(&self.flag_rows) {
            let (lo, hi) = (self.x(onset.lo_s), self.x(onset.hi_s));
            rect(page, "margin", (lo, hi - lo), (self.band_top(), self.height() - AXIS - self.band_top()));
            let d = format!("M{} {}V{}", px(self.x(onset.at_s)), px(flag_y(*row)), px(self.height() - AXIS));
            page.element("path", &[("class", "onset"), ("d", &d)], "");
        }
    }

    fn axis(&self, page: &mut Markup) {
        let y = px(self.height() - 6.0);
        let steps: Vec<String> = ticks::STEPS_S.iter().map(f64::to_string).collect();
        let (steps, marks) = (steps.join(" "), ticks::MARKS.to_string());
        let attributes = [("class", "axis"), ("data-y", &y), ("data-steps", &steps), ("data-marks", &marks)];
        page.within("g", &attributes, |page| {
            for (at_s, name) in ticks::of_time(self.timeline.start_s, self.timeline.end_s) {
                page.element("text", &[("x", &px(self.x(at_s))), ("y", &y)], &name);
            }
        });
    }

    fn phase_name(&self, page: &mut Markup, phase: &Span) {
        let (from, to) = (self.x(phase.start_s), self.x(phase.end_s));
        let fits = phase.name.chars().count() as f64 * LETTER <= to - from;
        let (x, y) = (px((from + to) / 2.0), px(self.band_top() + BAND / 2.0 + 5.0));
        let (from, to) = (seconds(phase.start_s), seconds(phase.end_s));
        let mut attributes =
            vec![("class", "name"), ("data-from", &from), ("data-to", &to), ("x", &x), ("y", &y)];
        if !fits {
            attributes.push(("visibility", "hidden"));
        }
        page.element("text", &attributes, &phase.name);
    }

    /// The number of an onset, as in the table.
    fn flag(&self, page: &mut Markup, onset: &Onset, row: usize) {
        let (x, y) = (self.x(onset.at_s), flag_y(row));
        let (place, at, y) = (format!("translate({} {})", px(x), px(y)), seconds(onset.at_s), px(y));
        let attributes = [("class", "flag"), ("data-at", at.as_str()), ("data-y", &y), ("transform", &place)];
        page.within("g", &attributes, |page| {
            page.element("title", &[], &words::onset(onset));
            page.element("circle", &[("r", "9")], "");
            page.element("text", &[("y", "4.5")], &onset.number.to_string());
        });
    }

    fn x(&self, at_s: f64) -> f64 {
        x(self.timeline, at_s)
    }

    fn band_top(&self) -> f64 {
        let rows = self.flag_rows.iter().max().map_or(0, |row| row + 1);
        rows as f64 * FLAG + 2.0
    }

    fn lanes_top(&self) -> f64 {
        self.band_top() + BAND
    }

    fn height(&self) -> f64 {
        let lanes = self.timeline.course.as_ref().map_or(0, |course| course.lanes.len());
        self.lanes_top() + lanes as f64 * (LANE + LANE_NAME) + AXIS + 6.0
    }
}

/// Where an instant lies.
fn x(timeline: &Timeline, at_s: f64) -> f64 {
    LEFT + timeline.share(at_s) * PLOT
}

/// The middle of a row of flags.
fn flag_y(row: usize) -> f64 {
    FLAG * (row as f64 + 0.5)
}

/// The row of each flag: the first one in which it does not lie on another one.
fn flag_rows(timeline: &Timeline) -> Vec<usize> {
    let mut ends = [f64::NEG_INFINITY; FLAG_ROWS];
    let place = |onset: &Onset| {
        let at = x(timeline, onset.at_s);
        let row = ends.iter().position(|end| at - end >= FLAG).unwrap_or(0);
        if let Some(end) = ends.get_mut(row) {
            *end = at;
        }
        row
    };
    timeline.onsets.iter().map(place).collect()
}

/// A rectangle, by left and width, top and height.
fn rect(page: &mut Markup, class: &str, (x, width): (f64, f64), (y, height): (f64, f64)) {
    let [x, width, y, height] = [x, width, y, height].map(px);
    let attributes = [("class", class), ("x", &x), ("y", &y), ("width", &width), ("height", &height)];
    page.element("rect", &attributes, "");
}

/// A place or length: a tenth of a unit is finer than anybody sees.
fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// An instant for the script.
fn seconds(at_s: f64) -> String {
    format!("{at_s:.6}")
}

//! The lanes below the phases: one per measure, in steps, and the same as a table.

use super::{LANE, LANE_NAME, LEFT, PLOT, px, seconds, x};
use crate::sinks::report::{
    html::{markup::Markup, ticks},
    numbers::{decimal, instant, percent},
    timeline::{Course, Lane, Measure, Timeline},
};

/// Draws the values of all lanes.
pub(super) fn lanes(page: &mut Markup, timeline: &Timeline, top: f64) {
    let Some(course) = &timeline.course else { return };
    for (lane, top) in course.lanes.iter().zip(tops(top)) {
        let bottom = top + LANE;
        let (line, area) = paths(timeline, course, lane, bottom);
        page.element("path", &[("class", "area"), ("d", &area)], "");
        page.element("path", &[("class", "line"), ("d", &line)], "");
    }
}

/// Draws what does not move when the values are zoomed: names, scales, limits.
pub(super) fn frames(page: &mut Markup, timeline: &Timeline, top: f64) {
    let Some(course) = &timeline.course else { return };
    for (lane, top) in course.lanes.iter().zip(tops(top)) {
        let (left, right) = (px(LEFT), px(LEFT + PLOT));
        page.element("text", &[("class", "lane"), ("x", &left), ("y", &px(top - 6.0))], &lane.name);
        let mut level = |value: f64, class: &str| {
            let y = top + LANE * (1.0 - value / lane_top(lane));
            let d = format!("M{left} {}H{right}", px(y));
            page.element("path", &[("class", class), ("d", &d)], "");
            let place = [("class", "value"), ("x", &px(LEFT - 6.0) as &str), ("y", &px(y + 4.0))];
            page.element("text", &place, &name_of_level(lane.measure, value));
        };
        level(0.0, "grid");
        match lane.measure {
            Measure::Number => level(lane_top(lane), "grid"),
            Measure::Share => level(1.0, "limit"),
        }
    }
}

/// The tops of the lanes.
fn tops(top: f64) -> impl Iterator<Item = f64> {
    (0..).map(move |at: usize| top + at as f64 * (LANE + LANE_NAME) + LANE_NAME)
}

/// The value at the upper end of a lane.
fn lane_top(lane: &Lane) -> f64 {
    let peak = lane.values.iter().flatten().copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
    match lane.measure {
        Measure::Number => ticks::top(peak),
        // The limit is always in the picture, and so is what goes beyond it.
        Measure::Share => peak.max(1.0) * 1.1,
    }
}

/// The line of the values, and the area below it; both have a gap where nothing is known.
fn paths(timeline: &Timeline, course: &Course, lane: &Lane, bottom: f64) -> (String, String) {
    let (mut line, mut area) = (String::new(), String::new());
    let top = lane_top(lane);
    let mut is_open = false;
    for (at, value) in lane.values.iter().enumerate() {
        let (from, to) = (px(x(timeline, course.start_of(at))), px(x(timeline, course.start_of(at + 1))));
        match value.filter(|value| value.is_finite()) {
            Some(value) => {
                let y = px(bottom - LANE * (value / top).clamp(0.0, 1.0));
                line += &if is_open { format!("V{y}H{to}") } else { format!("M{from} {y}H{to}") };
                let bottom = px(bottom);
                area += &if is_open { format!("V{y}H{to}") } else { format!("M{from} {bottom}V{y}H{to}") };
                is_open = true;
            }
            None if is_open => {
                area += &format!("V{}Z", px(bottom));
                is_open = false;
            }
            None => {}
        }
    }
    if is_open {
        area += &format!("V{}Z", px(bottom));
    }
    (line, area)
}

/// The same in numbers; the script reads its readout from here.
pub(super) fn table(page: &mut Markup, timeline: &Timeline) {
    let Some(course) = &timeline.course else { return };
    let step = seconds(course.step_s);
    page.within("details", &[("class", "data")], |page| {
        page.element("summary", &[], "The timeline in numbers");
        let scroll =
            [("class", "scroll"), ("role", "group"), ("tabindex", "0"), ("aria-label", "Timeline: the data")];
        page.within("div", &scroll, |page| {
            page.within("table", &[("id", "course"), ("data-step", &step)], |page| {
                page.within("thead", &[], |page| {
                    page.within("tr", &[], |page| {
                        page.element("th", &[("scope", "col"), ("class", "number")], "from");
                        for lane in &course.lanes {
                            page.element("th", &[("scope", "col"), ("class", "number")], &lane.name);
                        }
                    });
                });
                page.within("tbody", &[], |page| (0..course.steps()).for_each(|at| row(page, course, at)));
            });
        });
    });
}

fn row(page: &mut Markup, course: &Course, at: usize) {
    let from = seconds(course.start_of(at));
    page.within("tr", &[("data-from", &from)], |page| {
        page.element("th", &[("scope", "row"), ("class", "number")], &instant(course.start_of(at)));
        for lane in &course.lanes {
            let value = lane.values.get(at).copied().flatten();
            let text = value.map_or("unknown".to_owned(), |value| value_of(lane.measure, value));
            page.element("td", &[("class", "number")], &text);
        }
    });
}

/// A value on an axis is a round number.
fn name_of_level(measure: Measure, value: f64) -> String {
    let text = value_of(measure, value);
    match measure {
        Measure::Number if text.contains('.') => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        _ => text,
    }
}

fn value_of(measure: Measure, value: f64) -> String {
    match measure {
        Measure::Number => decimal(value),
        Measure::Share => percent(value),
    }
}

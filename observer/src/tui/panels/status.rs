//! The top row: what is observed, when, and under how much load.

use std::time::Duration;

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::{
    core::{
        time::rfc3339,
        verdict::{Load, Verdict},
    },
    sinks::report::{numbers::duration, sentence::load_words},
    tui::{
        feed::Kept,
        model::{Model, picture::Picture},
        text::{clip, columns, printable},
    },
};

/// Columns from which on there is room for our name.
const ROOMY: u16 = 100;

pub(super) fn draw(frame: &mut Frame, area: Rect, model: &Model) {
    let theme = model.theme;
    let badge = match (model.picture().player, model.is_frozen()) {
        (Some(_), _) => " REPLAY ".to_owned(),
        (None, true) => " ‖ PAUSED, Esc goes on ".to_owned(),
        (None, false) => " ● LIVE ".to_owned(),
    };
    let style = if model.is_frozen() { theme.unsure() } else { theme.title() };
    let mut right = kept(model);
    right.push(Span::styled(badge, theme.badge(style)));
    let right = Line::from(right);
    let width = (right.width() as u16).min(area.width);
    frame.buffer_mut().set_line(area.right() - width, area.y, &right, width);
    // Who has little room wants to know other things than our name.
    let name = if area.width < ROOMY { "" } else { "observer  " };
    let room = usize::from(area.width - width).saturating_sub(name.len() + 1);
    let words = clip(&short(words(model), room), room);
    let left = Line::from(vec![Span::styled(name, theme.title()), Span::raw(words)]);
    frame.buffer_mut().set_line(area.x, area.y, &left, area.width - width);
}

/// The same in fewer letters, where there is little room.
fn short(words: String, room: usize) -> String {
    if columns(&words) <= room { words } else { words.replace("connections/s", "conn/s").replace(" UTC", "") }
}

/// How much is kept: `keeps 12m`.
fn kept(model: &Model) -> Vec<Span<'static>> {
    let Some(kept) = &model.kept else { return Vec::new() };
    let theme = model.theme;
    match (kept.goes_on, &kept.trouble) {
        (false, _) => vec![Span::styled(" NOT KEPT ", theme.badge(theme.bad())), Span::raw(" ")],
        (true, Some(_)) => vec![Span::styled(format!("keeps {} ", length(kept.held)), theme.unsure())],
        (true, None) => vec![Span::styled(format!("keeps {} ", length(kept.held)), theme.dim())],
    }
}

/// `45s`, `12m`, `1h 5m`: what changes slowly.
fn length(length: Duration) -> String {
    match length.as_secs() {
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ ..3_600 => format!("{}m", seconds / 60),
        seconds => format!("{}h {}m", seconds / 3_600, seconds / 60 % 60),
    }
}

/// What is wrong with what is kept, on a row of its own.
pub(super) fn draw_trouble(frame: &mut Frame, area: Rect, model: &Model) {
    let Some(Kept { goes_on, trouble: Some(why), .. }) = &model.kept else { return };
    let (words, style) = match goes_on {
        false => (format!("✖ Not kept: {why}"), model.theme.bad()),
        true => (format!("▲ Kept with gaps: {why}"), model.theme.unsure()),
    };
    let words = clip(&printable(&words), usize::from(area.width));
    frame.buffer_mut().set_line(area.x, area.y, &Line::styled(words, style), area.width);
}

fn words(model: &Model) -> String {
    let picture = model.picture();
    let mut words = vec![printable(&model.options.title)];
    words.retain(|title| !title.is_empty());
    if let Some(at_ns) = model.shown_ns() {
        words.extend(picture.real_ns(at_ns).map(wall_clock));
        words.extend(picture.seconds_at(at_ns).map(since));
        words.extend(picture.verdict.as_deref().and_then(|verdict| phase_at(verdict, at_ns)));
        words.extend(load_at(picture, model.cursor_ns));
    }
    words.join(" · ")
}

/// `12:34:56 UTC`.
fn wall_clock(real_ns: u64) -> String {
    let text = rfc3339(real_ns);
    format!("{} UTC", text.get(11..19).unwrap_or(&text))
}

fn since(seconds: f64) -> String {
    if seconds < 0.0 {
        format!("{} before the start", duration(-seconds))
    } else if seconds < 60.0 {
        // The same number of digits at every tick, so that nothing jumps.
        format!("{seconds:.1} s in")
    } else {
        format!("{} in", duration(seconds))
    }
}

/// The phase that an instant fell into.
fn phase_at(verdict: &Verdict, at_ns: u64) -> Option<String> {
    let at_s = (i128::from(at_ns) - i128::from(verdict.run.clock.mono_ns)) as f64 / 1e9;
    // The latest phase goes on: the verdict may be a little older than the scene.
    let phase = verdict.phases.iter().rev().find(|phase| phase.start_s <= at_s)?;
    Some(printable(&phase.name))
}

fn load_at(picture: &Picture, cursor_ns: Option<u64>) -> Option<String> {
    let load = match cursor_ns {
        Some(at_ns) => {
            let step = picture.step_at(at_ns)?;
            Load {
                connections_per_s: step.connections_per_s,
                concurrency: step.concurrency,
                ..Load::default()
            }
        }
        None => picture.snapshot.as_ref()?.load,
    };
    let open = load.concurrency.map(|open| format!("{open:.0} open"));
    let words: Vec<String> = load_words(&load).into_iter().chain(open).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

//! What is where. Drawing and the mouse both ask here, so that a click meets what is drawn.

use ratatui::layout::Rect;

use super::model::{Model, View};
use crate::core::lines::LINES;

/// A part of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Panel {
    /// What is observed, and how it goes.
    Status,
    /// Why nothing is kept.
    Trouble,
    /// What broke first.
    Banner,
    /// The views.
    Tabs,
    /// The fault lines in one row.
    Strip,
    /// What can be looked at by itself as well.
    View(View),
    /// Keys.
    Help,
    /// Where in the recording.
    Transport,
    /// Hints and notices.
    Footer,
    /// What is asked of the user.
    Prompt,
}

/// Rows of the banner: its sentences take two each where the screen is narrow.
const BANNER: u16 = 4;
const BANNER_NARROW: u16 = 5;
/// Rows of the board with its head, without headings of layers.
const BOARD: u16 = LINES.len() as u16 + 1;
/// From this size on, everything important is shown at once.
const WIDE: (u16, u16) = (150, 30);
/// From this height of the body on, the board stays above whatever else is shown.
const TALL: u16 = BOARD + 9;
/// Columns between left and right.
const GAP: u16 = 2;

/// The parts of the screen; later ones lie over earlier ones.
pub(super) fn screen(model: &Model) -> Vec<(Panel, Rect)> {
    let (columns, rows) = model.size;
    let all = Rect::new(0, 0, columns, rows);
    if rows < 6 {
        return vec![(Panel::Banner, all)];
    }
    let mut parts = Vec::new();
    let (mut top, mut body) = (Vec::new(), all);
    if rows >= 8 {
        top.push((Panel::Status, 1));
    }
    if rows >= 12 && model.kept.as_ref().is_some_and(|kept| kept.trouble.is_some()) {
        top.push((Panel::Trouble, 1));
    }
    let is_narrow = columns < 120 && rows >= 24;
    top.push((Panel::Banner, if is_narrow { BANNER_NARROW } else { BANNER }));
    if rows >= 12 {
        top.push((Panel::Tabs, 1));
    }
    for (panel, height) in top {
        parts.push((panel, take_top(&mut body, height)));
    }
    if rows >= 10 {
        parts.push((Panel::Footer, take_bottom(&mut body, 1)));
    }
    if rows >= 12 && model.is_replay() {
        parts.push((Panel::Transport, take_bottom(&mut body, 1)));
    }
    match model.help {
        true => parts.push((Panel::Help, body)),
        false => fill(&mut parts, model, body),
    }
    if model.prompt.is_some() {
        let height = body.height.min(3);
        parts.push((Panel::Prompt, take_bottom(&mut body, height)));
    }
    parts.retain(|(_, area)| !area.is_empty());
    parts
}

/// What is below the tabs.
fn fill(parts: &mut Vec<(Panel, Rect)>, model: &Model, mut body: Rect) {
    let is_wide = body.width >= WIDE.0 && body.height >= WIDE.1;
    match model.view {
        // Commands are copied by selecting them: nothing may stand beside them.
        View::Detail => {
            parts.push((Panel::Strip, take_top(&mut body, 1)));
            parts.push((Panel::View(View::Detail), body));
        }
        view if is_wide => {
            let mut left = body;
            left.width = (body.width * 13 / 25).saturating_sub(GAP);
            let offset = left.width + GAP;
            let right = Rect { x: body.x + offset, width: body.width - offset, ..body };
            let layers = LINES.len() as u16 / 2;
            parts.push((Panel::View(View::Board), take_top(&mut left, BOARD + layers)));
            parts.push((Panel::View(View::Detail), left));
            if view == View::Board { overview(parts, right) } else { parts.push((Panel::View(view), right)) }
        }
        view if body.height >= TALL => {
            parts.push((Panel::View(View::Board), take_top(&mut body, BOARD)));
            if view != View::Board {
                parts.push((Panel::View(view), body));
                return;
            }
            let load = body.height.min((body.height * 2 / 3).max(9));
            parts.push((Panel::View(View::Load), take_top(&mut body, load)));
            parts.push((Panel::View(View::Log), body));
        }
        View::Board => parts.push((Panel::View(View::Board), body)),
        view => {
            parts.push((Panel::Strip, take_top(&mut body, 1)));
            parts.push((Panel::View(view), body));
        }
    }
}

/// Everything else that matters, one below the other.
fn overview(parts: &mut Vec<(Panel, Rect)>, mut area: Rect) {
    let load = (area.height / 3).clamp(9, 16);
    parts.push((Panel::View(View::Load), take_top(&mut area, load)));
    parts.push((Panel::View(View::InUse), take_top(&mut area, 8)));
    let chain = (area.height / 2).clamp(3, 9);
    parts.push((Panel::View(View::Chain), take_top(&mut area, chain)));
    parts.push((Panel::View(View::Log), area));
}

fn take_top(area: &mut Rect, height: u16) -> Rect {
    let height = height.min(area.height);
    let taken = Rect { height, ..*area };
    (area.y, area.height) = (area.y + height, area.height - height);
    taken
}

fn take_bottom(area: &mut Rect, height: u16) -> Rect {
    let height = height.min(area.height);
    area.height -= height;
    Rect { y: area.y + area.height, height, ..*area }
}

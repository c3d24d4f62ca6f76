//! What is drawn, one file per panel. A panel draws the model and asks nobody else.

pub(super) mod banner;
pub(super) mod board;
mod chain;
mod course;
pub(super) mod detail;
mod document;
mod episodes;
mod footer;
mod help;
mod in_use;
mod load;
mod log;
mod prompt;
mod status;
mod strip;
pub(super) mod tabs;
mod transport;

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    keys::{self, Action},
    layout::{self, Panel},
    model::{Model, View},
    text::clip,
    theme::Theme,
};

/// Draws the whole screen.
pub(super) fn draw(frame: &mut Frame, model: &Model) {
    let screen = frame.area();
    for (panel, area) in layout::screen(model) {
        // The terminal may have shrunk since the model heard of its size.
        let area = area.intersection(screen);
        if !area.is_empty() {
            draw_panel(frame, panel, area, model);
        }
    }
}

fn draw_panel(frame: &mut Frame, panel: Panel, area: Rect, model: &Model) {
    match panel {
        Panel::Status => status::draw(frame, area, model),
        Panel::Trouble => status::draw_trouble(frame, area, model),
        Panel::Banner => banner::draw(frame, area, model),
        Panel::Tabs => tabs::draw(frame, area, model),
        Panel::View(View::Board) => board::draw(frame, area, model),
        Panel::Strip => strip::draw(frame, area, model),
        Panel::View(View::Load) => load::draw(frame, area, model),
        Panel::View(View::InUse) => in_use::draw(frame, area, model),
        Panel::Transport => transport::draw(frame, area, model),
        Panel::Footer => footer::draw(frame, area, model),
        Panel::Prompt => prompt::draw(frame, area, model),
        Panel::View(View::Log) => log::draw(frame, area, model),
        Panel::View(View::Chain | View::Detail | View::Episodes) | Panel::Help => {
            page(frame, panel, area, model);
        }
    }
}

/// Draws a panel that is text, as far as it is scrolled, with what is left out in its title.
fn page(frame: &mut Frame, panel: Panel, area: Rect, model: &Model) {
    let (title, lines) = text_of(panel, area, model);
    let room = usize::from(area.height.saturating_sub(1));
    let scroll = if scrolls(model, panel) { model.scroll } else { 0 };
    let furthest = lines.len().saturating_sub(room);
    let from = scroll.min(furthest);
    let below = furthest - from;
    let title = match (from, below) {
        (0, 0) => title,
        _ if !scrolls(model, panel) => format!("{title} (more: {})", key_of(panel)),
        (above, 0) => format!("{title} ({above} above)"),
        (0, below) => format!("{title} ({below} below)"),
        (above, below) => format!("{title} ({above} above, {below} below)"),
    };
    let inner = titled(frame, area, &title, model.theme);
    for (line, row) in lines.iter().skip(from).zip(inner.rows()) {
        frame.buffer_mut().set_line(row.x, row.y, line, row.width);
    }
}

/// The key of the view in which a panel can be scrolled.
fn key_of(panel: Panel) -> String {
    let Panel::View(view) = panel else { return String::new() };
    keys::label_of(Action::Show(view)).unwrap_or_default()
}

fn text_of(panel: Panel, area: Rect, model: &Model) -> (String, Vec<Line<'static>>) {
    let width = usize::from(area.width);
    match panel {
        Panel::View(View::Chain) => ("What led to what".to_owned(), chain::lines(model, width)),
        Panel::View(View::Detail) => (detail::title(model), detail::lines(model, width)),
        Panel::View(View::Episodes) => ("Episodes".to_owned(), episodes::lines(model, width)),
        _ => ("Keys".to_owned(), help::lines(model)),
    }
}

/// Whether what the user scrolls is this panel.
fn scrolls(model: &Model, panel: Panel) -> bool {
    scrolled(model) == Some(panel)
}

fn scrolled(model: &Model) -> Option<Panel> {
    match model.view {
        _ if model.help => Some(Panel::Help),
        View::Board | View::Load | View::InUse => None,
        view => Some(Panel::View(view)),
    }
}

/// How far the view can be scrolled.
pub(super) fn furthest(model: &Model) -> usize {
    let Some(panel) = scrolled(model) else { return 0 };
    let part = layout::screen(model).into_iter().find(|(part, _)| *part == panel);
    part.map_or(0, |(_, area)| {
        let shown = usize::from(area.height.saturating_sub(1));
        let all = match panel {
            Panel::View(View::Log) => log::shown(model).count(),
            _ => text_of(panel, area, model).1.len(),
        };
        all.saturating_sub(shown)
    })
}

/// Draws a panel's title, and answers with what is below it.
fn titled(frame: &mut Frame, area: Rect, title: &str, theme: Theme) -> Rect {
    let title = clip(title, usize::from(area.width.saturating_sub(4)));
    let rest = usize::from(area.width).saturating_sub(super::text::columns(&title) + 3);
    let line = Line::from(vec![
        Span::styled("─ ", theme.dim()),
        Span::styled(title, theme.title()),
        Span::styled(format!(" {}", "─".repeat(rest)), theme.dim()),
    ]);
    frame.buffer_mut().set_line(area.x, area.y, &line, area.width);
    Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area }
}

/// Lines of running text, wrapped, all in one style.
fn wrapped(text: &str, width: usize, style: Style) -> Vec<Line<'static>> {
    let text = super::text::printable(text);
    super::text::wrap(&text, width).into_iter().map(|line| Line::styled(line, style)).collect()
}

//! The dashboard's state, and how it changes. Pure: time is an argument, and what is to be done outside is
//! answered as a [`Request`].

mod act;
pub mod log;
pub mod picture;
pub mod prompt;
mod travel;

use std::time::Duration;

use ratatui::{
    crossterm::event::{KeyEvent, MouseButton, MouseEvent, MouseEventKind},
    layout::{Position, Rect},
};

use self::{
    picture::Picture,
    prompt::{Ask, Prompt},
};
use super::{
    feed::{Feed, Kept, Request},
    keys::{self, Step},
    layout::{self, Panel},
    panels,
    text::printable,
    theme::Theme,
};

/// How long a notice is shown.
const NOTICE: Duration = Duration::from_secs(6);

/// What the dashboard shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An observation that is going on.
    Live,
    /// A recording.
    Replay,
}

/// What the caller decides.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is observed or played, in a few words: `:8080`, `run.observer`.
    pub title: String,
    /// No colours, whatever the terminal could show.
    pub monochrome: bool,
    /// Live or replay.
    pub mode: Mode,
}

/// What can be looked at beside the banner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The fault lines, and on a large screen everything else that matters.
    Board,
    /// The load over time.
    Load,
    /// TCP states and other resources in use.
    InUse,
    /// What led to what.
    Chain,
    /// What happened.
    Log,
    /// Everything about the selected fault line.
    Detail,
    /// Episodes.
    Episodes,
}

impl View {
    /// Every view, in the order of their tabs.
    pub const ALL: &'static [Self] =
        &[Self::Board, Self::Load, Self::InUse, Self::Chain, Self::Log, Self::Detail, Self::Episodes];

    /// The name on its tab.
    pub fn title(self) -> &'static str {
        match self {
            Self::Board => "Board",
            Self::Load => "Load",
            Self::InUse => "TCP",
            Self::Chain => "Chain",
            Self::Log => "Log",
            Self::Detail => "Detail",
            Self::Episodes => "Episodes",
        }
    }

    fn turn(self, step: Step) -> Self {
        let at = Self::ALL.iter().position(|view| *view == self).unwrap_or(0);
        let by = if step == Step::On { 1 } else { Self::ALL.len() - 1 };
        Self::ALL[(at + by) % Self::ALL.len()]
    }
}

/// What comes in.
#[derive(Debug)]
pub enum Input {
    /// The caller told something.
    Feed(Feed),
    /// A key was pressed.
    Key(KeyEvent),
    /// The mouse was used.
    Mouse(MouseEvent),
    /// Text was pasted.
    Paste(String),
    /// The terminal has this many columns and rows.
    Resize(u16, u16),
    /// So much time has passed since the dashboard began.
    Clock(Duration),
}

/// The dashboard's state.
#[derive(Debug)]
pub struct Model {
    /// What the caller decided.
    pub options: Options,
    /// Colours.
    pub theme: Theme,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    /// What is looked at.
    pub view: View,
    /// The selected fault line, as an index of the catalogue.
    pub selected: usize,
    /// How far the view is scrolled; the log counts from its end.
    pub scroll: usize,
    /// What events have to contain.
    pub filter: String,
    /// What is asked of the user.
    pub prompt: Option<Prompt>,
    /// Whether the help is shown.
    pub help: bool,
    /// The instant of the past that is looked at.
    pub cursor_ns: Option<u64>,
    /// Words for the user.
    pub notice: Option<String>,
    /// What is kept now, whatever is shown.
    pub kept: Option<Kept>,
    live: Picture,
    frozen: Option<Box<Picture>>,
    clock: Duration,
    notice_until: Duration,
    over: Option<Option<String>>,
    copied: Option<String>,
    changed: bool,
    /// Whether the user selected a line; until then it is the first that was hit.
    chosen: bool,
}

impl Model {
    /// An empty dashboard.
    pub fn new(options: Options) -> Self {
        Self {
            theme: Theme { monochrome: options.monochrome },
            options,
            size: (80, 24),
            view: View::Board,
            selected: 0,
            scroll: 0,
            filter: String::new(),
            prompt: None,
            help: false,
            cursor_ns: None,
            notice: None,
            kept: None,
            live: Picture::default(),
            frozen: None,
            clock: Duration::ZERO,
            notice_until: Duration::ZERO,
            over: None,
            copied: None,
            changed: true,
            chosen: false,
        }
    }

    /// Takes in one input, and answers with what the caller is asked to do.
    pub fn update(&mut self, input: Input) -> Option<Request> {
        match input {
            Input::Clock(now) => {
                self.clock = now;
                self.forget_notice();
                return None;
            }
            Input::Mouse(event) if matches!(event.kind, MouseEventKind::Moved | MouseEventKind::Drag(_)) => {
                return None;
            }
            _ => {}
        }
        self.changed = true;
        match input {
            Input::Feed(feed) => self.told(feed),
            Input::Key(event) => self.pressed(&event),
            Input::Mouse(event) => {
                self.pointed(&event);
                None
            }
            Input::Paste(text) => {
                let prompt = self.prompt.as_mut()?;
                text.chars().for_each(|letter| prompt.push(letter));
                self.refilter();
                None
            }
            Input::Resize(columns, rows) => {
                self.size = (columns, rows);
                None
            }
            Input::Clock(_) => None,
        }
    }

    fn told(&mut self, feed: Feed) -> Option<Request> {
        match feed {
            Feed::Scene(mut scene) => {
                self.kept = scene.kept.take();
                self.live.enter(*scene);
            }
            Feed::Anew(mut anew) => {
                self.kept = anew.scene.kept.take();
                self.live.renew(*anew);
                // What is frozen is gone; what is shown now begins at its end.
                (self.frozen, self.cursor_ns) = (None, None);
            }
            Feed::Notice(words) => self.say(&words),
            Feed::Over(words) => self.over = Some(words),
        }
        if !self.chosen && self.frozen.is_none() {
            self.selected = self.live.first_line().unwrap_or(self.selected);
        }
        None
    }

    fn pressed(&mut self, event: &KeyEvent) -> Option<Request> {
        let typing = self.prompt.is_some();
        match keys::action(event, self.options.mode, typing) {
            Some(action) => self.act(action),
            None => {
                let letter = keys::typed(event)?;
                self.prompt.as_mut()?.push(letter);
                self.refilter();
                None
            }
        }
    }

    fn pointed(&mut self, event: &MouseEvent) {
        let at = Position { x: event.column, y: event.row };
        let parts = layout::screen(self);
        let Some((panel, area)) = parts.into_iter().rev().find(|(_, area)| area.contains(at)) else { return };
        match event.kind {
            MouseEventKind::ScrollDown => self.wheel(panel, Step::On),
            MouseEventKind::ScrollUp => self.wheel(panel, Step::Back),
            MouseEventKind::Down(MouseButton::Left) => self.clicked(panel, area, at),
            _ => {}
        }
    }

    fn clicked(&mut self, panel: Panel, area: Rect, at: Position) {
        match panel {
            Panel::Help => self.help = false,
            Panel::Tabs => {
                if let Some(view) = panels::tabs::at(area, at.x) {
                    self.show(view);
                }
            }
            Panel::View(View::Board) => {
                let Some(line) = panels::board::at(area, at.y, self.selected) else { return };
                if self.selected == line {
                    self.show(View::Detail);
                }
                self.select(line);
            }
            // What is small beside others is shown by itself.
            Panel::View(view) if self.view == View::Board => self.show(view),
            _ => {}
        }
    }

    fn wheel(&mut self, panel: Panel, step: Step) {
        match panel {
            Panel::View(View::Board) => self.move_selection(step),
            // The log counts from its end.
            Panel::View(View::Log) => self.scroll_by(3, if step == Step::On { Step::Back } else { Step::On }),
            _ => self.scroll_by(3, step),
        }
    }

    /// What is shown: the latest, unless it is frozen.
    pub fn picture(&self) -> &Picture {
        self.frozen.as_deref().unwrap_or(&self.live)
    }

    /// Whether the picture is frozen.
    pub fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// The instant whose values are shown.
    pub fn shown_ns(&self) -> Option<u64> {
        self.cursor_ns.or_else(|| self.picture().snapshot.as_ref().map(|snapshot| snapshot.at_ns))
    }

    /// Whether something changed since this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Text that is to go to the terminal's clipboard.
    pub fn take_copied(&mut self) -> Option<String> {
        self.copied.take()
    }

    /// Whether it is over, and why.
    pub fn over(&self) -> Option<&Option<String>> {
        self.over.as_ref()
    }

    /// When something changes by itself.
    pub fn wake_at(&self) -> Option<Duration> {
        self.notice.as_ref().map(|_| self.notice_until)
    }

    fn say(&mut self, words: &str) {
        self.notice = Some(printable(words));
        self.notice_until = self.clock + NOTICE;
    }

    fn forget_notice(&mut self) {
        if self.notice.is_some() && self.clock >= self.notice_until {
            self.notice = None;
            self.changed = true;
        }
    }

    /// A filter holds while it is typed.
    fn refilter(&mut self) {
        if let Some(Prompt { ask: Ask::Filter, text, .. }) = &self.prompt {
            self.filter.clone_from(text);
            self.scroll = 0;
        }
    }
}

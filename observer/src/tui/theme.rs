//! Colours. Nothing is said by them alone: every state has a symbol and a word.

use ratatui::style::{Color, Modifier, Style};

use crate::core::snapshot::State;

/// How things look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Theme {
    /// Without colours.
    pub monochrome: bool,
}

impl Theme {
    fn colored(self, color: Color, otherwise: Modifier) -> Style {
        if self.monochrome { Style::new().add_modifier(otherwise) } else { Style::new().fg(color) }
    }

    /// Something broke.
    pub(super) fn bad(self) -> Style {
        self.colored(Color::LightRed, Modifier::BOLD).add_modifier(Modifier::BOLD)
    }

    /// Something is strained, or cannot be told.
    pub(super) fn unsure(self) -> Style {
        self.colored(Color::Yellow, Modifier::empty())
    }

    /// All is well.
    pub(super) fn good(self) -> Style {
        self.colored(Color::Green, Modifier::empty())
    }

    /// What matters less.
    pub(super) fn dim(self) -> Style {
        // Between black and white: legible on both.
        self.colored(Color::Indexed(245), Modifier::DIM)
    }

    /// Headings.
    pub(super) fn title(self) -> Style {
        self.colored(Color::Cyan, Modifier::BOLD).add_modifier(Modifier::BOLD)
    }

    /// What is drawn for the load.
    pub(super) fn chart(self) -> Style {
        self.colored(Color::LightBlue, Modifier::empty())
    }

    /// Keys.
    pub(super) fn key(self) -> Style {
        self.colored(Color::Cyan, Modifier::BOLD)
    }

    /// What is selected: not reversed, which would turn the gauges around, and without a background, which
    /// only some terminals can bear.
    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::UNDERLINED | Modifier::BOLD)
    }

    /// A badge: words that must be seen.
    pub(super) fn badge(self, style: Style) -> Style {
        style.add_modifier(Modifier::REVERSED | Modifier::BOLD)
    }

    /// A state.
    pub(super) fn state(self, state: State) -> Style {
        match state {
            State::Hit => self.bad(),
            State::Passed | State::Pressured => self.unsure(),
            State::Clear => self.good(),
            State::NotMeasurable | State::Ignored => self.dim(),
        }
    }
}

/// The symbol of a state.
pub(super) fn symbol(state: State) -> char {
    match state {
        State::Hit => '✖',
        State::Passed => '◌',
        State::Pressured => '▲',
        State::Clear => '○',
        State::NotMeasurable => '?',
        State::Ignored => '-',
    }
}

/// The word for a state.
pub(super) fn word(state: State) -> &'static str {
    match state {
        State::Hit => "HIT",
        State::Passed => "passed",
        State::Pressured => "pressured",
        State::Clear => "clear",
        State::NotMeasurable => "unseen",
        State::Ignored => "ignored",
    }
}

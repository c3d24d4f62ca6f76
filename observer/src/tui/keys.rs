//! The one table of keys: what is pressed, what the footer hints at and what the help lists are made of it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::model::{Mode, View};

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Leaves.
    Quit,
    /// Leaves what is open: help, a filter, the past, the detail.
    Back,
    /// Shows or hides the help.
    Help,
    /// Shows a view.
    Show(View),
    /// Shows the next view, or the one before.
    Turn(Step),
    /// One line down or up.
    Move(Step),
    /// A page down or up.
    Page(Step),
    /// Everything about the selected fault line.
    Open,
    /// Copies the commands that verify the selected fault line.
    Copy,
    /// Asks for what the log is to contain.
    Filter,
    /// Freezes the picture, or lets it go on.
    Pause,
    /// One step through the history.
    Look(Step),
    /// Ten steps through the history.
    LookFar(Step),
    /// Begins an episode.
    BeginEpisode,
    /// Ends it.
    EndEpisode,
    /// Asks for the name of the phase that begins.
    Mark,
    /// Asks for the file to save to.
    Save,
    /// Plays or pauses.
    Play,
    /// One tick.
    Tick(Step),
    /// Twice or half as fast.
    Speed(Step),
    /// Over by a second.
    Skip(Step),
    /// Over by ten seconds.
    SkipFar(Step),
    /// To an onset.
    Onset(Step),
    /// To the beginning of a phase.
    Phase(Step),
    /// Asks for the time to go to.
    Go,
    /// Takes what was typed.
    Accept,
    /// Forgets what was typed.
    Cancel,
    /// Takes back a letter.
    Erase,
    /// Takes back everything.
    Clear,
    /// The next suggestion.
    Suggest,
}

/// One way or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Up, back, earlier, slower.
    Back,
    /// Down, on, later, faster.
    On,
}

/// Where a binding holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In both modes.
    Both,
    /// Over an observation that is going on.
    Live,
    /// Over a recording.
    Replay,
    /// While something is typed.
    Typing,
}

/// A key with what is held down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    code: KeyCode,
    held: KeyModifiers,
}

/// What some keys do.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Any of these.
    pub keys: &'static [Key],
    /// Does this.
    pub action: Action,
    /// In these modes.
    pub scope: Scope,
    /// In words.
    pub help: &'static str,
    /// In a word, where the footer is to mention it.
    pub hint: Option<&'static str>,
}

const fn key(code: KeyCode) -> Key {
    Key { code, held: KeyModifiers::NONE }
}

const fn letter(letter: char) -> Key {
    key(KeyCode::Char(letter))
}

const fn control(letter: char) -> Key {
    Key { code: KeyCode::Char(letter), held: KeyModifiers::CONTROL }
}

const fn shifted(code: KeyCode) -> Key {
    Key { code, held: KeyModifiers::SHIFT }
}

const fn bind(keys: &'static [Key], action: Action, scope: Scope, help: &'static str) -> Binding {
    Binding { keys, action, scope, help, hint: None }
}

impl Binding {
    const fn hinted(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }

    /// Its keys in words: `↓ j`.
    pub fn label(&self) -> String {
        self.keys.iter().map(|key| key.label()).collect::<Vec<_>>().join(" ")
    }
}

/// Every binding, in the order of the help.
pub const BINDINGS: &[Binding] = &[
    // What moves in time comes first, as the footer is short.
    bind(&[letter(' '), letter('p')], Action::Play, Scope::Replay, "play, or pause").hinted("play/pause"),
    bind(&[letter('.')], Action::Tick(Step::On), Scope::Replay, "one tick on").hinted("tick"),
    bind(&[letter(',')], Action::Tick(Step::Back), Scope::Replay, "one tick back"),
    bind(&[letter('+'), letter('=')], Action::Speed(Step::On), Scope::Replay, "twice as fast")
        .hinted("faster"),
    bind(&[letter('-')], Action::Speed(Step::Back), Scope::Replay, "half as fast"),
    bind(&[letter('o')], Action::Onset(Step::On), Scope::Replay, "to the next onset").hinted("next onset"),
    bind(&[letter('O')], Action::Onset(Step::Back), Scope::Replay, "to the onset before"),
    bind(&[letter('n')], Action::Phase(Step::On), Scope::Replay, "to the next phase").hinted("next phase"),
    bind(&[letter('N')], Action::Phase(Step::Back), Scope::Replay, "to the phase before"),
    bind(&[letter('g')], Action::Go, Scope::Replay, "to a time: 93.5 or 1:33").hinted("go to"),
    bind(&[key(KeyCode::Right), letter('l')], Action::Skip(Step::On), Scope::Replay, "a second on"),
    bind(&[key(KeyCode::Left), letter('h')], Action::Skip(Step::Back), Scope::Replay, "a second back"),
    bind(
        &[shifted(KeyCode::Right), letter('L'), key(KeyCode::PageDown)],
        Action::SkipFar(Step::On),
        Scope::Replay,
        "ten seconds on",
    ),
    bind(
        &[shifted(KeyCode::Left), letter('H'), key(KeyCode::PageUp)],
        Action::SkipFar(Step::Back),
        Scope::Replay,
        "ten seconds back",
    ),
    bind(
        &[letter('p'), letter(' ')],
        Action::Pause,
        Scope::Live,
        "freeze the picture, or let it go on; the observation goes on meanwhile",
    )
    .hinted("pause"),
    bind(
        &[key(KeyCode::Left), letter('h')],
        Action::Look(Step::Back),
        Scope::Live,
        "look a step back in time",
    )
    .hinted("look back"),
    bind(&[key(KeyCode::Right), letter('l')], Action::Look(Step::On), Scope::Live, "look a step on in time"),
    bind(
        &[shifted(KeyCode::Left), letter('H')],
        Action::LookFar(Step::Back),
        Scope::Live,
        "look ten steps back",
    ),
    bind(
        &[shifted(KeyCode::Right), letter('L')],
        Action::LookFar(Step::On),
        Scope::Live,
        "look ten steps on",
    ),
    bind(
        &[letter('b')],
        Action::BeginEpisode,
        Scope::Live,
        "begin an episode: what comes is judged by itself",
    )
    .hinted("begin"),
    bind(&[letter('e')], Action::EndEpisode, Scope::Live, "end the episode").hinted("end"),
    bind(&[letter('m')], Action::Mark, Scope::Live, "say that a phase of the test begins").hinted("mark"),
    bind(&[letter('s')], Action::Save, Scope::Live, "save what was observed to a file").hinted("save"),
    bind(&[key(KeyCode::Down), letter('j')], Action::Move(Step::On), Scope::Both, "down a line"),
    bind(&[key(KeyCode::Up), letter('k')], Action::Move(Step::Back), Scope::Both, "up a line"),
    bind(&[control('d'), control('f')], Action::Page(Step::On), Scope::Both, "down a page"),
    bind(&[control('u'), control('b')], Action::Page(Step::Back), Scope::Both, "up a page"),
    bind(&[key(KeyCode::PageDown)], Action::Page(Step::On), Scope::Live, "down a page as well"),
    bind(&[key(KeyCode::PageUp)], Action::Page(Step::Back), Scope::Live, "up a page as well"),
    bind(&[key(KeyCode::Enter)], Action::Open, Scope::Both, "everything about the selected fault line")
        .hinted("detail"),
    bind(&[letter('y')], Action::Copy, Scope::Both, "copy the commands that verify the selected fault line"),
    bind(&[letter('/')], Action::Filter, Scope::Both, "show only the events that contain a text")
        .hinted("filter"),
    bind(&[key(KeyCode::Tab)], Action::Turn(Step::On), Scope::Both, "the next view"),
    bind(&[key(KeyCode::BackTab)], Action::Turn(Step::Back), Scope::Both, "the view before"),
    bind(&[letter('1')], Action::Show(View::Board), Scope::Both, "the board of fault lines"),
    bind(&[letter('2')], Action::Show(View::Load), Scope::Both, "the load over time"),
    bind(&[letter('3')], Action::Show(View::InUse), Scope::Both, "TCP states and resources in use"),
    bind(&[letter('4')], Action::Show(View::Chain), Scope::Both, "what led to what"),
    bind(&[letter('5')], Action::Show(View::Log), Scope::Both, "what happened"),
    bind(&[letter('6')], Action::Show(View::Detail), Scope::Both, "the selected fault line"),
    bind(&[letter('7')], Action::Show(View::Episodes), Scope::Both, "episodes, and how they compare"),
    bind(&[key(KeyCode::Esc)], Action::Back, Scope::Both, "back: from help, filter, past, detail"),
    bind(&[letter('?'), key(KeyCode::F(1))], Action::Help, Scope::Both, "this help").hinted("help"),
    bind(&[letter('q'), control('c')], Action::Quit, Scope::Both, "leave").hinted("quit"),
    bind(&[key(KeyCode::Enter)], Action::Accept, Scope::Typing, "take what was typed").hinted("take it"),
    bind(&[key(KeyCode::Tab)], Action::Suggest, Scope::Typing, "the next suggestion").hinted("suggest"),
    bind(&[key(KeyCode::Esc), control('c')], Action::Cancel, Scope::Typing, "forget what was typed")
        .hinted("forget it"),
    bind(&[key(KeyCode::Backspace)], Action::Erase, Scope::Typing, "take back a letter"),
    bind(&[control('u')], Action::Clear, Scope::Typing, "take back everything"),
];

impl Scope {
    /// Whether what is bound here holds in a mode.
    pub fn holds(self, mode: Mode, typing: bool) -> bool {
        match self {
            Self::Typing => typing,
            Self::Both => !typing,
            Self::Live => !typing && mode == Mode::Live,
            Self::Replay => !typing && mode == Mode::Replay,
        }
    }
}

impl Key {
    /// The key that was pressed. Capital letters are letters of their own, whether or not the terminal
    /// mentions that shift was held.
    fn of(event: &KeyEvent) -> Self {
        let told = KeyModifiers::CONTROL | KeyModifiers::ALT;
        let told = match event.code {
            KeyCode::Char(_) | KeyCode::BackTab => told,
            _ => told | KeyModifiers::SHIFT,
        };
        Self { code: event.code, held: event.modifiers & told }
    }

    /// Its name.
    fn label(self) -> String {
        let name = match self.code {
            KeyCode::Char(' ') => "space".to_owned(),
            KeyCode::Char(letter) => letter.to_string(),
            KeyCode::Up => "↑".to_owned(),
            KeyCode::Down => "↓".to_owned(),
            KeyCode::Left => "←".to_owned(),
            KeyCode::Right => "→".to_owned(),
            KeyCode::PageUp => "PgUp".to_owned(),
            KeyCode::PageDown => "PgDn".to_owned(),
            KeyCode::BackTab => "Shift-Tab".to_owned(),
            KeyCode::F(number) => format!("F{number}"),
            other => format!("{other:?}"),
        };
        match self.held {
            KeyModifiers::CONTROL => format!("Ctrl-{}", name.to_uppercase()),
            KeyModifiers::SHIFT => format!("Shift-{name}"),
            _ => name,
        }
    }
}

/// The bindings of a mode.
pub fn bindings(mode: Mode, typing: bool) -> impl Iterator<Item = &'static Binding> {
    BINDINGS.iter().filter(move |binding| binding.scope.holds(mode, typing))
}

/// What a key does.
pub fn action(event: &KeyEvent, mode: Mode, typing: bool) -> Option<Action> {
    let pressed = Key::of(event);
    bindings(mode, typing).find(|binding| binding.keys.contains(&pressed)).map(|binding| binding.action)
}

/// The letter that a key types.
pub fn typed(event: &KeyEvent) -> Option<char> {
    match event.code {
        KeyCode::Char(letter) if Key::of(event).held.is_empty() => Some(letter),
        _ => None,
    }
}

/// The key of an action, in words.
pub fn label_of(action: Action) -> Option<String> {
    BINDINGS.iter().find(|binding| binding.action == action)?.keys.first().map(|key| key.label())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_bound_twice_in_one_mode() {
        for (mode, typing) in
            [(Mode::Live, false), (Mode::Replay, false), (Mode::Live, true), (Mode::Replay, true)]
        {
            let mut seen = Vec::new();
            for key in bindings(mode, typing).flat_map(|binding| binding.keys) {
                assert!(!seen.contains(key), "{} is bound twice in {mode:?}, typing: {typing}", key.label());
                seen.push(*key);
            }
        }
    }

    #[test]
    fn every_view_has_a_key() {
        for view in View::ALL {
            assert!(label_of(Action::Show(*view)).is_some(), "{view:?}");
        }
    }

    #[test]
    fn a_capital_is_a_letter_of_its_own_with_or_without_shift() {
        for held in [KeyModifiers::NONE, KeyModifiers::SHIFT] {
            let event = KeyEvent::new(KeyCode::Char('O'), held);
            assert_eq!(action(&event, Mode::Replay, false), Some(Action::Onset(Step::Back)));
        }
        let far = KeyEvent::new(KeyCode::Left, KeyModifiers::SHIFT);
        assert_eq!(action(&far, Mode::Live, false), Some(Action::LookFar(Step::Back)));
    }
}

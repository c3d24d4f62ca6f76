//! What an action does to the state.

use super::{Ask, Mode, Model, Prompt, View, prompt};
use crate::{
    core::lines::LINES,
    sinks::report::numbers::plural,
    tui::{
        feed::Request,
        keys::{Action, Step},
        panels,
    },
};

/// Steps of the history that a far look is over.
const FAR: u64 = 10;
/// Furthest that a view scrolls; drawing stops at its end.
const FURTHEST: usize = 100_000;

impl Model {
    pub(super) fn act(&mut self, action: Action) -> Option<Request> {
        match action {
            Action::Quit => {
                self.over = Some(None);
                return Some(Request::Quit);
            }
            Action::Back => self.back(),
            Action::Help => (self.help, self.scroll) = (!self.help, 0),
            Action::Show(view) => self.show(view),
            Action::Turn(step) => self.show(self.view.turn(step)),
            Action::Move(step) => self.move_by(1, step),
            Action::Page(step) => self.move_by(usize::from(self.size.1 / 2).max(1), step),
            Action::Open => self.show(View::Detail),
            Action::Copy => self.copy(),
            Action::Filter => {
                self.show(View::Log);
                self.ask(Ask::Filter, self.filter.clone());
            }
            Action::Pause => self.pause(),
            Action::Look(step) => self.look(1, step),
            Action::LookFar(step) => self.look(FAR, step),
            Action::BeginEpisode => return Some(Request::BeginEpisode),
            Action::EndEpisode => return self.end_episode(),
            Action::Mark => self.ask(Ask::Phase, String::new()),
            Action::Save => self.ask(Ask::File, String::new()),
            Action::Go => self.ask(Ask::Time, String::new()),
            Action::Play
            | Action::Tick(_)
            | Action::Speed(_)
            | Action::Skip(_)
            | Action::SkipFar(_)
            | Action::Onset(_)
            | Action::Phase(_) => return self.travel(action),
            Action::Accept => return self.accept(),
            Action::Cancel => self.cancel(),
            Action::Erase | Action::Clear | Action::Suggest => self.edit(action),
        }
        None
    }

    fn back(&mut self) {
        if self.help {
            (self.help, self.scroll) = (false, 0);
        } else if self.cursor_ns.is_some() || self.frozen.is_some() {
            (self.cursor_ns, self.frozen) = (None, None);
        } else if self.view == View::Log && !self.filter.is_empty() {
            self.filter.clear();
        } else {
            self.show(View::Board);
        }
    }

    pub(super) fn show(&mut self, view: View) {
        (self.view, self.scroll, self.help) = (view, 0, false);
    }

    pub(super) fn select(&mut self, line: usize) {
        (self.selected, self.scroll, self.chosen) = (line.min(LINES.len() - 1), 0, true);
    }

    pub(super) fn move_selection(&mut self, step: Step) {
        self.select(panels::board::next(self.selected, step));
    }

    fn move_by(&mut self, lines: usize, step: Step) {
        match self.view {
            _ if self.help => self.scroll_by(lines, step),
            View::Detail | View::Episodes | View::Chain => self.scroll_by(lines, step),
            View::Log => self.scroll_by(lines, if step == Step::On { Step::Back } else { Step::On }),
            View::Board | View::Load | View::InUse => {
                (0..lines.min(LINES.len())).for_each(|_| self.move_selection(step));
            }
        }
    }

    pub(super) fn scroll_by(&mut self, lines: usize, step: Step) {
        self.scroll = match step {
            Step::On => (self.scroll + lines).min(panels::furthest(self).min(FURTHEST)),
            Step::Back => self.scroll.min(panels::furthest(self)).saturating_sub(lines),
        };
    }

    fn copy(&mut self) {
        let commands = panels::detail::commands(self);
        self.say(&format!("copied {}", plural(commands.len(), "command", "commands")));
        self.copied = Some(commands.join("\n"));
    }

    fn pause(&mut self) {
        match self.frozen.take() {
            Some(_) => self.cursor_ns = None,
            None => self.freeze(),
        }
    }

    fn freeze(&mut self) {
        if self.frozen.is_none() {
            self.frozen = Some(Box::new(self.live.clone()));
        }
    }

    /// Looks at the past. That freezes the picture: it would move away under the eyes.
    fn look(&mut self, steps: u64, step: Step) {
        let picture = self.picture();
        let (Some(from_ns), Some(snapshot)) = (picture.history.start_ns(), &picture.snapshot) else { return };
        let (now_ns, step_ns) = (snapshot.at_ns, picture.history.step_ns());
        let at_ns = self.cursor_ns.unwrap_or(now_ns);
        let to_ns = match step {
            Step::Back => at_ns.saturating_sub(steps * step_ns).max(from_ns),
            Step::On => at_ns + steps * step_ns,
        };
        self.cursor_ns = (to_ns < now_ns).then_some(to_ns);
        if self.cursor_ns.is_some() {
            self.freeze();
        }
    }

    fn end_episode(&mut self) -> Option<Request> {
        if !self.live.in_episode {
            self.say("no episode is under way: b begins one");
            return None;
        }
        Some(Request::EndEpisode)
    }

    fn ask(&mut self, ask: Ask, text: String) {
        self.help = false;
        self.prompt = Some(Prompt::new(ask, text));
    }

    fn edit(&mut self, action: Action) {
        let Some(prompt) = &mut self.prompt else { return };
        match action {
            Action::Suggest => prompt.suggest(),
            Action::Clear => prompt.text.clear(),
            _ => {
                prompt.text.pop();
            }
        }
        self.refilter();
    }

    fn cancel(&mut self) {
        if self.prompt.take().is_some_and(|prompt| prompt.ask == Ask::Filter) {
            self.filter.clear();
        }
    }

    fn accept(&mut self) -> Option<Request> {
        let Prompt { ask, text, .. } = self.prompt.take()?;
        let text = text.trim();
        match ask {
            Ask::Filter => None,
            _ if text.is_empty() => None,
            Ask::Phase => Some(Request::Mark(text.to_owned())),
            Ask::File => Some(Request::Save(text.to_owned())),
            Ask::Time => match prompt::seconds(text) {
                Some(seconds) => self.go(seconds),
                None => {
                    self.say(&format!("{text} is no time: 93.5 and 1:33 are"));
                    None
                }
            },
        }
    }

    /// Whether a recording is shown.
    pub fn is_replay(&self) -> bool {
        self.options.mode == Mode::Replay
    }
}

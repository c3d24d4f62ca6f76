//! The terminal: taken, drawn on, and given back however it ends.

mod guard;
mod mailbox;

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use ratatui::crossterm::event::{self, Event, KeyEventKind};

pub use self::guard::let_go;
use self::{guard::Guard, mailbox::Mailbox};
use super::{
    feed::{Feed, Request},
    model::{Input, Model, Options},
    panels,
};

/// Least time between two pictures: more often than this nobody can look.
const BETWEEN: Duration = Duration::from_millis(50);
/// As many inputs are taken in before the next picture.
const AT_ONCE: usize = 256;

/// What wakes the loop.
#[derive(Debug)]
enum Message {
    /// Something to take in.
    Input(Input),
    /// The mailbox is no longer empty.
    Fed,
    /// The caller is gone.
    FeedEnded,
    /// The terminal is gone.
    TerminalEnded(io::Error),
    /// A thread panicked. Its words stand on the terminal, which was given back before.
    Panicked,
}

/// Runs the dashboard in this thread until the user leaves, the feed says that it is over, or its sender is
/// gone. Answers with the words of [`Feed::Over`], for the caller to print: by then the terminal is as it was.
///
/// # Errors
///
/// There is no terminal, it is lost, or some thread of the process panicked.
pub fn run(
    feed: Receiver<Feed>,
    requests: impl Fn(Request),
    mut options: Options,
) -> io::Result<Option<String>> {
    options.monochrome |= std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let (sender, receiver) = channel();
    let mailbox = Arc::new(Mailbox::default());
    // First: the terminal may stand still already.
    forward(feed, Arc::clone(&mailbox), sender.clone())?;
    let mut guard = Guard::take(sender.clone())?;
    listen(sender)?;
    let (model, began) = (Model::new(options), Instant::now());
    let mut screen = Screen { model, mailbox, began, last: None, changed: true };
    let size = guard.terminal.size()?;
    screen.model.update(Input::Resize(size.width, size.height));
    let ended = screen.run(&mut guard, &receiver, &requests);
    drop(guard);
    ended
}

struct Screen {
    model: Model,
    mailbox: Arc<Mailbox>,
    began: Instant,
    /// When it was drawn last.
    last: Option<Instant>,
    changed: bool,
}

impl Screen {
    fn run(
        &mut self,
        guard: &mut Guard,
        messages: &Receiver<Message>,
        requests: &impl Fn(Request),
    ) -> io::Result<Option<String>> {
        loop {
            self.draw(guard)?;
            let first = match self.patience() {
                None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(patience) => messages.recv_timeout(patience),
            };
            self.model.update(Input::Clock(self.began.elapsed()));
            let first = match first {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            };
            for message in first.into_iter().chain(messages.try_iter().take(AT_ONCE)) {
                match message {
                    Message::Input(input) => {
                        if let Some(request) = self.model.update(input) {
                            requests(request);
                        }
                    }
                    Message::Fed => {
                        for feed in self.mailbox.take() {
                            self.model.update(Input::Feed(feed));
                        }
                    }
                    Message::FeedEnded => return Ok(None),
                    Message::TerminalEnded(error) => return Err(error),
                    Message::Panicked => return Err(io::Error::other("a part of observer failed")),
                }
                if let Some(words) = self.model.over() {
                    return Ok(words.clone());
                }
            }
            if let Some(text) = self.model.take_copied() {
                guard.copy(&text)?;
            }
        }
    }

    /// Draws if something changed and the last picture has been there for long enough.
    fn draw(&mut self, guard: &mut Guard) -> io::Result<()> {
        self.changed |= self.model.take_changed();
        if !guard.is_ours() || !self.changed || self.last.is_some_and(|last| last.elapsed() < BETWEEN) {
            return Ok(());
        }
        // The rate is of the beginnings: what drawing takes is not added to it.
        (self.changed, self.last) = (false, Some(Instant::now()));
        guard.terminal.draw(|frame| panels::draw(frame, &self.model))?;
        Ok(())
    }

    /// How long to wait for the next message; for ever when nothing is to be done.
    fn patience(&self) -> Option<Duration> {
        if self.changed {
            return Some(self.last.map_or(Duration::ZERO, |last| BETWEEN.saturating_sub(last.elapsed())));
        }
        self.model.wake_at().map(|at| at.saturating_sub(self.began.elapsed()))
    }
}

/// Feeds and keys wake the same loop. Nobody who tells something ever waits for the terminal.
fn forward(feed: Receiver<Feed>, mailbox: Arc<Mailbox>, sender: Sender<Message>) -> io::Result<()> {
    let work = move || {
        for feed in feed {
            if mailbox.put(feed) && sender.send(Message::Fed).is_err() {
                return;
            }
        }
        // Nobody listens any more when the loop has ended first.
        let _ = sender.send(Message::FeedEnded);
    };
    thread::Builder::new().name("tui-feed".into()).spawn(work).map(drop)
}

/// Waits for keys. The thread ends with the process: a read from a terminal cannot be called off.
fn listen(sender: Sender<Message>) -> io::Result<()> {
    let work = move || {
        loop {
            let message = match event::read() {
                Ok(event) => input(event).map(Message::Input),
                Err(error) => Some(Message::TerminalEnded(error)),
            };
            let is_end = matches!(message, Some(Message::TerminalEnded(_)));
            if message.is_some_and(|message| sender.send(message).is_err()) || is_end {
                return;
            }
        }
    };
    thread::Builder::new().name("tui-keys".into()).spawn(work).map(drop)
}

fn input(event: Event) -> Option<Input> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => Some(Input::Key(key)),
        Event::Mouse(mouse) => Some(Input::Mouse(mouse)),
        Event::Paste(text) => Some(Input::Paste(text)),
        Event::Resize(columns, rows) => Some(Input::Resize(columns, rows)),
        _ => None,
    }
}

//! Takes the terminal, and gives it back: at the end, on an error, when any thread panics, and when it takes nothing
//! any more.

use std::{
    io::{self, BufWriter, IsTerminal, Stdout, Write, stdout},
    panic,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::Sender,
    },
};

use nix::sys::termios::{FlushArg, tcflush};
use ratatui::{
    Terminal,
    backend::{Backend, CrosstermBackend},
    crossterm::{
        cursor::Show,
        event::{DisableBracketedPaste, EnableBracketedPaste},
        execute,
        terminal::{
            EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
            is_raw_mode_enabled,
        },
    },
};

use super::Message;

/// Presses and the wheel, but not every movement: those would wake us for nothing.
const MOUSE_ON: &[u8] = b"\x1b[?1000h\x1b[?1006h";
const MOUSE_OFF: &[u8] = b"\x1b[?1006l\x1b[?1000l";
/// A picture goes out in one write.
const PICTURE_BYTES: usize = 256 * 1024;

/// Whether the terminal is ours now. One process has one terminal.
static TAKEN: AtomicBool = AtomicBool::new(false);

type Hook = Box<dyn Fn(&panic::PanicHookInfo<'_>) + Sync + Send + 'static>;

/// The terminal while it is ours.
pub(super) struct Guard {
    pub(super) terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    hook: Arc<Hook>,
}

impl Guard {
    pub(super) fn take(sender: Sender<Message>) -> io::Result<Self> {
        if !stdout().is_terminal() {
            return Err(io::Error::other("the dashboard needs a terminal on standard output"));
        }
        let hook = Arc::new(panic::take_hook());
        let ours = Arc::clone(&hook);
        panic::set_hook(Box::new(move |info| {
            give_back();
            ours(info);
            // Where the loop has ended, nobody is to be told.
            let _ = sender.send(Message::Panicked);
        }));
        TAKEN.store(true, Ordering::SeqCst);
        match open() {
            Ok(terminal) => Ok(Self { terminal, hook }),
            Err(error) => {
                give_back();
                put_back(hook);
                Err(error)
            }
        }
    }

    /// Whether the terminal is still ours: when another thread panics, it is given back at once.
    pub(super) fn is_ours(&self) -> bool {
        TAKEN.load(Ordering::SeqCst)
    }

    /// Copies a text to the clipboard of the user's terminal (OSC 52), which works over SSH as well.
    pub(super) fn copy(&mut self, text: &str) -> io::Result<()> {
        let writer = self.terminal.backend_mut();
        write!(writer, "\x1b]52;c;{}\x07", base64(text.as_bytes()))?;
        Write::flush(writer)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        give_back();
        // A thread that panics may not change the hook.
        if !std::thread::panicking() {
            put_back(Arc::clone(&self.hook));
        }
    }
}

fn put_back(hook: Arc<Hook>) {
    drop(panic::take_hook());
    panic::set_hook(Box::new(move |info| hook(info)));
}

fn open() -> io::Result<Terminal<CrosstermBackend<BufWriter<Stdout>>>> {
    enable_raw_mode()?;
    let mut out = stdout();
    execute!(out, EnterAlternateScreen, EnableBracketedPaste)?;
    out.write_all(MOUSE_ON)?;
    out.flush()?;
    let writer = BufWriter::with_capacity(PICTURE_BYTES, stdout());
    let mut terminal = Terminal::new(CrosstermBackend::new(writer))?;
    // Not `Terminal::clear`, which asks where the cursor is, and waits in vain where a terminal does not tell.
    Backend::clear(terminal.backend_mut())?;
    terminal.hide_cursor()?;
    Ok(terminal)
}

/// Gives it back, once. Where that fails there is nothing left to try.
fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    let mut out = stdout();
    let _ = out.write_all(MOUSE_OFF);
    let _ = execute!(out, DisableBracketedPaste, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// Frees the thread that draws, where it is stuck in a write to a terminal that nobody reads: discards what waits
/// there, and gives the terminal its settings back. Neither waits for the terminal. The write goes on then, into the
/// room that was made; with [`Feed::Over`] told, that thread gives back the rest.
///
/// [`Feed::Over`]: crate::tui::feed::Feed::Over
pub fn let_go() {
    // It may be giving it back already.
    if is_raw_mode_enabled().unwrap_or(false) {
        // Where one fails, there is the other one to try, and nothing else. The second wakes the write.
        let _ = tcflush(stdout(), FlushArg::TCOFLUSH);
        let _ = disable_raw_mode();
    }
}

/// Base64 with padding, as OSC 52 wants it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = (group >> (18 - 6 * digit)) & 63;
            text.push(if digit <= chunk.len() { char::from(DIGITS[value as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_as_the_standard_has_it() {
        for (text, encoded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }
}

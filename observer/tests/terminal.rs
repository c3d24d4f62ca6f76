//! The terminal is given back whatever happens: a panic in any thread, and an end that the program decides on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs::File,
    io::Read as _,
    os::fd::OwnedFd,
    process::{Command, Stdio},
    sync::mpsc::channel,
    thread,
};

use nix::{
    pty::{Winsize, openpty},
    sys::termios::{LocalFlags, tcgetattr},
};
use observer::tui::{self, Mode, Options, feed::Feed};

/// Names the part that this program plays when it starts itself in a terminal.
const PART: &str = "OBSERVER_TERMINAL_TEST";
/// What a terminal is told to leave the other screen, and to show its cursor.
const GIVEN_BACK: [&str; 2] = ["\x1b[?1049l", "\x1b[?25h"];

/// Not a test of its own: what runs in the terminal of the others.
#[test]
fn in_a_terminal() {
    let Ok(part) = std::env::var(PART) else { return };
    let (feed, feeds) = channel();
    let options = Options { title: "a test".into(), monochrome: false, mode: Mode::Live };
    let watched = thread::spawn(move || {
        // Once the dashboard has drawn this, the terminal is taken.
        feed.send(Feed::Notice("drawn".into())).unwrap();
        thread::sleep(std::time::Duration::from_millis(300));
        match part.as_str() {
            "panic" => panic!("something unforeseen"),
            _ => feed.send(Feed::Over(Some("over".into()))).unwrap(),
        }
    });
    let ended = tui::run(feeds, |_| {}, options);
    assert_eq!(watched.join().is_err(), ended.is_err(), "a panic is an error: {ended:?}");
}

/// Starts this program in a terminal; returns all that it wrote.
fn played(part: &str) -> String {
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(Some(&size), None).unwrap();
    let before = tcgetattr(&pty.slave).unwrap();
    let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "in_a_terminal", "--nocapture"])
        .env(PART, part)
        .env("RUST_BACKTRACE", "0")
        .stdin(end(&pty.slave))
        .stdout(end(&pty.slave))
        .stderr(end(&pty.slave))
        .spawn()
        .unwrap();
    let mut keyboard = File::from(pty.master);
    let reader = thread::spawn(move || {
        let mut all = Vec::new();
        let mut some = [0; 4096];
        // A terminal that nobody writes to any more ends with an error.
        while let Ok(length @ 1..) = keyboard.read(&mut some) {
            all.extend_from_slice(&some[..length]);
        }
        String::from_utf8_lossy(&all).into_owned()
    });
    let ended = child.wait().unwrap();
    let after = tcgetattr(&pty.slave).unwrap();
    drop(pty.slave);
    let written = reader.join().unwrap();
    assert!(ended.success(), "{written:?}");
    assert_eq!(before, after, "the terminal's settings are not what they were");
    assert!(after.local_flags.contains(LocalFlags::ECHO));
    written
}

fn is_given_back(written: &str) {
    let taken = written.find("\x1b[?1049h").expect("the other screen was taken");
    for words in GIVEN_BACK {
        assert!(written.rfind(words).is_some_and(|at| at > taken), "{words:?} is missing:\n{written:?}");
    }
}

#[test]
fn a_panic_gives_the_terminal_back_before_its_words() {
    let written = played("panic");
    is_given_back(&written);
    let words = written.find("something unforeseen").expect("the panic says what it is");
    assert!(
        written.find(GIVEN_BACK[0]).is_some_and(|at| at < words),
        "the words are on the screen that is gone"
    );
}

#[test]
fn an_end_gives_the_terminal_back() {
    is_given_back(&played("over"));
}

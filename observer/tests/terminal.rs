//! The terminal is given back whatever happens: a panic in any thread, an end that the program decides on, and a
//! signal while the terminal takes nothing any more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::{OpenptyResult, Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{LocalFlags, tcgetattr},
    },
    unistd::Pid,
};
use observer::{
    recording::Reader,
    tui::{self, Mode, Options, feed::Feed},
};

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
        thread::sleep(Duration::from_millis(300));
        match part.as_str() {
            "panic" => panic!("something unforeseen"),
            _ => feed.send(Feed::Over(Some("over".into()))).unwrap(),
        }
    });
    let ended = tui::run(feeds, |_| {}, options);
    assert_eq!(watched.join().is_err(), ended.is_err(), "a panic is an error: {ended:?}");
}

fn terminal() -> OpenptyResult {
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    openpty(Some(&size), None).unwrap()
}

/// Starts a program in a terminal. Nothing here holds the terminal for it: the command goes with this.
fn start(mut command: Command, terminal: &OpenptyResult) -> Child {
    let end = || Stdio::from(terminal.slave.try_clone().unwrap());
    command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap()
}

/// All that is written to a terminal, until nobody holds it any more.
fn read(master: OwnedFd) -> String {
    let (mut all, mut some, mut screen) = (Vec::new(), [0; 4096], File::from(master));
    // A terminal that nobody writes to any more ends with an error.
    while let Ok(length @ 1..) = screen.read(&mut some) {
        all.extend_from_slice(&some[..length]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// Starts this program in a terminal; returns all that it wrote.
fn played(part: &str) -> String {
    let pty = terminal();
    let before = tcgetattr(&pty.slave).unwrap();
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", "in_a_terminal", "--nocapture"]).env(PART, part).env("RUST_BACKTRACE", "0");
    let mut child = start(program, &pty);
    let reader = thread::spawn(move || read(pty.master));
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

/// How long anything may take before it is taken for stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks at a dashboard that observer draws until it is there, then no more until the terminal is full; presses keys
/// meanwhile, so that there is something to draw. Ends it by a signal; returns what it wrote after that.
fn ended_while_nobody_reads(command: Command) -> (ExitStatus, String) {
    let pty = terminal();
    let before = tcgetattr(&pty.slave).unwrap();
    let mut child = start(command, &pty);
    let mut keyboard = File::from(pty.master.try_clone().unwrap());
    let mut seen = Vec::new();
    let mut some = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains("fault line") {
        let length = keyboard.read(&mut some).unwrap();
        seen.extend_from_slice(&some[..length]);
    }
    let is_full = || {
        let mut fds = [PollFd::new(pty.slave.as_fd(), PollFlags::POLLOUT)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 0
    };
    let begun = Instant::now();
    let mut full_since = None;
    // A terminal that is being written to looks full for a moment.
    while full_since.is_none_or(|since: Instant| since.elapsed() < Duration::from_secs(1)) {
        assert!(begun.elapsed() < PATIENCE, "it never fills the terminal");
        keyboard.write_all(b"\t").unwrap();
        thread::sleep(Duration::from_millis(60));
        full_since = is_full().then(|| full_since.unwrap_or_else(Instant::now));
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    let ended = waited(&mut child);
    assert_eq!(before, tcgetattr(&pty.slave).unwrap(), "the terminal's settings are not what they were");
    drop((pty.slave, keyboard));
    (ended, read(pty.master))
}

fn waited(child: &mut Child) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(ended) = child.try_wait().unwrap() {
            return ended;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it does not end while the terminal takes nothing");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn observer(command: &str) -> Command {
    let mut observer = Command::new(env!("CARGO_BIN_EXE_observer"));
    observer.arg(command);
    observer
}

#[test]
fn a_signal_ends_an_observation_whose_terminal_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("r.observer");
    let mut live = observer("live");
    live.arg("--record").arg(&recording);
    let (ended, rest) = ended_while_nobody_reads(live);
    assert!(ended.success(), "{ended}");
    assert!(Reader::open(&recording).unwrap().is_finished().unwrap(), "the recording was not closed");
    GIVEN_BACK.iter().for_each(|words| assert!(rest.contains(words), "{words:?} is missing:\n{rest:?}"));
}

#[test]
fn a_signal_ends_a_player_whose_terminal_takes_nothing() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/trampoline_cascade_fd_accept");
    let mut replay = observer("replay");
    replay.arg(golden.join("run.observer"));
    let (ended, rest) = ended_while_nobody_reads(replay);
    assert!(ended.success(), "{ended}");
    GIVEN_BACK.iter().for_each(|words| assert!(rest.contains(words), "{words:?} is missing:\n{rest:?}"));
}

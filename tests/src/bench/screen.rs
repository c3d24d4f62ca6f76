//! `observer live` in a terminal, and how long it takes there until a failure can be read.

use std::{
    cmp::Ordering,
    fs,
    net::TcpStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    stage::{PATIENCE, Stage},
    tmux::Tmux,
};

/// Enough for the board in full.
const SIZE: (u16, u16) = (200, 50);
/// The line of the board that is looked at.
const LINE: &str = "connection_refused";
/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(5);
/// How often a failure is provoked.
const FAILURES: u16 = 30;
/// Nobody listens there. It is the same place each time, so that the board's count only rises: a place that failed once,
/// a while ago, is forgotten. Nothing wakes observer before its next tick for one that has failed before.
const CLOSED: u16 = 9;

/// Whether there is a terminal to look at.
pub fn is_there() -> bool {
    Command::new("tmux").arg("-V").output().is_ok()
}

/// From each refused connect until the board counts it, in milliseconds; asking the terminal is part of it.
pub fn flagged_ms(stage: &Stage) -> Result<Vec<f64>> {
    let folder = stage.folder().join("screen");
    fs::create_dir_all(&folder)?;
    let observer = stage.observer().context("there is no observer")?;
    let tmux = Tmux::start(&folder, SIZE, &format!("exec {} live --target :{CLOSED}", observer.display()))?;
    tmux.wait_for(&["the test began", LINE])?;
    let taken: Vec<f64> =
        (0..FAILURES).filter_map(|number| flagged_once(&tmux, number).transpose()).collect::<Result<_>>()?;
    ensure!(taken.len() * 2 > usize::from(FAILURES), "too many other tests go on here");
    Ok(taken)
}

/// `None` where the board began to count anew in the meantime, as it does when a test begins.
fn flagged_once(tmux: &Tmux, number: u16) -> Result<Option<f64>> {
    // Somewhere between two ticks and between two pictures.
    thread::sleep(Duration::from_millis(300 + u64::from(number) * 37 % 97));
    let before = failures(&tmux.screen()?)?;
    let begun = Instant::now();
    ensure!(TcpStream::connect(("127.0.0.1", CLOSED)).is_err(), "somebody listens on port {CLOSED}");
    loop {
        // The terminal needs the processors as well.
        thread::sleep(PERIOD);
        let screen = tmux.screen()?;
        match failures(&screen)?.cmp(&before) {
            Ordering::Greater => return Ok(Some(begun.elapsed().as_secs_f64() * 1e3)),
            Ordering::Less => return Ok(None),
            Ordering::Equal => {}
        }
        let waited = begun.elapsed();
        ensure!(waited < PATIENCE, "a refused connect is never counted on the screen:\n{screen}");
    }
}

/// What the board counts for the line: its name, a sign and a word for its state, then the failures. Where it broke
/// first, others speak of it as well.
fn failures(screen: &str) -> Result<u64> {
    let count = |row: &str| {
        let mut words = row.split_once(LINE)?.1.split_whitespace();
        let _sign = words.next().filter(|word| !word.is_ascii())?;
        words.nth(1)?.replace(',', "").parse().ok()
    };
    let found = screen.lines().find_map(count);
    found.with_context(|| format!("the screen counts no failures of {LINE}:\n{screen}"))
}

#[cfg(test)]
mod tests {
    use super::failures;

    #[test]
    fn failures_are_read_off_the_board() {
        let screen = "✖ connection_refused broke first: 329 ms after the start, in idle.\n\
                      \x20      connection_resets     ○ clear         0     0  ····\n\
                      ►FIRST connection_refused    ✖ HIT     1,015   8.3  ·×××    in accept queues  0\n";
        assert_eq!(failures(screen).expect("a count"), 1015);
        assert!(failures("connection_refused  ? unseen  ····").is_err());
    }
}

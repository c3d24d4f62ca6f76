//! The dashboard in a real terminal, through every view, while a fault is provoked; and the terminal afterwards.

use std::{fs, path::Path, process::Command, thread, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{PLENTY, Scenario, heavy_load, slow_service};
use crate::{
    check::Ending,
    counters::Counter,
    label::Labeller,
    report::Order,
    stage::{PATIENCE, Stage},
    tmux::Tmux,
};

pub const SCENARIO: Scenario = Scenario {
    name: "live_dashboard",
    about: "the dashboard shows the first fault line in every view and size, and gives the terminal back",
    play,
};

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (200, 50);
const FIRST: &str = "accept_queue_overflow broke first";
/// The head of the board's table.
const BOARD: &str = "fault line  ";
/// Key, and words that its view has on a small screen as well.
const VIEWS: [(&str, &[&str]); 6] = [
    ("2", &["─ Load over time", "conn/s"]),
    ("3", &["─ In use", "half open"]),
    ("4", &["─ What led to what"]),
    ("5", &["─ What happened", "HIT accept_queue_overflow"]),
    ("6", &["─ accept_queue_overflow", "HIT"]),
    ("7", &["─ Episodes"]),
];
/// The same of the first view.
const OVERVIEW: [&str; 5] = [BOARD, "FIRST", "accept_queue_overflow", "HIT", "packet_loss"];

fn play(stage: &Stage) -> Result<Ending> {
    let Some(observer) = stage.observer() else {
        return Ok(Ending::Skip("needs an observer".into()));
    };
    if Command::new("tmux").arg("-V").output().is_err() {
        return Ok(Ending::Skip("tmux is not installed".into()));
    }
    watched_fault(stage, observer)?;
    for ending in [End::Key, End::Signal(Signal::SIGTERM), End::CtrlC] {
        gives_back(stage, observer, ending).with_context(|| format!("ended by {ending:?}"))?;
    }
    Ok(Ending::Ok)
}

/// A fault, seen in every view.
fn watched_fault(stage: &Stage, observer: &Path) -> Result<()> {
    let mut service = stage.serve("service", slow_service())?;
    let labeller = Labeller::start(service.pid)?;
    let recording = stage.folder().join("live.observer");
    let command = format!("exec {} live --target :8080 --record {}", observer.display(), recording.display());
    let tmux = Tmux::start(&folder(stage, "views")?, LARGE, &command)?;
    tmux.wait_for(&["Nothing broke so far", "the test began"])?;
    let mut load = stage.prepare("load", &heavy_load(&service))?;
    labeller.wait_for(Counter::ListenOverflows, PLENTY, PATIENCE)?;
    tmux.wait_for(&[FIRST])?;
    for size in [LARGE, SMALL] {
        tmux.resize(size)?;
        for (key, words) in VIEWS {
            tmux.press(&[key])?;
            // On a large screen the board stays beside it.
            let without: &[&str] = if size == SMALL { &[BOARD] } else { &[] };
            let screen = tmux.wait_for_and_without(words, without)?;
            // The verdict is in sight whatever else is looked at.
            ensure!(screen.contains(FIRST), "view {key} at {size:?} hides the verdict:\n{screen}");
            look(&format!("view {key} at {size:?}"), &screen);
        }
        tmux.press(&["1"])?;
        look(&format!("overview at {size:?}"), &tmux.wait_for(&OVERVIEW)?);
        tmux.press(&["?"])?;
        look("help", &tmux.wait_for(&["─ Keys"])?);
        tmux.press(&["Escape"])?;
        tmux.wait_for_and_without(&[FIRST], &["─ Keys"])?;
    }
    load.order(Order::Relent)?;
    service.relent()?;
    tmux.press(&["m"])?;
    tmux.wait_for(&["phase"])?;
    tmux.press(&["s", "o", "a", "k", "Enter"])?;
    tmux.press(&["5"])?;
    tmux.wait_for(&["soak"])?;
    tmux.press(&["e"])?;
    tmux.press(&["7"])?;
    look("episodes", &tmux.wait_for(&["─ Episodes", "accept_queue_overflow"])?);
    let saved = stage.folder().join("kept.observer");
    tmux.press(&["s"])?;
    tmux.wait_for(&["file"])?;
    tmux.press(&["-l", &saved.to_string_lossy()])?;
    tmux.press(&["Enter"])?;
    tmux.wait_for(&["saved "])?;
    says_the_same(observer, &saved).context("what was saved of the latest minutes")?;
    tmux.press(&["q"])?;
    wait_for_end(&tmux)?;
    says_the_same(observer, &recording).context("what was recorded")
}

fn says_the_same(observer: &Path, recording: &Path) -> Result<()> {
    let report = Command::new(observer).arg("report").arg(recording).output()?;
    let (said, complaint) =
        (String::from_utf8_lossy(&report.stdout), String::from_utf8_lossy(&report.stderr));
    ensure!(said.contains(FIRST) && said.contains("soak"), "it says otherwise:\n{said}{complaint}");
    Ok(())
}

/// How the dashboard is ended.
#[derive(Clone, Copy, Debug)]
enum End {
    Key,
    Signal(Signal),
    CtrlC,
}

/// The terminal is as it was, and the shell in it goes on.
fn gives_back(stage: &Stage, observer: &Path, ending: End) -> Result<()> {
    let folder = folder(stage, &format!("{ending:?}").replace(['(', ')'], "-"))?;
    let (before, after) = (folder.join("before"), folder.join("after"));
    let pid = folder.join("pid");
    let shell = format!(
        "stty -a > {before}; echo ready; sh -c 'echo $$ > {pid}; exec {observer} live'; \
         echo ended with $?; stty -a > {after}; sleep 1000",
        before = before.display(),
        after = after.display(),
        pid = pid.display(),
        observer = observer.display(),
    );
    let tmux = Tmux::start(&folder, SMALL, &shell)?;
    tmux.wait_for(&["Nothing broke so far"])?;
    match ending {
        End::Key => tmux.press(&["q"])?,
        End::CtrlC => tmux.press(&["C-c"])?,
        End::Signal(signal) => {
            let pid: i32 = fs::read_to_string(&pid)?.trim().parse()?;
            kill(Pid::from_raw(pid), signal)?;
        }
    }
    let screen = tmux.wait_for(&["ended with 0"])?;
    ensure!(!screen.contains("Nothing broke so far"), "the dashboard is still there:\n{screen}");
    let read = |path: &Path| fs::read_to_string(path).with_context(|| path.display().to_string());
    ensure!(read(&before)? == read(&after)?, "the terminal's settings are not what they were");
    Ok(())
}

fn folder(stage: &Stage, name: &str) -> Result<std::path::PathBuf> {
    let folder = stage.folder().join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn wait_for_end(tmux: &Tmux) -> Result<()> {
    let pid = tmux.pid()?;
    for _ in 0..PATIENCE.as_millis() / 100 {
        // A zombie has no memory map.
        if fs::read(format!("/proc/{pid}/maps")).map_or(true, |maps| maps.is_empty()) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    bail!("the dashboard does not end when it is asked to:\n{}", tmux.screen()?)
}

/// For whoever reads the lab's output.
fn look(what: &str, screen: &str) {
    println!("  {what}");
    screen.lines().for_each(|line| println!("  │{}", line.trim_end()));
}

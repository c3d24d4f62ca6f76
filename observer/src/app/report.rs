//! `observer report`: a recording, judged again; or two, compared.

use std::path::Path;

use anyhow::{Result, bail};

use super::{
    output::{Output, is_same_file},
    say,
};
use crate::{
    cli::ReportArgs,
    core::{
        compare::{Judged, compare},
        engine::Engine,
        frame::Frame,
        history::History,
        snapshot::Snapshot,
        verdict::Verdict,
    },
    recording::Reader,
    sinks::report::{render_comparison, render_course},
};

pub(super) fn report(args: &ReportArgs) -> Result<()> {
    for recording in [Some(&args.file), args.against.as_ref()].into_iter().flatten() {
        // A report written over its recording would be the end of both.
        if args.output.as_ref().is_some_and(|output| is_same_file(output, recording)) {
            bail!("{}: is the recording itself; name another file", recording.display());
        }
    }
    let (verdict, history) = judge(&args.file)?;
    let before = args.against.as_deref().map(judge).transpose()?;
    let mut output = args.output.as_deref().map_or(Ok(Output::Stdout), Output::open)?;
    let text = match (&before, &args.against) {
        (Some((before, _)), Some(file)) => {
            let (before_name, after_name) = (file.display().to_string(), args.file.display().to_string());
            let comparison = compare(
                Judged { recording: &before_name, verdict: before },
                Judged { recording: &after_name, verdict: &verdict },
            );
            render_comparison(&comparison, args.format, output.style())
        }
        _ => render_course(&verdict, &history, args.format, output.style()),
    };
    output.write(&text)
}

/// Judges a recording, keeps its course, and says where it is not whole.
fn judge(file: &Path) -> Result<(Verdict, History)> {
    let reader = Reader::open(file)?;
    let mut replay = Replay::of(&reader);
    let damage = reader.frames().try_for_each(|frame| frame.map(|frame| replay.step(&frame))).err();
    let (name, frames) = (file.display(), replay.frames);
    match damage {
        Some(error) if frames == 0 => return Err(error.into()),
        Some(error) => say(format_args!("{error}; judged on the {frames} frames before it")),
        None if frames == 0 => bail!("{name}: nothing was recorded"),
        None => {}
    }
    say_what_is_missing(file, &reader, frames);
    if replay.episodes > 1 {
        say(format_args!(
            "{}: {} episodes; this is the last one (`observer replay` shows the others)",
            file.display(),
            replay.episodes
        ));
    }
    let cost = reader.recorded_verdict().ok().flatten().and_then(|verdict| verdict.coverage.observer);
    replay.history.enter(&Snapshot::of(&replay.engine));
    Ok((replay.engine.verdict(cost), replay.history))
}

/// Tells the user what a recording lacks.
pub(super) fn say_what_is_missing(file: &Path, reader: &Reader, frames: u64) {
    let name = file.display();
    if let Ok(lost @ 1..) = reader.frames_lost() {
        say(format_args!(
            "{name}: {lost} frames of this run were not recorded; the verdict may differ from the live one"
        ));
    } else if !reader.is_finished().unwrap_or(true) {
        say(format_args!("{name}: the recording was not finished; judged on the {frames} frames it holds"));
    }
}

/// What the frames of a recording amount to.
struct Replay {
    engine: Engine,
    history: History,
    frames: u64,
    episodes: u64,
    /// The latest frame, on CLOCK_MONOTONIC.
    last_ns: u64,
}

impl Replay {
    fn of(reader: &Reader) -> Self {
        let engine = Engine::new(reader.header().clone());
        Self { engine, history: History::default(), frames: 0, episodes: 0, last_ns: 0 }
    }

    /// A step of the history is entered at its end: what a snapshot tells has happened before it.
    fn step(&mut self, frame: &Frame) {
        if self.frames > 0 && ends_step(&self.history, self.last_ns, frame.mono_ns) {
            self.history.enter(&Snapshot::of(&self.engine));
        }
        if frame.begins() {
            self.episodes += 1;
            // What is told is the episode's own.
            if self.episodes > 1 {
                self.history = History::default();
            }
        }
        self.engine.step(frame);
        (self.frames, self.last_ns) = (self.frames + 1, frame.mono_ns);
    }
}

/// Whether a step ends between two frames. The first frame is where steps are counted from, so it is entered
/// at once.
fn ends_step(history: &History, last_ns: u64, next_ns: u64) -> bool {
    history.start_ns().is_none_or(|start_ns| {
        let step_of = |at_ns: u64| at_ns.saturating_sub(start_ns) / history.step_ns();
        step_of(last_ns) != step_of(next_ns)
    })
}

//! Dashboards to look at and to test with, made of golden recordings.

use std::{path::Path, sync::Arc, time::Duration};

use ratatui::{Terminal, backend::TestBackend};

use crate::{
    core::{engine::Engine, event::Event, history::History, snapshot::Snapshot, verdict::Verdict},
    recording::Reader,
    tui::{
        feed::{Anew, Feed, Kept, Player, Scene},
        model::{Input, Mode, Model, Options},
        panels,
    },
};

/// Descriptors run out, and with them the accept queue overflows.
pub(in crate::tui) const CASCADE: &str = "trampoline_cascade_fd_accept";
/// A scene comes with every so many frames.
const FRAMES: u64 = 3;

/// A dashboard that has seen nothing yet.
pub(in crate::tui) fn empty(mode: Mode, size: (u16, u16)) -> Model {
    let mut model = Model::new(Options { title: ":8080".into(), monochrome: true, mode });
    model.update(Input::Resize(size.0, size.1));
    model
}

/// A golden recording as `live` saw it, up to this many frames.
pub(in crate::tui) fn live(name: &str, frames: usize, size: (u16, u16)) -> Model {
    let mut model = empty(Mode::Live, size);
    for feed in feeds(name, frames).0 {
        model.update(Input::Feed(feed));
    }
    model
}

/// A golden recording in the player, after this many frames.
pub(in crate::tui) fn replay(name: &str, frames: usize, size: (u16, u16)) -> Model {
    let mut model = empty(Mode::Replay, size);
    let (feeds, (from_ns, to_ns), whole) = feeds(name, frames);
    let (mut events, mut last) = (Vec::new(), None);
    for feed in feeds {
        let Feed::Scene(mut scene) = feed else { continue };
        events.append(&mut scene.events);
        last = Some(scene);
    }
    let mut scene = last.unwrap();
    scene.events = events;
    scene.kept = None;
    scene.player = Some(Player { from_ns, to_ns, speed: 1.0, playing: false, same_verdict: Some(false) });
    let episodes = vec![Arc::new(whole)];
    let anew = Anew { scene: *scene, episodes, in_episode: true };
    model.update(Input::Feed(Feed::Anew(Box::new(anew))));
    model
}

/// What a caller would tell of a golden recording, when it begins and ends, and the verdict on all of it.
pub(in crate::tui) fn feeds(name: &str, frames: usize) -> (Vec<Feed>, (u64, u64), Verdict) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let reader = Reader::open(&golden.join(name).join("run.observer")).unwrap();
    let mut engine = Engine::new(reader.header().clone());
    let (mut feeds, mut events, mut span) = (Vec::new(), Vec::new(), None);
    let mut history = History::default();
    for (at, frame) in reader.frames().enumerate() {
        let frame = frame.unwrap();
        let update = engine.step(&frame);
        let (from_ns, _) = span.unwrap_or((frame.mono_ns, 0));
        span = Some((from_ns, frame.mono_ns));
        if at > frames {
            continue;
        }
        events.extend(Event::of(&frame, &update, &engine));
        if frame.seq % FRAMES == 0 || !update.onsets.is_empty() || at == frames {
            let snapshot = Snapshot::of(&engine);
            history.enter(&snapshot);
            feeds.push(Feed::Scene(Box::new(Scene {
                snapshot,
                verdict: Arc::new(engine.verdict(None)),
                history: Arc::new(history.clone()),
                events: std::mem::take(&mut events),
                events_forgotten: 0,
                kept: Some(Kept { held: Duration::from_secs(754), goes_on: true, trouble: None }),
                player: None,
            })));
        }
    }
    (feeds, span.unwrap(), engine.verdict(None))
}

/// What is on the screen.
pub(in crate::tui) fn picture(model: &Model) -> String {
    let (columns, rows) = model.size;
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| panels::draw(frame, model)).unwrap();
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for row in 0..rows {
        let mut line = String::new();
        let mut hidden = 0_usize;
        for column in 0..columns {
            let symbol = buffer[(column, row)].symbol();
            // A wide letter covers the cell after it.
            if hidden == 0 {
                line += symbol;
            }
            hidden = hidden.max(crate::tui::text::columns(symbol)).saturating_sub(1);
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// An episode under way after two that are over.
pub(in crate::tui) fn episodes(size: (u16, u16)) -> Model {
    use crate::sinks::report::sample;
    let mut model = live(CASCADE, usize::MAX, size);
    let picture = model.picture();
    let scene = Scene {
        snapshot: picture.snapshot.clone().unwrap(),
        verdict: picture.verdict.clone().unwrap(),
        history: Arc::clone(&picture.history),
        events: Vec::new(),
        events_forgotten: 0,
        kept: model.kept.clone(),
        player: None,
    };
    // As they would be: of the same host, and seen by the same means.
    let here = |mut verdict: Verdict| {
        verdict.coverage.clone_from(&scene.verdict.coverage);
        let now = &scene.verdict.run;
        (verdict.run.host, verdict.run.kernel) = (now.host.clone(), now.kernel.clone());
        verdict.run.command.clone_from(&now.command);
        Arc::new(verdict)
    };
    let episodes = vec![here(sample::clear()), here(sample::hit())];
    let anew = Anew { scene, episodes, in_episode: true };
    model.update(Input::Feed(Feed::Anew(Box::new(anew))));
    model
}

/// The same without a disk to keep it on.
pub(in crate::tui) fn not_kept(size: (u16, u16)) -> Model {
    let mut model = live(CASCADE, usize::MAX, size);
    let why = "/var/tmp/observer-ring-4711-0/segment-3: the disk is full; what was recorded before is intact: free \
               some space or record elsewhere";
    let held = Duration::from_secs(754);
    model.kept = Some(Kept { held, goes_on: false, trouble: Some(why.to_owned()) });
    model
}

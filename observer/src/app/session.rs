//! What `live` and `serve` watch: an observation with one episode after the other, and the scenes it makes for
//! whoever looks on.

use std::{collections::VecDeque, path::Path, sync::Arc};

use super::{
    clock::mono_ns,
    observation::{Observation, own_cost},
};
use crate::{
    core::{
        episode::{Boundary, Episodes},
        event::Event,
        frame::Mark,
        history::History,
        snapshot::Snapshot,
        verdict::Verdict,
    },
    recording::{Recorded, Saving},
    tui::feed::{Anew, Feed, Scene},
};

/// How often a scene is made, when nothing happens that has to be seen at once.
const SCENE_NS: u64 = 240_000_000;
/// How often the verdict is made anew, when nothing was hit.
const VERDICT_NS: u64 = 960_000_000;
/// What is watched before the first episode.
const PRE_ROLL_NS: u64 = 2_000_000_000;
/// As many events are kept for who comes later.
const LOG: usize = 1_000;
/// As many episodes are remembered.
const REMEMBERED: usize = 50;

/// An observation in episodes.
pub(super) struct Session {
    observation: Observation,
    episodes: Episodes,
    over: Vec<Arc<Verdict>>,
    verdict: Arc<Verdict>,
    history: Arc<History>,
    log: VecDeque<Event>,
    /// Events that are in the log no more.
    forgotten: u64,
    fresh: Vec<Event>,
    began_ns: u64,
    verdict_ns: u64,
    scene_ns: u64,
    started: bool,
    /// Whether the latest of those that are over is the engine's still.
    closed: bool,
}

impl Session {
    /// A session that begins now, with the pre-roll.
    pub(super) fn new(observation: Observation) -> Self {
        let verdict = Arc::new(observation.engine().verdict(None));
        Self {
            observation,
            episodes: Episodes::default(),
            over: Vec::new(),
            verdict,
            history: Arc::default(),
            log: VecDeque::new(),
            forgotten: 0,
            fresh: Vec::new(),
            began_ns: mono_ns(),
            verdict_ns: 0,
            scene_ns: 0,
            started: false,
            closed: false,
        }
    }

    /// Looks, and tells what is to be seen of it.
    pub(super) fn tick(&mut self, marks: Vec<Mark>) -> Option<Feed> {
        let now_ns = mono_ns();
        if !self.started && now_ns.saturating_sub(self.began_ns) >= PRE_ROLL_NS {
            return Some(self.begin(marks));
        }
        // Who names a phase begins a test, when none is under way.
        if self.started && !self.episodes.is_under_way() && marks.iter().any(is_phase) {
            return Some(self.begin(marks));
        }
        let hit = self.look(marks);
        if !hit && now_ns.saturating_sub(self.scene_ns) < SCENE_NS {
            return None;
        }
        if hit || now_ns.saturating_sub(self.verdict_ns) >= VERDICT_NS {
            self.judge(now_ns);
        }
        let scene = self.scene(now_ns);
        match self.started.then(|| self.episodes.observe(now_ns, &scene.snapshot.load)).flatten() {
            None => Some(Feed::Scene(Box::new(scene))),
            Some(Boundary::Begins) => Some(self.begin(Vec::new())),
            Some(Boundary::Ended { at_ns }) => Some(self.close(at_ns)),
        }
    }

    /// An episode begins.
    pub(super) fn begin(&mut self, mut marks: Vec<Mark>) -> Feed {
        // The last look before it, so that what follows is the episode's.
        self.look(Vec::new());
        self.remember();
        self.closed = false;
        let at_ns = mono_ns();
        marks.insert(0, Mark::CommandStarted { at_ns, pid: None });
        self.started = true;
        self.episodes.begin();
        self.history = Arc::default();
        self.look(marks);
        self.judge(at_ns);
        self.anew(at_ns)
    }

    /// The episode ends, when one is under way.
    pub(super) fn end_episode(&mut self) -> Option<Feed> {
        self.episodes.is_under_way().then(|| {
            self.episodes.end();
            self.close(mono_ns())
        })
    }

    fn close(&mut self, at_ns: u64) -> Feed {
        self.look(vec![Mark::CommandEnded { at_ns, exit_status: None }]);
        let now_ns = mono_ns();
        self.judge(now_ns);
        self.remember();
        self.closed = true;
        self.anew(now_ns)
    }

    /// Keeps the verdict on the episode that is over, or about to be. What came after the end of one that was
    /// closed, an OOM kill, still belongs to it.
    fn remember(&mut self) {
        if !self.started {
            return;
        }
        let verdict = Arc::new(self.observation.engine().verdict(own_cost()));
        match self.over.last_mut().filter(|_| self.closed) {
            Some(latest) => *latest = verdict,
            None => self.over.push(verdict),
        }
        if self.over.len() > REMEMBERED {
            self.over.remove(0);
        }
    }

    /// Saves what was kept of the latest minutes; `None` where nothing is kept.
    pub(super) fn save(&self, path: &Path) -> Option<Saving> {
        self.observation.save(path)
    }

    /// Looks a last time and closes everything.
    pub(super) fn finish(self) -> (Verdict, Option<Recorded>) {
        self.observation.end()
    }

    /// Returns whether a fault line was hit.
    fn look(&mut self, marks: Vec<Mark>) -> bool {
        let happened = self.observation.tick(marks);
        let hit = happened.iter().any(Event::is_onset);
        self.log.extend(happened.iter().cloned());
        let excess = self.log.len().saturating_sub(LOG);
        self.log.drain(..excess);
        self.forgotten += excess as u64;
        self.fresh.extend(happened);
        hit
    }

    fn judge(&mut self, now_ns: u64) {
        self.verdict = Arc::new(self.observation.engine().verdict(own_cost()));
        self.verdict_ns = now_ns;
    }

    fn scene(&mut self, now_ns: u64) -> Scene {
        self.scene_ns = now_ns;
        let snapshot = Snapshot::of(self.observation.engine());
        Arc::make_mut(&mut self.history).enter(&snapshot);
        Scene {
            snapshot,
            verdict: Arc::clone(&self.verdict),
            history: Arc::clone(&self.history),
            events: std::mem::take(&mut self.fresh),
            events_forgotten: 0,
            kept: self.observation.kept(),
            player: None,
        }
    }

    fn anew(&mut self, now_ns: u64) -> Feed {
        let mut scene = self.scene(now_ns);
        scene.events = self.log.iter().cloned().collect();
        scene.events_forgotten = self.forgotten;
        Feed::Anew(Box::new(Anew {
            scene,
            episodes: self.over.clone(),
            in_episode: self.episodes.is_under_way(),
        }))
    }
}

fn is_phase(mark: &Mark) -> bool {
    matches!(mark, Mark::Phase { .. })
}

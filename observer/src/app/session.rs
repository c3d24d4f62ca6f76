//! What `live` and `serve` watch: an observation with one episode after the other, and the scenes it makes for
//! whoever looks on.

use std::{collections::VecDeque, path::Path, sync::Arc};

use super::{
    clock::mono_ns,
    judge::{Audience, Judge},
    observation::{Observation, own_cost},
};
use crate::{
    core::{
        engine::Engine,
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

/// What the load of a look is the mean of.
const LOAD_NS: u64 = 1_000_000_000;
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
    judge: Judge,
    history: Arc<History>,
    log: VecDeque<Event>,
    /// Events that are in the log no more.
    forgotten: u64,
    fresh: Vec<Event>,
    began_ns: u64,
    started: bool,
    /// Whether someone has named a phase.
    announced: bool,
    /// Whether the latest of those that are over is the engine's still.
    closed: bool,
}

impl Session {
    /// A session that begins now, with the pre-roll.
    pub(super) fn new(observation: Observation, audience: Audience) -> Self {
        let judge = Judge::new(observation.engine(), audience);
        Self {
            observation,
            episodes: Episodes::default(),
            over: Vec::new(),
            judge,
            history: Arc::default(),
            log: VecDeque::new(),
            forgotten: 0,
            fresh: Vec::new(),
            began_ns: mono_ns(),
            started: false,
            announced: false,
            closed: false,
        }
    }

    /// Looks, and tells what is to be seen of it.
    pub(super) fn tick(&mut self, marks: Vec<Mark>) -> Option<Feed> {
        let now_ns = mono_ns();
        // Who names a phase begins a test, when none is under way.
        let announced = marks.iter().any(is_phase);
        self.announced |= announced;
        if !self.started && now_ns.saturating_sub(self.began_ns) >= PRE_ROLL_NS {
            return Some(self.begin(now_ns, marks));
        }
        if self.started && announced && self.episodes.is_open(now_ns) {
            return Some(self.begin(now_ns, marks));
        }
        if announced {
            self.episodes.announce();
        }
        if marks.is_empty() && !self.observation.allows_look() {
            return None;
        }
        let hit = self.look(marks);
        if !self.judge.is_time(now_ns, hit, self.observation.engine()) {
            return None;
        }
        let scene = self.scene();
        match self.started.then(|| self.episodes.observe(now_ns, &scene.snapshot.load)).flatten() {
            None => Some(Feed::Scene(Box::new(scene))),
            // The load is the last second's, and was too little when it was last shown: it began no earlier.
            Some(Boundary::Begins) => {
                let earliest_ns = now_ns.saturating_sub(LOAD_NS + self.judge.show_ns());
                Some(self.begin(earliest_ns, Vec::new()))
            }
            Some(Boundary::Ended { at_ns }) => Some(self.close(at_ns)),
        }
    }

    /// An episode begins because someone says so.
    pub(super) fn begin_episode(&mut self) -> Feed {
        self.begin(mono_ns(), Vec::new())
    }

    /// An episode began at this instant.
    fn begin(&mut self, at_ns: u64, mut marks: Vec<Mark>) -> Feed {
        // The last look before it, so that what follows is the episode's and nothing of it the former one's.
        let is_under_way = self.started && !self.closed;
        let former = is_under_way.then_some(Mark::CommandEnded { at_ns, exit_status: None });
        self.look_everywhere(former.into_iter().collect());
        self.remember();
        self.closed = false;
        let by_itself = !self.started && !self.announced;
        marks.insert(0, Mark::CommandStarted { at_ns, pid: None });
        self.started = true;
        if by_itself {
            self.episodes.begin_waiting(at_ns);
        } else {
            self.episodes.begin();
        }
        self.history = Arc::default();
        self.look(marks);
        self.judge.judge(self.observation.engine());
        self.anew()
    }

    /// The episode ends, when one is under way.
    pub(super) fn end_episode(&mut self) -> Option<Feed> {
        self.episodes.is_under_way().then(|| {
            self.episodes.end();
            self.close(mono_ns())
        })
    }

    fn close(&mut self, at_ns: u64) -> Feed {
        self.look_everywhere(vec![Mark::CommandEnded { at_ns, exit_status: None }]);
        self.judge.judge(self.observation.engine());
        self.remember();
        self.closed = true;
        self.anew()
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

    /// The engine that judges it.
    pub(super) fn engine(&self) -> &Engine {
        self.observation.engine()
    }

    /// Saves what was kept of the latest minutes; `None` where nothing is kept.
    pub(super) fn save(&mut self, path: &Path) -> Option<Saving> {
        self.observation.save(path)
    }

    /// Looks a last time and closes everything.
    pub(super) fn finish(self) -> (Verdict, Option<Recorded>) {
        self.observation.end()
    }

    /// Returns whether a fault line was hit.
    fn look(&mut self, marks: Vec<Mark>) -> bool {
        let happened = self.observation.tick(marks);
        self.take_in(happened)
    }

    /// The same, with what is due later: an episode begins or ends.
    fn look_everywhere(&mut self, marks: Vec<Mark>) -> bool {
        let happened = self.observation.look_everywhere(marks);
        self.take_in(happened)
    }

    fn take_in(&mut self, happened: Vec<Event>) -> bool {
        let hit = happened.iter().any(Event::is_onset);
        self.log.extend(happened.iter().cloned());
        let excess = self.log.len().saturating_sub(LOG);
        self.log.drain(..excess);
        self.forgotten += excess as u64;
        self.fresh.extend(happened);
        hit
    }

    fn scene(&mut self) -> Scene {
        let snapshot = Snapshot::of(self.observation.engine());
        Arc::make_mut(&mut self.history).enter(&snapshot);
        if let Some(exposed) = self.observation.exposed() {
            let (engine, in_episode) = (self.observation.engine(), self.episodes.is_under_way());
            exposed.show(engine, snapshot.clone(), self.judge.verdict(), in_episode);
        }
        Scene {
            snapshot,
            verdict: self.judge.verdict(),
            history: Arc::clone(&self.history),
            events: std::mem::take(&mut self.fresh),
            events_forgotten: 0,
            kept: self.observation.kept(),
            player: None,
        }
    }

    fn anew(&mut self) -> Feed {
        let mut scene = self.scene();
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

//! `observer replay`: the dashboard over a recording, judged again from its raw frames.

use std::{
    iter::Peekable,
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};

use super::{live::show, say};
use crate::{
    cli::ReplayArgs,
    core::{
        engine::Engine,
        event::{Event, What},
        frame::{Frame, Mark},
        history::History,
        snapshot::Snapshot,
        verdict::{Hit, Verdict},
    },
    recording::Reader,
    tui::{
        self,
        feed::{Anew, Feed, Player, Request, Scene},
    },
};

/// A scene is shown this often while playing.
const SCENE: Duration = Duration::from_millis(100);
/// The verdict is made anew this often, when nothing was hit.
const VERDICT: Duration = Duration::from_millis(500);
/// Paused, only a request goes on.
const FOREVER: Duration = Duration::from_secs(3_600);
/// The history is entered this often, as a live one is.
const HISTORY_NS: u64 = 250_000_000;

pub(super) fn replay(args: &ReplayArgs) -> Result<()> {
    let (feed, feeds) = channel();
    let (requests, asked) = channel();
    let (ready, is_ready) = channel();
    let path = args.file.clone();
    let player = thread::Builder::new()
        .name("player".into())
        .spawn(move || -> Result<()> {
            let tape = Tape::load(&path)?;
            let _ = ready.send(tape.damage.clone());
            Deck::new(&tape).play(&feed, &asked);
            Ok(())
        })
        .context("cannot start the thread that plays")?;
    let options = tui::Options {
        title: args.file.display().to_string(),
        monochrome: args.monochrome,
        mode: tui::Mode::Replay,
    };
    let shown = match is_ready.recv() {
        Ok(damage) => {
            if let Some(damage) = damage {
                say(format_args!("{damage}"));
            }
            show(feeds, move |request| drop(requests.send(request)), options)
        }
        Err(_) => Ok(()),
    };
    player.join().map_err(|_| anyhow!("the thread that plays panicked"))??;
    shown
}

/// A recording, read once: where its frames are in time, and what it comes to.
struct Tape {
    reader: Reader,
    from_ns: u64,
    to_ns: u64,
    same_verdict: Option<bool>,
    /// What is wrong with it, where something is.
    damage: Option<String>,
}

impl Tape {
    fn load(path: &Path) -> Result<Self> {
        let reader = Reader::open(path)?;
        let mut engine = Engine::new(reader.header().clone());
        let (mut from_ns, mut to_ns, mut damage) = (None, 0, None);
        for frame in reader.frames() {
            match frame {
                Ok(frame) => {
                    from_ns.get_or_insert(frame.mono_ns);
                    to_ns = frame.mono_ns;
                    engine.step(&frame);
                }
                Err(error) if from_ns.is_none() => return Err(error.into()),
                Err(error) => damage = Some(format!("{error}; what came before it can be played")),
            }
        }
        let Some(from_ns) = from_ns else { bail!("{}: nothing was recorded", path.display()) };
        let recorded = reader.recorded_verdict().ok().flatten();
        let same_verdict = recorded.map(|recorded| judgement(&recorded) == judgement(&engine.verdict(None)));
        Ok(Self { reader, from_ns, to_ns, same_verdict, damage })
    }

    /// The frames, from the first to the last whole one.
    fn frames(&self) -> Frames<'_> {
        let frames: Box<dyn Iterator<Item = Frame>> = Box::new(self.reader.frames().map_while(Result::ok));
        frames.peekable()
    }
}

/// What was judged, whatever the words: the outcome, and what was hit where and when and because of what.
fn judgement(verdict: &Verdict) -> impl PartialEq + use<> {
    let of = |hits: &[Hit]| -> Vec<_> {
        let each =
            |it: &Hit| (it.fault_line.clone(), it.subject.clone(), it.onset.clone(), it.explained_by.clone());
        hits.iter().map(each).collect()
    };
    let first = verdict.first.as_ref().map(|first| (first.fault_line.clone(), first.subject.clone()));
    (verdict.outcome, first, of(&verdict.hits), of(&verdict.elsewhere), of(&verdict.pre_existing))
}

/// Plays a tape.
struct Deck<'a> {
    tape: &'a Tape,
    engine: Engine,
    frames: Frames<'a>,
    history: History,
    history_ns: u64,
    log: Vec<Event>,
    fresh: Vec<Event>,
    episodes: Vec<Arc<Verdict>>,
    verdict: Arc<Verdict>,
    judged: Instant,
    at_ns: u64,
    playing: bool,
    speed: f64,
    /// When and where it began to play.
    anchor: (Instant, u64),
}

type Frames<'a> = Peekable<Box<dyn Iterator<Item = Frame> + 'a>>;

impl<'a> Deck<'a> {
    /// At the beginning of a tape, and playing.
    fn new(tape: &'a Tape) -> Self {
        let engine = Engine::new(tape.reader.header().clone());
        let verdict = Arc::new(engine.verdict(None));
        let now = Instant::now();
        Self {
            tape,
            engine,
            frames: tape.frames(),
            history: History::default(),
            history_ns: 0,
            log: Vec::new(),
            fresh: Vec::new(),
            episodes: Vec::new(),
            verdict,
            judged: now,
            at_ns: tape.from_ns,
            playing: true,
            speed: 1.0,
            anchor: (now, tape.from_ns),
        }
    }

    /// Plays, and does what is asked for, until nobody asks any more.
    fn play(mut self, feed: &Sender<Feed>, asked: &Receiver<Request>) {
        let mut seen = self.seek(self.tape.from_ns);
        // Nobody may be looking any more: then nobody asks either.
        while feed.send(seen).is_ok() {
            let wait = if self.playing { SCENE } else { FOREVER };
            seen = match asked.recv_timeout(wait) {
                Ok(Request::Quit) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(request) => self.obey(&request),
                Err(RecvTimeoutError::Timeout) => self.go_on(),
            };
        }
    }

    fn obey(&mut self, request: &Request) -> Feed {
        match request {
            Request::Play(playing) => {
                self.playing = *playing;
                // At the end there is nothing to play: from the beginning, then.
                if self.playing && self.at_ns >= self.tape.to_ns {
                    return self.seek(self.tape.from_ns);
                }
            }
            Request::Speed(speed) => self.speed = *speed,
            Request::Step(forwards) => {
                self.playing = false;
                let next_ns = self.frames.peek().map_or(self.at_ns, |frame| frame.mono_ns);
                return if *forwards { self.on_to(next_ns) } else { self.seek(self.at_ns.saturating_sub(1)) };
            }
            Request::Seek { at_ns } => return self.seek(*at_ns),
            Request::Skip { forwards, by } => {
                let by_ns = by.as_nanos() as u64;
                let at_ns = if *forwards { self.at_ns + by_ns } else { self.at_ns.saturating_sub(by_ns) };
                return self.seek(at_ns);
            }
            // What has happened cannot be marked, and is kept already.
            Request::Mark(_)
            | Request::BeginEpisode
            | Request::EndEpisode
            | Request::Save(_)
            | Request::Quit => {
                return Feed::Notice("this is a recording: it can be looked at, not changed".to_owned());
            }
        }
        self.anchor = (Instant::now(), self.at_ns);
        Feed::Scene(Box::new(self.scene()))
    }

    /// As far as the clock says.
    fn go_on(&mut self) -> Feed {
        let (since, from_ns) = self.anchor;
        let played_ns = since.elapsed().as_nanos() as f64 * self.speed;
        let at_ns = from_ns + played_ns as u64;
        self.playing = at_ns < self.tape.to_ns;
        self.on_to(at_ns)
    }

    /// To an instant, from the beginning if it lies behind.
    fn seek(&mut self, at_ns: u64) -> Feed {
        let at_ns = at_ns.clamp(self.tape.from_ns, self.tape.to_ns);
        if at_ns < self.at_ns {
            let Self { playing, speed, .. } = *self;
            *self = Self { playing, speed, ..Self::new(self.tape) };
        }
        self.advance(at_ns);
        self.anchor = (Instant::now(), self.at_ns);
        self.verdict = Arc::new(self.engine.verdict(None));
        self.anew()
    }

    fn on_to(&mut self, at_ns: u64) -> Feed {
        let (renewed, hit) = self.advance(at_ns.min(self.tape.to_ns));
        if renewed || hit || self.judged.elapsed() >= VERDICT || self.at_ns >= self.tape.to_ns {
            self.verdict = Arc::new(self.engine.verdict(None));
            self.judged = Instant::now();
        }
        if renewed { self.anew() } else { Feed::Scene(Box::new(self.scene())) }
    }

    /// Returns whether an episode began or ended, and whether a fault line was hit.
    fn advance(&mut self, at_ns: u64) -> (bool, bool) {
        let (mut renewed, mut hit) = (false, false);
        while let Some(frame) = self.frames.next_if(|frame| frame.mono_ns <= at_ns) {
            renewed |= self.take_in(&frame);
            hit |= self.fresh.iter().any(|event| matches!(event.what, What::Onset { .. }));
        }
        self.at_ns = self.at_ns.max(at_ns);
        (renewed, hit)
    }

    fn take_in(&mut self, frame: &Frame) -> bool {
        let begins = frame.marks.iter().any(|mark| matches!(mark, Mark::CommandStarted { .. }));
        let ends = frame.marks.iter().any(|mark| matches!(mark, Mark::CommandEnded { .. }));
        if begins && self.engine.is_started() {
            self.episodes.push(Arc::new(self.engine.verdict(None)));
        }
        let update = self.engine.step(frame);
        self.fresh.extend(Event::of(frame, &update, &self.engine));
        if begins {
            self.history = History::default();
            self.history_ns = 0;
        }
        if frame.mono_ns.saturating_sub(self.history_ns) >= HISTORY_NS {
            self.history_ns = frame.mono_ns;
            self.history.enter(&Snapshot::of(&self.engine));
        }
        begins || ends
    }

    fn scene(&mut self) -> Scene {
        self.log.extend(self.fresh.iter().cloned());
        Scene {
            snapshot: Snapshot::of(&self.engine),
            verdict: Arc::clone(&self.verdict),
            events: std::mem::take(&mut self.fresh),
            player: Some(Player {
                from_ns: self.tape.from_ns,
                to_ns: self.tape.to_ns,
                speed: self.speed,
                playing: self.playing,
                same_verdict: self.tape.same_verdict,
            }),
        }
    }

    fn anew(&mut self) -> Feed {
        let mut scene = self.scene();
        scene.events.clone_from(&self.log);
        let in_episode = scene.snapshot.start_ns.is_some() && scene.snapshot.end_ns.is_none();
        Feed::Anew(Box::new(Anew {
            history: self.history.clone(),
            scene,
            episodes: self.episodes.clone(),
            in_episode,
        }))
    }
}

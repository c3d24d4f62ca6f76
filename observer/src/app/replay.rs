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

use super::{
    ending,
    live::show,
    say,
    signals::{self, Received},
};
use crate::{
    cli::ReplayArgs,
    core::{
        engine::Engine,
        event::Event,
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
use anyhow::{Context as _, Result, anyhow, bail};

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
    let over = feed.clone();
    // So that the terminal is given back.
    let tell = move |received: Received| {
        let _ = over.send(Feed::Over(Some(format!("ended by {}", received.signal))));
    };
    ending::insist_when_asked(signals::catch()?, tell).context("cannot wait for signals")?;
    let (ready, is_ready) = channel();
    let path = args.file.clone();
    let player = thread::Builder::new()
        .name("player".into())
        .spawn(move || -> Result<()> {
            let tape = Tape::load(&path)?;
            let _ = ready.send(tape.damage.clone());
            if let Some(damage) = &tape.damage {
                let _ = feed.send(Feed::Notice(damage.clone()));
            }
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
    /// What its episodes come to, the last one included.
    episodes: Vec<Arc<Verdict>>,
    /// What is wrong with it, where something is.
    damage: Option<String>,
}

impl Tape {
    fn load(path: &Path) -> Result<Self> {
        let reader = Reader::open(path)?;
        let mut engine = Engine::new(reader.header().clone());
        let (mut from_ns, mut to_ns, mut damage, mut episodes) = (None, 0, None, Vec::new());
        for frame in reader.frames() {
            match frame {
                Ok(frame) => {
                    from_ns.get_or_insert(frame.mono_ns);
                    to_ns = frame.mono_ns;
                    if frame.begins() && engine.is_started() {
                        episodes.push(Arc::new(engine.verdict(None)));
                    }
                    engine.step(&frame);
                }
                Err(error) if from_ns.is_none() => return Err(error.into()),
                Err(error) => damage = Some(format!("{error}; what came before it can be played")),
            }
        }
        let Some(from_ns) = from_ns else { bail!("{}: nothing was recorded", path.display()) };
        let recorded = reader.recorded_verdict().ok().flatten();
        let verdict = engine.verdict(None);
        let same_verdict = recorded.map(|recorded| judgement(&recorded) == judgement(&verdict));
        episodes.push(Arc::new(verdict));
        Ok(Self { reader, from_ns, to_ns, same_verdict, episodes, damage })
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
            hit |= self.fresh.iter().any(Event::is_onset);
        }
        self.at_ns = self.at_ns.max(at_ns);
        (renewed, hit)
    }

    fn take_in(&mut self, frame: &Frame) -> bool {
        let begins = frame.begins();
        let ends = frame.marks.iter().any(|mark| matches!(mark, Mark::CommandEnded { .. }));
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
        let snapshot = Snapshot::of(&self.engine);
        // Into what is shown alone: the deck's own is entered at the same frames however one came here.
        let mut history = self.history.clone();
        history.enter(&snapshot);
        Scene {
            snapshot,
            verdict: Arc::clone(&self.verdict),
            history: Arc::new(history),
            events: std::mem::take(&mut self.fresh),
            events_forgotten: 0,
            kept: None,
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
        Feed::Anew(Box::new(Anew { scene, episodes: self.tape.episodes.clone(), in_episode }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn tape() -> Tape {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
        Tape::load(&folder.join("trampoline_cascade_throttle_accept/run.observer")).unwrap()
    }

    fn anew(feed: Feed) -> Anew {
        match feed {
            Feed::Anew(anew) => *anew,
            other => panic!("{other:?}"),
        }
    }

    /// Everything of a picture that has to be the same, however one came to it.
    fn same(a: &Anew, b: &Anew) {
        assert_eq!(a.scene.snapshot, b.scene.snapshot);
        assert_eq!(*a.scene.verdict, *b.scene.verdict);
        assert_eq!(a.scene.events, b.scene.events);
        assert_eq!(a.scene.history.steps(), b.scene.history.steps());
    }

    #[test]
    fn wherever_one_comes_from_an_instant_looks_the_same() {
        let tape = tape();
        let (from_ns, length_ns) = (tape.from_ns, tape.to_ns - tape.from_ns);
        let mut wanderer = Deck::new(&tape);
        for share in [7, 2, 9, 9, 0, 5, 10, 3] {
            let at_ns = from_ns + length_ns * share / 10;
            same(&anew(wanderer.seek(at_ns)), &anew(Deck::new(&tape).seek(at_ns)));
        }
    }

    #[test]
    fn a_step_on_and_a_step_back_lead_to_the_same_frame() {
        let tape = tape();
        let mut deck = Deck::new(&tape);
        let here = anew(deck.seek(tape.from_ns + (tape.to_ns - tape.from_ns) / 2));
        deck.obey(&Request::Step(true));
        let back = anew(deck.obey(&Request::Step(false)));
        same(&here, &back);
        assert!(!deck.playing, "who steps does not want to be carried on");
    }

    #[test]
    fn at_the_end_stands_what_a_report_says() {
        let tape = tape();
        let mut deck = Deck::new(&tape);
        let end = anew(deck.seek(u64::MAX));
        assert_eq!(end.scene.verdict, tape.episodes[0]);
        assert_eq!(end.scene.verdict.outcome, crate::core::verdict::Outcome::Hit);
        // Playing from the end is playing from the beginning.
        let begun = anew(deck.obey(&Request::Play(true)));
        assert!(begun.scene.snapshot.at_ns < end.scene.snapshot.at_ns);
    }
}

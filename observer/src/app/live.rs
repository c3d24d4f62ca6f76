//! `observer live`: the dashboard over an observation that goes on in a thread of its own, so that a slow
//! terminal never delays a look.

use std::{
    io::{self, IsTerminal as _},
    path::Path,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{
    clock::mono_ns,
    courtesy::Courtesy,
    ending,
    exposed::{self, Exposed},
    judge::Audience,
    mark,
    observation::{Observation, Subject},
    output::Output,
    say,
    session::Session,
    signals::{self, Received},
    wait::{Wait, Woken},
};
use crate::{
    cli::LiveArgs,
    core::verdict::Verdict,
    kernel::Options,
    privileges,
    recording::{Recorded, RecordingError, Saved, Saving},
    sinks::{
        http::Notice,
        report::{Format, render},
    },
    tui::{
        self,
        feed::{Feed, Request},
    },
};

/// How an observation ended.
struct Ended {
    verdict: Verdict,
    recorded: Option<Recorded>,
    /// What became of what was still being saved.
    saved: Vec<String>,
}

pub(super) fn live(args: LiveArgs) -> Result<()> {
    ensure!(
        io::stdin().is_terminal() && io::stdout().is_terminal(),
        "the dashboard needs a terminal: use `observer run --for 60s` where there is none"
    );
    let options = tui::Options { title: title(&args), monochrome: args.monochrome, mode: tui::Mode::Live };
    Courtesy::begin();
    let signals = signals::catch()?;
    let (feed, feeds) = channel();
    let (requests, asked) = unbounded_channel();
    let (ready, is_ready) = channel();
    let observation = thread::Builder::new()
        .name("observation".into())
        .spawn(move || observe(args, &ready, feed, asked, signals))
        .context("cannot start the thread that observes")?;
    // The observation says where this is refused.
    let _ = privileges::keep_only(&[]);
    // Whatever cannot be begun is told before the terminal is taken.
    let shown = match is_ready.recv() {
        Ok(()) => show(feeds, move |request| drop(requests.send(request)), options),
        Err(_) => Ok(()),
    };
    let Ended { verdict, recorded, saved } =
        observation.join().map_err(|_| anyhow!("the thread that observes panicked"))??;
    saved.iter().for_each(|words| say(format_args!("{words}")));
    shown?;
    if let Some(complaint) = recorded.and_then(|recorded| recorded.complaint()) {
        say(format_args!("{complaint}"));
    }
    let mut output = Output::Stdout;
    let text = render(&verdict, Format::Text, output.style());
    output.write(&text)
}

/// Draws until the user has seen enough; ends the observation by dropping `requests`.
pub(super) fn show(feeds: Receiver<Feed>, requests: impl Fn(Request), options: tui::Options) -> Result<()> {
    let words = tui::run(feeds, requests, options).context("the dashboard ended")?;
    if let Some(words) = words {
        say(format_args!("{words}"));
    }
    Ok(())
}

fn title(args: &LiveArgs) -> String {
    let targets: Vec<String> = args.scope.target.iter().map(ToString::to_string).collect();
    if targets.is_empty() { "this host".to_owned() } else { targets.join(", ") }
}

fn observe(
    args: LiveArgs,
    ready: &Sender<()>,
    feed: Sender<Feed>,
    asked: UnboundedReceiver<Request>,
    signals: UnboundedReceiver<Received>,
) -> Result<Ended> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let options = Options { precise: args.scope.precise, command: false };
        let record = args.scope.record.clone();
        let mut observation = Observation::begin(Subject::in_scope(args.scope), options, record.as_deref())?;
        let (wait, senders) = Wait::new(&observation)?;
        let notices = feed.clone();
        let notify = move |notice: Notice| drop(notices.send(Feed::Notice(notice.to_string())));
        let header = observation.engine().header();
        observation.expose(Exposed::open(&args.expose, None, header, senders, notify)?);
        if !args.keep.is_zero() {
            // Where it cannot be kept, the dashboard says so as long as it runs.
            let _ = observation.keep(args.keep);
        }
        let notices = [
            observation.blind().map(|why| format!("no probes ({why}); on the kernel's own counters only")),
            observation.nameless().map(str::to_owned),
            observation.give_up_privileges().err().map(|refused| refused.to_string()),
        ];
        let notices: Vec<String> = notices.into_iter().flatten().collect();
        let _ = ready.send(());
        if !notices.is_empty() {
            let _ = feed.send(Feed::Notice(notices.join("; ")));
        }
        let watch = Watch { session: Session::new(observation, Audience::Screen), feed, savings: Vec::new() };
        Ok(watch.until_asked(wait, asked, signals).await)
    })
}

/// An observation that someone looks at.
struct Watch {
    session: Session,
    feed: Sender<Feed>,
    /// What is being saved.
    savings: Vec<Saving>,
}

impl Watch {
    async fn until_asked(
        mut self,
        mut wait: Wait,
        mut asked: UnboundedReceiver<Request>,
        mut signals: UnboundedReceiver<Received>,
    ) -> Ended {
        let by_signal = loop {
            tokio::select! {
                biased;
                request = asked.recv() => match request {
                    None | Some(Request::Quit) => break false,
                    Some(request) => self.obey(request),
                },
                Some(received) = signals.recv() => {
                    if received.ends() {
                        self.tell(Some(Feed::Over(Some(format!("ended by {}", received.signal)))));
                        break true;
                    }
                }
                woken = wait.next() => {
                    if let Woken::FrameWanted(wanted) = woken {
                        exposed::answer(wanted, self.session.engine());
                        continue;
                    }
                    let failed = matches!(woken, Woken::Failure);
                    let mark = woken.into_mark(mono_ns());
                    let seen = self.session.tick(mark.into_iter().collect());
                    self.tell(seen);
                    self.tell_saved();
                    if failed {
                        Wait::after_failure().await;
                    }
                }
            }
        };
        let (verdict, recorded) = self.session.finish();
        let saved = self.savings.into_iter().map(|saving| told(saving.wait())).collect();
        // Everything is closed: whatever becomes of the terminal, nothing is lost. Without a thread for it, the end
        // waits for the terminal.
        let _ = if by_signal { ending::insist() } else { ending::insist_when_asked(signals, drop) };
        Ended { verdict, recorded, saved }
    }

    fn obey(&mut self, request: Request) {
        let seen = match request {
            Request::Mark(name) => match mark::parse(name.as_bytes()) {
                Ok(name) => self.session.tick(Woken::Mark(name).into_mark(mono_ns()).into_iter().collect()),
                Err(why) => Some(Feed::Notice(why)),
            },
            Request::BeginEpisode => Some(self.session.begin_episode()),
            Request::EndEpisode => self.session.end_episode(),
            Request::Save(name) => self.save(Path::new(&name)),
            // A recording's, which this is not; and the end, which is dealt with above.
            Request::Play(_)
            | Request::Speed(_)
            | Request::Step(_)
            | Request::Seek { .. }
            | Request::Skip { .. }
            | Request::Quit => None,
        };
        self.tell(seen);
    }

    fn save(&mut self, path: &Path) -> Option<Feed> {
        match self.session.save(path) {
            Some(saving) => {
                self.savings.push(saving);
                None
            }
            None => Some(Feed::Notice("nothing is kept: --keep 0s says so, or it could not be".to_owned())),
        }
    }

    /// Tells of what has been saved by now.
    fn tell_saved(&mut self) {
        let mut all = Vec::new();
        self.savings.retain(|saving| match saving.poll() {
            Some(result) => {
                all.push(told(result));
                false
            }
            None => true,
        });
        all.into_iter().for_each(|words| self.tell(Some(Feed::Notice(words))));
    }

    /// Nobody may be looking any more: then the request to end is on its way.
    fn tell(&self, feed: Option<Feed>) {
        if let Some(feed) = feed {
            let _ = self.feed.send(feed);
        }
    }
}

/// What became of saving, in words.
fn told(result: Result<Saved, RecordingError>) -> String {
    match result {
        Ok(saved) => format!("saved {} to {}", length(&saved), saved.path.display()),
        Err(error) => format!("not saved: {error}"),
    }
}

/// How much was saved: `12m 30s`.
fn length(saved: &Saved) -> String {
    let length = Duration::from_nanos(saved.to_ns.saturating_sub(saved.from_ns));
    humantime::format_duration(Duration::from_secs(length.as_secs())).to_string()
}

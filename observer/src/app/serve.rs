//! `observer serve`: an observation without a terminal, for Prometheus and whoever asks over HTTP.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    clock::{mono_ns, real_ns},
    courtesy::Courtesy,
    exposed::{self, Exposed},
    judge::Audience,
    observation::{Observation, Subject},
    say,
    session::Session,
    signals::{self, Received},
    wait::{Wait, Woken},
};
use crate::{
    cli::ServeArgs,
    core::{event::What, time::rfc3339, verdict::Hit},
    kernel::Options,
    recording::Saving,
    sinks::http::Listen,
    tui::feed::Feed,
};

/// An observation that nobody looks at here.
struct Service {
    session: Session,
    save_to: PathBuf,
    savings: Vec<Saving>,
}

pub(super) fn serve(args: ServeArgs) -> Result<()> {
    Courtesy::begin();
    let signals = signals::catch()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(observe(args, signals))
}

async fn observe(args: ServeArgs, signals: UnboundedReceiver<Received>) -> Result<()> {
    let ServeArgs { scope, expose, keep, save_to } = args;
    let record = scope.record.clone();
    let options = Options { precise: scope.precise, command: false };
    let mut observation = Observation::begin(Subject::in_scope(scope), options, record.as_deref())?;
    let (wait, senders) = Wait::new(&observation)?;
    let (header, default) = (observation.engine().header(), Some(Listen::default()));
    let exposed = Exposed::open(&expose, default, header, senders, exposed::print)?;
    observation.expose(exposed);
    if let Some(why) = observation.blind() {
        say(format_args!("no probes ({why}); counting on the kernel's own counters only"));
    }
    if let Some(why) = observation.nameless() {
        say(format_args!("{why}"));
    }
    if !keep.is_zero()
        && let Err(error) = observation.keep(keep)
    {
        say(format_args!("the latest minutes are not kept: {error}"));
    }
    if let Err(refused) = observation.give_up_privileges() {
        say(format_args!("{refused}"));
    }
    let service =
        Service { session: Session::new(observation, Audience::Scrapes), save_to, savings: Vec::new() };
    service.until_ended(wait, signals).await
}

impl Service {
    async fn until_ended(mut self, mut wait: Wait, mut signals: UnboundedReceiver<Received>) -> Result<()> {
        loop {
            tokio::select! {
                biased;
                Some(received) = signals.recv() => {
                    if received.ends() {
                        break;
                    }
                    if received.signal == Signal::SIGUSR1 {
                        self.save();
                    }
                }
                woken = wait.next() => self.wake(woken).await,
            }
        }
        // Who asks from now on for all that is known is told that there is an end, and does not wait for it.
        drop(wait);
        let (_, recorded) = self.session.finish();
        for saving in self.savings {
            tell_saved(saving.wait());
        }
        if let Some(complaint) = recorded.and_then(|recorded| recorded.complaint()) {
            say(format_args!("{complaint}"));
        }
        Ok(())
    }

    async fn wake(&mut self, woken: Woken) {
        let woken = match woken {
            Woken::FrameWanted(wanted) => return exposed::answer(wanted, self.session.engine()),
            woken => woken,
        };
        let failed = matches!(woken, Woken::Failure);
        if let Some(feed) = self.session.tick(woken.into_mark(mono_ns()).into_iter().collect()) {
            log(&feed);
        }
        self.savings.retain(|saving| saving.poll().map(tell_saved).is_none());
        if failed {
            Wait::after_failure().await;
        }
    }

    /// Saves what is kept, under the name of this instant.
    fn save(&mut self) {
        let name = format!("observer-{}.observer", rfc3339(real_ns()).replace(':', ""));
        match self.session.save(&self.save_to.join(name)) {
            Some(saving) => self.savings.push(saving),
            None => say(format_args!("nothing is kept: --keep 0s says so, or it could not be")),
        }
    }
}

fn tell_saved(result: Result<crate::recording::Saved, crate::recording::RecordingError>) {
    match result {
        Ok(saved) => say(format_args!("saved {}", Path::display(&saved.path))),
        Err(error) => say(format_args!("not saved: {error}")),
    }
}

/// What a person finds in the journal.
fn log(feed: &Feed) {
    let scene = match feed {
        Feed::Scene(scene) => scene,
        Feed::Anew(anew) => return log_episode(anew.in_episode, anew.scene.verdict.first.as_ref()),
        Feed::Notice(_) | Feed::Over(_) => return,
    };
    for event in &scene.events {
        if let What::Onset { fault_line, subject, .. } = &event.what {
            let verdict = &scene.verdict;
            let of_line = |hits: &[Hit]| {
                let hit = hits.iter().find(|hit| hit.fault_line == *fault_line && hit.subject == *subject);
                hit.map(|hit| hit.because.clone())
            };
            let (in_scope, elsewhere) = (of_line(&verdict.hits), of_line(&verdict.elsewhere));
            let place = if in_scope.is_none() && elsewhere.is_some() { ", elsewhere" } else { "" };
            match in_scope.or(elsewhere) {
                Some(because) => say(format_args!("{fault_line}{place}: {because}")),
                None => say(format_args!("{fault_line}")),
            }
        }
    }
}

fn log_episode(in_episode: bool, first: Option<&Hit>) {
    match (in_episode, first) {
        (true, _) => say(format_args!("an episode begins")),
        (false, None) => say(format_args!("the episode is over: nothing broke")),
        (false, Some(first)) => {
            say(format_args!("the episode is over; first was {}: {}", first.fault_line, first.because))
        }
    }
}

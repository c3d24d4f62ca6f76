//! What an observation waits for between two looks: the clock, the probes' first failure, a mark.

use std::{io, os::fd::OwnedFd, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use nix::{
    sys::{
        time::{TimeSpec, TimeValLike as _},
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
    unistd::read,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use super::{mark::Socket, observation::Observation, say};
use crate::{
    cli::Plan,
    core::frame::{Mark, PhaseSource},
    sinks::http::FrameWanted,
};

/// How often everything is read.
const TICK: Duration = Duration::from_millis(100);
/// After a failure has woken us, the next one wakes us no earlier than this.
const WAKE_PAUSE: Duration = Duration::from_millis(10);

/// What keeps time and wakes while watching.
pub(super) struct Wait {
    ticks: AsyncFd<OwnedFd>,
    failures: Option<AsyncFd<OwnedFd>>,
    socket: Option<Socket>,
    marks: UnboundedReceiver<String>,
    frames: UnboundedReceiver<FrameWanted>,
    /// Boundaries of `--plan` that are still to come.
    plan: Vec<(u64, String)>,
}

/// Where others put what is waited for.
pub(super) struct Senders {
    /// Names of phases that begin.
    pub(super) marks: UnboundedSender<String>,
    /// Requests for all that is known.
    pub(super) frames: UnboundedSender<FrameWanted>,
}

/// Why it is time to look.
pub(super) enum Woken {
    /// A tick has passed.
    Tick,
    /// A probe saw a failure of a subject for the first time.
    Failure,
    /// The user says that a phase of this name begins.
    Mark(String),
    /// Somebody wants to know all that is known now.
    FrameWanted(FrameWanted),
}

impl Wait {
    /// Waits for what wakes this observation, for `observer mark`, and for what comes over the senders.
    pub(super) fn new(observation: &Observation) -> Result<(Self, Senders)> {
        let ticks = ticks().context("cannot make a timer")?;
        let failures = observation
            .wake_fd()
            .transpose()
            .and_then(|fd| fd.map(readable).transpose())
            .context("cannot wait for the probes")?;
        let (to_marks, marks) = unbounded_channel();
        let (to_frames, frames) = unbounded_channel();
        let socket = Socket::open(to_marks.clone())
            .inspect_err(|error| say(format_args!("`observer mark` will not reach this run: {error}")))
            .ok();
        let senders = Senders { marks: to_marks, frames: to_frames };
        Ok((Self { ticks, failures, socket, marks, frames, plan: Vec::new() }, senders))
    }

    /// Where marks are waited for.
    pub(super) fn marks_path(&self) -> Option<&Path> {
        self.socket.as_ref().map(Socket::path)
    }

    /// The phases of a plan begin from now on.
    pub(super) fn plan_from(&mut self, start_ns: u64, plan: Option<&Plan>) {
        let mut at_ns = start_ns;
        for (name, length) in plan.iter().flat_map(|plan| &plan.0) {
            self.plan.push((at_ns, name.clone()));
            at_ns += length.as_nanos() as u64;
        }
    }

    /// Waits until it is time to look.
    pub(super) async fn next(&mut self) -> Woken {
        let Self { ticks, failures, marks, frames, .. } = self;
        tokio::select! {
            biased;
            Some(name) = marks.recv() => Woken::Mark(name),
            Some(wanted) = frames.recv() => Woken::FrameWanted(wanted),
            () = tick(ticks) => Woken::Tick,
            () = failure(failures.as_ref()) => Woken::Failure,
        }
    }

    /// After a failure, the next one waits for a moment: what fails fails often.
    pub(super) async fn after_failure() {
        tokio::time::sleep(WAKE_PAUSE).await;
    }

    /// The planned phases that have begun.
    pub(super) fn due(&mut self, now_ns: u64) -> Vec<Mark> {
        let begun = self.plan.partition_point(|(at_ns, _)| *at_ns <= now_ns);
        self.plan
            .drain(..begun)
            .map(|(at_ns, name)| Mark::Phase { at_ns, name, source: PhaseSource::Plan })
            .collect()
    }
}

impl Woken {
    /// The mark that woke us, for the next frame.
    pub(super) fn into_mark(self, at_ns: u64) -> Option<Mark> {
        match self {
            Self::Mark(name) => Some(Mark::Phase { at_ns, name, source: PhaseSource::Mark }),
            Self::Tick | Self::Failure | Self::FrameWanted(_) => None,
        }
    }
}

/// A timer of the kernel's: it wakes once per tick, where a timer of the runtime's wakes twice.
fn ticks() -> io::Result<AsyncFd<OwnedFd>> {
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
    let at_once = TimeSpec::nanoseconds(1);
    timer.set(Expiration::IntervalDelayed(at_once, TICK.into()), TimerSetTimeFlags::empty())?;
    readable(timer.into())
}

/// Waits for the next tick. Those that were missed are one.
async fn tick(ticks: &AsyncFd<OwnedFd>) {
    while let Ok(mut ready) = ticks.readable().await {
        let expired = read(ticks, &mut [0; size_of::<u64>()]);
        ready.clear_ready();
        if expired.is_ok() {
            return;
        }
    }
    std::future::pending().await
}

fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` stays open, and the same file, until it is dropped; the AsyncFd owns it
    // and leaves the reactor before it drops it.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(Into::into)
}

/// Waits for the first failure of a subject.
async fn failure(events: Option<&AsyncFd<OwnedFd>>) {
    match events {
        Some(events) => match events.readable().await {
            Ok(mut ready) => ready.clear_ready(),
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

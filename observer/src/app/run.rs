//! `observer run`: pre-roll, the command, the settle window, the verdict.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::Child,
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep_until},
};

use super::{
    clock::mono_ns,
    command,
    courtesy::Courtesy,
    exposed::{self, Exposed},
    judge::{Audience, Judge},
    observation::{Observation, Subject},
    output::Output,
    say,
    signals::{self, Received},
    wait::{Wait, Woken},
};
use crate::{
    cli::{FailOn, OWN_FAILURE, RunArgs},
    core::{
        event::Event,
        frame::Mark,
        snapshot::Snapshot,
        verdict::{Outcome, Verdict},
    },
    kernel::Options,
    sinks::report::render,
};

/// How long is watched before the command starts: what is normal, and what is already so.
pub(super) const PRE_ROLL: Duration = Duration::from_secs(2);
/// Exit status when the command succeeded and a `--fail-on` condition holds.
const FAILED_ON: u8 = 3;

pub(super) fn run(args: RunArgs) -> ExitCode {
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
        .and_then(|runtime| runtime.block_on(async { Run::begin(args)?.finish().await }));
    match outcome {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            say(format_args!("{error:#}"));
            ExitCode::from(OWN_FAILURE)
        }
    }
}

/// A run in progress.
struct Run {
    args: RunArgs,
    output: Output,
    courtesy: Courtesy,
    observation: Observation,
    wait: Wait,
    judge: Judge,
    signals: UnboundedReceiver<Received>,
}

/// Why a stretch of watching ended.
enum Ended {
    Time,
    Command(u8),
    Interrupted(Signal),
}

impl Run {
    /// Everything that can fail does so here, before the command is started.
    fn begin(mut args: RunArgs) -> Result<Self> {
        let output = match &args.output {
            Some(path) => Output::open(path)?,
            None if args.command.is_empty() => Output::Stdout,
            None => Output::Stderr,
        };
        let courtesy = Courtesy::begin();
        let signals = signals::catch()?;
        let plan = args.plan.iter().flat_map(|plan| &plan.0);
        let subject = Subject {
            command: args.command.iter().map(|arg| arg.to_string_lossy().into_owned()).collect(),
            targets: std::mem::take(&mut args.scope.target),
            ignore: std::mem::take(&mut args.scope.ignore),
            max_cpu: args.scope.max_cpu,
            plan: plan.map(|(name, length)| (name.clone(), length.as_nanos() as u64)).collect(),
        };
        let options = Options { precise: args.scope.precise, command: true };
        let mut observation = Observation::begin(subject, options, args.scope.record.as_deref())?;
        let (wait, senders) = Wait::new(&observation)?;
        let header = observation.engine().header();
        observation.expose(Exposed::open(&args.expose, None, header, senders, exposed::print)?);
        if let Some(why) = observation.blind() {
            say(format_args!("no probes ({why}); counting on the kernel's own counters only"));
        }
        if let Some(why) = observation.nameless() {
            say(format_args!("{why}"));
        }
        let judge = Judge::new(observation.engine(), Audience::Scrapes);
        Ok(Self { args, output, courtesy, observation, wait, judge, signals })
    }

    async fn finish(mut self) -> Result<u8> {
        if self.args.command.is_empty() {
            self.give_up_privileges();
        }
        if let Ended::Interrupted(signal) = self.watch(Some(PRE_ROLL), None).await? {
            say(format_args!("ended by {signal} before the test began"));
            self.observation.end();
            return Ok(128 + signal as u8);
        }
        if self.args.command.is_empty() {
            self.observe_the_host().await?;
            return self.conclude(0);
        }
        let mut child = match self.start_command() {
            Ok(child) => child,
            Err(not_started) => {
                say(format_args!("{}", not_started.message));
                self.observation.end();
                return Ok(not_started.status);
            }
        };
        let status = self.watch_command(&mut child).await?;
        self.watch(Some(self.args.settle), None).await?;
        self.conclude(status)
    }

    async fn observe_the_host(&mut self) -> Result<()> {
        // The last look before the run, so that what follows is the run's.
        self.observation.look_everywhere(Vec::new());
        let at_ns = mono_ns();
        self.tick(vec![Mark::CommandStarted { at_ns, pid: None }]);
        self.wait.plan_from(at_ns, self.args.plan.as_ref());
        self.watch(self.args.duration, None).await?;
        self.observation.look_everywhere(vec![Mark::CommandEnded { at_ns: mono_ns(), exit_status: None }]);
        Ok(())
    }

    /// While it is started, observer itself counts as the generator, so that the child does from its
    /// first instruction on.
    fn start_command(&mut self) -> Result<Child, command::NotStarted> {
        let own = std::process::id();
        // Without it the generator is known by polling; the run goes on.
        let _ = self.observation.watch_tree(own);
        // The last look before the load, so that what follows is the run's.
        self.observation.look_everywhere(Vec::new());
        let at_ns = mono_ns();
        let marks = self.wait.marks_path();
        let child = self.courtesy.except_for(|| command::start(&self.args.command, marks));
        let _ = self.observation.unwatch(own);
        let child = child?;
        let pid = child.id();
        if let Some(pid) = pid {
            let _ = self.observation.watch_tree(pid);
            self.observation.set_command(pid);
        }
        self.tick(vec![Mark::CommandStarted { at_ns, pid }]);
        self.wait.plan_from(at_ns, self.args.plan.as_ref());
        // Not before: its rights are the caller's.
        self.give_up_privileges();
        Ok(child)
    }

    fn give_up_privileges(&mut self) {
        if let Err(refused) = self.observation.give_up_privileges() {
            say(format_args!("{refused}"));
        }
    }

    async fn watch_command(&mut self, child: &mut Child) -> Result<u8> {
        loop {
            match self.watch(None, Some(child)).await? {
                Ended::Command(status) => {
                    let mark = Mark::CommandEnded { at_ns: mono_ns(), exit_status: Some(status.into()) };
                    self.observation.look_everywhere(vec![mark]);
                    return Ok(status);
                }
                // The terminal has told the command as well; its end ends the run.
                Ended::Interrupted(_) | Ended::Time => {}
            }
        }
    }

    /// Ticks until the time is over, the command has ended, or a signal comes.
    async fn watch(&mut self, length: Option<Duration>, child: Option<&mut Child>) -> Result<Ended> {
        let until = length.map(|length| Instant::now() + length);
        let pid = child.as_ref().and_then(|child| child.id());
        let mut child = child;
        loop {
            let command = async {
                match child.as_deref_mut() {
                    Some(child) => child.wait().await,
                    None => std::future::pending().await,
                }
            };
            let time = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                status = command => {
                    let status = status.context("cannot wait for the command")?;
                    return Ok(Ended::Command(command::exit_status(status)));
                }
                Some(received) = self.signals.recv() => {
                    if let Some(ended) = pass_on(received, pid) {
                        return Ok(ended);
                    }
                }
                () = time => return Ok(Ended::Time),
                woken = self.wait.next() => self.wake(woken).await,
            }
        }
    }

    async fn wake(&mut self, woken: Woken) {
        let woken = match woken {
            Woken::FrameWanted(wanted) => return exposed::answer(wanted, self.observation.engine()),
            woken => woken,
        };
        let failed = matches!(woken, Woken::Failure);
        self.tick(woken.into_mark(mono_ns()).into_iter().collect());
        if failed {
            Wait::after_failure().await;
        }
    }

    fn tick(&mut self, mut marks: Vec<Mark>) {
        let now_ns = mono_ns();
        marks.extend(self.wait.due(now_ns));
        if marks.is_empty() && !self.observation.allows_look() {
            return;
        }
        let hit = self.observation.tick(marks).iter().any(Event::is_onset);
        let engine = self.observation.engine();
        if let Some(exposed) = self.observation.exposed()
            && self.judge.is_time(now_ns, hit, engine)
        {
            exposed.show(engine, Snapshot::of(engine), self.judge.verdict(), engine.is_under_load());
        }
    }

    fn conclude(mut self, status: u8) -> Result<u8> {
        let (verdict, recorded) = self.observation.end();
        if let Some(complaint) = recorded.and_then(|recorded| recorded.complaint()) {
            say(format_args!("{complaint}"));
        }
        let text = render(&verdict, self.args.format, self.output.style());
        self.output.write(&text)?;
        let failed = status == 0 && self.args.fail_on.iter().any(|condition| holds(*condition, &verdict));
        Ok(if failed { FAILED_ON } else { status })
    }
}

/// Sends on what was meant for the command, and tells what ends a stretch that has none.
fn pass_on(received: Received, child: Option<u32>) -> Option<Ended> {
    match child.and_then(|pid| i32::try_from(pid).ok()) {
        Some(pid) if received.to_us_alone => {
            // It may have ended just now; then its end is what we see next.
            let _ = kill(Pid::from_raw(pid), received.signal);
            None
        }
        Some(_) => None,
        None => received.ends().then_some(Ended::Interrupted(received.signal)),
    }
}

fn holds(condition: FailOn, verdict: &Verdict) -> bool {
    match condition {
        FailOn::Hit => verdict.outcome == Outcome::Hit,
        FailOn::Inconclusive => verdict.outcome == Outcome::Inconclusive,
    }
}

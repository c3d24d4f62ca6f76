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
    observation::{Observation, Subject},
    output::Output,
    say,
    signals::{self, Received},
    wait::{Wait, Woken},
};
use crate::{
    cli::{FailOn, OWN_FAILURE, RunArgs},
    core::{
        frame::Mark,
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
        .and_then(|runtime| runtime.block_on(Run::begin(args)?.finish()));
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
    observation: Observation,
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
        let signals = signals::catch()?;
        let plan = args.plan.iter().flat_map(|plan| &plan.0);
        let subject = Subject {
            command: args.command.iter().map(|arg| arg.to_string_lossy().into_owned()).collect(),
            targets: std::mem::take(&mut args.target),
            ignore: std::mem::take(&mut args.ignore),
            plan: plan.map(|(name, length)| (name.clone(), length.as_nanos() as u64)).collect(),
        };
        let options = Options { precise: args.precise };
        let observation = Observation::begin(subject, options, args.record.as_deref())?;
        if let Some(why) = observation.blind() {
            say(format_args!("no probes ({why}); counting on the kernel's own counters only"));
        }
        if let Some(why) = observation.nameless() {
            say(format_args!("{why}"));
        }
        Ok(Self { args, output, observation, signals })
    }

    async fn finish(mut self) -> Result<u8> {
        let mut wait = Wait::new(&self.observation)?;
        if self.args.command.is_empty() {
            self.give_up_privileges();
        }
        if let Ended::Interrupted(signal) = self.watch(&mut wait, Some(PRE_ROLL), None).await? {
            say(format_args!("ended by {signal} before the test began"));
            return Ok(128 + signal as u8);
        }
        if self.args.command.is_empty() {
            self.observe_the_host(&mut wait).await?;
            return self.conclude(0);
        }
        let mut child = match self.start_command(&mut wait) {
            Ok(child) => child,
            Err(not_started) => {
                say(format_args!("{}", not_started.message));
                return Ok(not_started.status);
            }
        };
        let status = self.watch_command(&mut wait, &mut child).await?;
        self.watch(&mut wait, Some(self.args.settle), None).await?;
        self.conclude(status)
    }

    async fn observe_the_host(&mut self, wait: &mut Wait) -> Result<()> {
        // The last look before the run, so that what follows is the run's.
        self.observation.tick(Vec::new());
        let at_ns = mono_ns();
        self.tick(wait, vec![Mark::CommandStarted { at_ns, pid: None }]);
        wait.plan_from(at_ns, self.args.plan.as_ref());
        self.watch(wait, self.args.duration, None).await?;
        self.observation.tick(vec![Mark::CommandEnded { at_ns: mono_ns(), exit_status: None }]);
        Ok(())
    }

    /// While it is started, observer itself counts as the generator, so that the child does from its
    /// first instruction on.
    fn start_command(&mut self, wait: &mut Wait) -> Result<Child, command::NotStarted> {
        let own = std::process::id();
        // Without it the generator is known by polling; the run goes on.
        let _ = self.observation.watch_tree(own);
        // The last look before the load, so that what follows is the run's.
        self.observation.tick(Vec::new());
        let at_ns = mono_ns();
        let child = command::start(&self.args.command, wait.marks_path());
        let _ = self.observation.unwatch(own);
        let child = child?;
        let pid = child.id();
        if let Some(pid) = pid {
            let _ = self.observation.watch_tree(pid);
            self.observation.set_command(pid);
        }
        self.tick(wait, vec![Mark::CommandStarted { at_ns, pid }]);
        wait.plan_from(at_ns, self.args.plan.as_ref());
        // Not before: its rights are the caller's.
        self.give_up_privileges();
        Ok(child)
    }

    fn give_up_privileges(&mut self) {
        if let Err(refused) = self.observation.give_up_privileges() {
            say(format_args!("{refused}"));
        }
    }

    async fn watch_command(&mut self, wait: &mut Wait, child: &mut Child) -> Result<u8> {
        loop {
            match self.watch(wait, None, Some(child)).await? {
                Ended::Command(status) => {
                    let mark = Mark::CommandEnded { at_ns: mono_ns(), exit_status: Some(status.into()) };
                    self.observation.tick(vec![mark]);
                    return Ok(status);
                }
                // The terminal has told the command as well; its end ends the run.
                Ended::Interrupted(_) | Ended::Time => {}
            }
        }
    }

    /// Ticks until the time is over, the command has ended, or a signal comes.
    async fn watch(
        &mut self,
        wait: &mut Wait,
        length: Option<Duration>,
        child: Option<&mut Child>,
    ) -> Result<Ended> {
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
                woken = wait.next() => {
                    let failed = matches!(woken, Woken::Failure);
                    self.tick(wait, woken.into_mark(mono_ns()).into_iter().collect());
                    if failed {
                        Wait::after_failure().await;
                    }
                }
            }
        }
    }

    fn tick(&mut self, wait: &mut Wait, mut marks: Vec<Mark>) {
        marks.extend(wait.due(mono_ns()));
        self.observation.tick(marks);
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

//! Signals: Ctrl-C in a terminal reaches the command once and still yields a verdict; a signal sent to
//! observer alone is passed on once; and when observer is killed, the command lives on.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    pty::openpty,
    sys::signal::{Signal, kill},
    unistd::{Pid, setsid},
};
use std::os::{fd::AsRawFd, unix::process::CommandExt};

use super::Scenario;
use crate::{
    check::Ending,
    children::Running,
    report::Report,
    roles::{Role, await_signal::AwaitSignal},
    stage::Stage,
    verdict::Verdict,
};

pub const SCENARIO: Scenario = Scenario {
    name: "ctrl_c",
    about: "Ctrl-C reaches the command once, SIGTERM is passed on once, kill -9 spares the command",
    play,
};

const DEADLINE: Duration = Duration::from_secs(60);
/// What a terminal turns into SIGINT.
const CTRL_C: &[u8] = b"\x03";

nix::ioctl_write_int_bad!(take_terminal, libc::TIOCSCTTY);

fn play(stage: &Stage) -> Result<Ending> {
    let Some(observer) = stage.observer() else {
        return Ok(Ending::Skip("needs an observer".into()));
    };
    Watched::in_terminal(stage, observer)?.ctrl_c().context("Ctrl-C in a terminal")?;
    Watched::plain(stage, observer, "alone")?.terminate().context("SIGTERM to observer alone")?;
    Watched::plain(stage, observer, "killed")?.kill().context("kill -9 of observer")?;
    Ok(Ending::Ok)
}

/// An observer in front of a command that counts its signals.
struct Watched {
    running: Running,
    /// The keyboard, where there is one.
    terminal: Option<File>,
    verdict: PathBuf,
    report: PathBuf,
}

impl Watched {
    fn plain(stage: &Stage, observer: &Path, name: &str) -> Result<Self> {
        let (command, verdict, report) = command(stage, observer, name)?;
        let running = Running::start(name, command, stage.folder())?;
        Ok(Self { running, terminal: None, verdict, report })
    }

    /// Observer and command as the foreground of a terminal of their own.
    fn in_terminal(stage: &Stage, observer: &Path) -> Result<Self> {
        let (mut command, verdict, report) = command(stage, observer, "terminal")?;
        let pty = openpty(None, None).context("cannot open a pseudo-terminal")?;
        command.stdin(pty.slave.try_clone()?).stdout(pty.slave.try_clone()?).stderr(pty.slave);
        let lead_session = || {
            setsid()?;
            // SAFETY: standard input is the terminal, and this process now leads a session without one.
            unsafe { take_terminal(std::io::stdin().as_raw_fd(), 0) }?;
            Ok(())
        };
        // SAFETY: the closure only makes system calls; it neither allocates nor takes locks.
        unsafe { command.pre_exec(lead_session) };
        let mut running = Running::start_as_is("terminal", command)?;
        let terminal = File::from(pty.master);
        running.read_from(terminal.try_clone()?)?;
        Ok(Self { running, terminal: Some(terminal), verdict, report })
    }

    /// Waits for the command to run.
    fn command_pid(&self) -> Result<u32> {
        match self.running.report()? {
            Report::Ready { pid, .. } => Ok(pid),
            other => bail!("the command began with {other:?}"),
        }
    }

    fn ctrl_c(mut self) -> Result<()> {
        self.command_pid()?;
        self.terminal.as_mut().context("there is a terminal")?.write_all(CTRL_C)?;
        self.check_end(Signal::SIGINT)
    }

    fn terminate(mut self) -> Result<()> {
        self.command_pid()?;
        self.running.signal(Signal::SIGTERM)?;
        self.check_end(Signal::SIGTERM)
    }

    fn check_end(&mut self, signal: Signal) -> Result<()> {
        let status = self.running.wait(DEADLINE)?;
        let report = fs::read(&self.report).context("the command left no report")?;
        let Report::Signals(signals) = serde_json::from_slice(&report)? else {
            bail!("not a count of signals")
        };
        println!("  {signal}: the command caught {signals:?}, observer ended with {status}");
        ensure!(signals == [signal as i32], "the command caught {signals:?}, not {signal} once");
        ensure!(status.success(), "the command ended well, observer with {status}");
        Verdict::read(&self.verdict).map(drop)
    }

    fn kill(mut self) -> Result<()> {
        let pid = Pid::from_raw(self.command_pid()?.cast_signed());
        self.running.signal(Signal::SIGKILL)?;
        self.running.wait(DEADLINE)?;
        kill(pid, Signal::SIGTERM).context("the command died with observer")?;
        match self.running.report().context("the command died with observer")? {
            Report::Signals(signals) => {
                println!("  SIGKILL of observer: the command lived, and caught {signals:?} afterwards");
                ensure!(signals == [Signal::SIGTERM as i32], "the command caught {signals:?}");
                Ok(())
            }
            other => bail!("the command ended with {other:?}"),
        }
    }
}

fn command(stage: &Stage, observer: &Path, name: &str) -> Result<(Command, PathBuf, PathBuf)> {
    let verdict = stage.folder().join(format!("{name}.json"));
    let report = stage.folder().join(format!("{name}.signals"));
    let role = Role::AwaitSignal(AwaitSignal { report: Some(report.clone()) });
    let mut command = Command::new(observer);
    command.args(["run", "--settle", "0s", "--format", "json", "--output"]).arg(&verdict);
    command.arg("--").args(stage.role_args(&role)?);
    Ok((command, verdict, report))
}

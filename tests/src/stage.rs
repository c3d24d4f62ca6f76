//! Where a scenario plays: starts services and loads, and puts observer in front of the load.

use std::{
    env,
    net::{Ipv4Addr, SocketAddrV4},
    path::{Path, PathBuf},
    process::{self, Command, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    children::Running,
    report::{Order, Report, Tally},
    roles::{Role, serve::Serve},
    verdict::Verdict,
};

/// How long observer may take from the end of the command to its own: settling and judging.
const FINISH_DEADLINE: Duration = Duration::from_secs(60);
/// How long a condition may take to come true.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Where a scenario plays.
#[derive(Debug)]
pub struct Stage {
    observer: Option<PathBuf>,
    lab: PathBuf,
    folder: PathBuf,
}

impl Stage {
    /// A stage whose files go to `folder`; without an observer the faults are provoked all the same.
    pub fn new(observer: Option<&Path>, folder: &Path) -> Result<Self> {
        Ok(Self {
            observer: observer.map(Path::to_owned),
            lab: env::current_exe().context("cannot find the lab's own binary")?,
            folder: folder.to_owned(),
        })
    }

    /// Where the scenario's files go.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The lab's own binary.
    pub fn lab(&self) -> &Path {
        &self.lab
    }

    /// The observer under test, which some scenarios cannot do without.
    pub fn observer(&self) -> Option<&Path> {
        self.observer.as_deref()
    }

    /// The command line of a role, tied to the lab's life.
    pub fn role_args(&self, role: &Role) -> Result<Vec<String>> {
        let mut args = vec![self.lab.to_string_lossy().into_owned()];
        args.extend(role.args()?);
        args.push(format!("--lab={}", process::id()));
        Ok(args)
    }

    /// Starts a role outside the observed command's tree.
    pub fn start(&self, name: &str, role: &Role) -> Result<Running> {
        let args = self.role_args(role)?;
        let mut command = Command::new(&args[0]);
        command.args(&args[1..]);
        Running::start(name, command, &self.folder)
    }

    /// Starts a role outside the observed command's tree and waits until it is ready.
    pub fn prepare(&self, name: &str, role: &Role) -> Result<Running> {
        let running = self.start(name, role)?;
        match running.report().with_context(|| format!("{name} did not start"))? {
            Report::Ready { .. } => Ok(running),
            other => bail!("{name} began with {other:?}"),
        }
    }

    /// Starts a service and waits until it listens.
    pub fn serve(&self, name: &str, options: Serve) -> Result<Service> {
        let port = options.port;
        let running = self.start(name, &Role::Serve(options))?;
        match running.report().with_context(|| format!("the service {name} did not start"))? {
            Report::Ready { pid, netns } => Ok(Service { running, pid, netns, port }),
            other => bail!("the service {name} began with {other:?}"),
        }
    }

    /// The command line of `observer run` in front of the role, or of the role alone where there is no
    /// observer.
    pub fn observe_command(&self, options: &[&str], role: &Role) -> Result<Command> {
        let args = self.role_args(role)?;
        let Some(observer) = &self.observer else {
            let mut command = Command::new(&args[0]);
            command.args(&args[1..]);
            return Ok(command);
        };
        let mut command = Command::new(observer);
        command.args(["run", "--format", "json", "--output"]).arg(self.verdict_path());
        // On an emulated machine everything is dear, and a scenario is to see as much there as elsewhere.
        command.args(["--max-cpu", "100"]);
        if !options.contains(&"--settle") {
            command.args(["--settle", "1s"]);
        }
        command.args(options).arg("--").args(args);
        Ok(command)
    }

    /// Puts observer in front of the role, recording, and waits until the role says that it is ready.
    pub fn observe(&self, options: &[&str], role: &Role) -> Result<Observed> {
        let recording = self.recording_path();
        let recording = recording.to_str().context("the path of the scenario's folder is not UTF-8")?;
        let options = [&["--record", recording], options].concat();
        self.observe_by(self.observe_command(&options, role)?)
    }

    /// Like [`Stage::observe`], with a command line that was made before.
    pub fn observe_by(&self, command: Command) -> Result<Observed> {
        let running = Running::start("observer", command, &self.folder)?;
        let pid = match running.report().context("the command under observation did not start")? {
            Report::Ready { pid, .. } => pid,
            other => bail!("the command began with {other:?}"),
        };
        let verdict = self.observer.as_ref().map(|_| self.verdict_path());
        Ok(Observed { running, pid, verdict })
    }

    /// Where observer is told to record.
    pub fn recording_path(&self) -> PathBuf {
        self.folder.join("run.observer")
    }

    /// Where observer is told to leave its verdict.
    pub fn verdict_path(&self) -> PathBuf {
        self.folder.join("verdict.json")
    }
}

/// A service that runs.
#[derive(Debug)]
pub struct Service {
    running: Running,
    /// Its process id.
    pub pid: u32,
    /// Inode number of its network namespace.
    pub netns: u32,
    /// The port it listens on.
    pub port: u16,
}

impl Service {
    /// Its address inside its namespace.
    pub fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port)
    }

    /// What it has seen so far.
    pub fn tally(&mut self) -> Result<Tally> {
        tally(&mut self.running)
    }

    /// Makes it healthy from now on.
    pub fn relent(&mut self) -> Result<()> {
        self.running.order(Order::Relent)
    }

    /// Makes it take memory until it is killed.
    pub fn swell(&mut self) -> Result<()> {
        self.running.order(Order::Swell)
    }

    /// Makes it accept, where that was paused.
    pub fn resume(&mut self) -> Result<()> {
        self.running.order(Order::Resume)
    }

    /// Waits until it was refused with `errno` at least this often.
    pub fn wait_for_errno(&mut self, errno: i32, at_least: u64) -> Result<()> {
        wait_for_errno(&mut self.running, errno, at_least)
    }

    /// Waits until it has accepted at least this many connections.
    pub fn wait_for_accepted(&mut self, at_least: u64) -> Result<()> {
        wait_until(&mut self.running, &format!("{at_least} accepted connections"), |tally| {
            tally.done >= at_least
        })
    }
}

/// A command under observation.
#[derive(Debug)]
pub struct Observed {
    running: Running,
    /// Process id of the command itself.
    pub pid: u32,
    verdict: Option<PathBuf>,
}

/// What became of it.
#[derive(Debug)]
pub struct Finished {
    /// Exit status of observer, which is the command's.
    pub status: ExitStatus,
    /// The command's last word.
    pub tally: Tally,
    /// The verdict, where there was an observer.
    pub verdict: Option<Verdict>,
}

impl Observed {
    /// Makes the command go on with one worker.
    pub fn relent(&mut self) -> Result<()> {
        self.running.order(Order::Relent)
    }

    /// Makes the command begin, where it waits for that.
    pub fn resume(&mut self) -> Result<()> {
        self.running.order(Order::Resume)
    }

    /// What the command has seen so far.
    pub fn tally(&mut self) -> Result<Tally> {
        tally(&mut self.running)
    }

    /// Waits until the command was refused with `errno` at least this often.
    pub fn wait_for_errno(&mut self, errno: i32, at_least: u64) -> Result<()> {
        wait_for_errno(&mut self.running, errno, at_least)
    }

    /// Waits until the command has established at least this many connections.
    pub fn wait_for_connected(&mut self, at_least: u64) -> Result<()> {
        wait_until(&mut self.running, &format!("{at_least} connections"), |tally| tally.connected >= at_least)
    }

    /// Waits until the command has given up at least this many connections.
    pub fn wait_for_unconnected(&mut self, at_least: u64) -> Result<()> {
        wait_until(&mut self.running, &format!("{at_least} connections given up"), |tally| {
            tally.unconnected >= at_least
        })
    }

    /// Waits until all but one of the command's workers have come to their end.
    pub fn wait_for_idle(&mut self) -> Result<()> {
        wait_until(&mut self.running, "rest", |tally| tally.active <= 1)
    }

    /// Waits until the command has been answered at least this often.
    pub fn wait_for_done(&mut self, at_least: u64) -> Result<()> {
        wait_until(&mut self.running, &format!("{at_least} answers"), |tally| tally.done >= at_least)
    }

    /// The next thing the command says.
    pub fn report(&self) -> Result<Report> {
        self.running.report()
    }

    /// Waits until the command holds what it was started to take.
    pub fn wait_holding(&self) -> Result<()> {
        while self.report()? != Report::Holding {}
        Ok(())
    }

    /// Lets the command end, waits for observer, and reads the verdict.
    pub fn finish(mut self) -> Result<Finished> {
        let tally = self.stop()?;
        self.judge(tally)
    }

    /// Lets the command end; observer goes on.
    pub fn stop(&mut self) -> Result<Tally> {
        self.running.order(Order::Stop)?;
        loop {
            if let Report::Tally(tally) = self.report()? {
                return Ok(tally);
            }
        }
    }

    /// Waits for observer, after the command has ended with this tally, and reads the verdict.
    pub fn judge(mut self, tally: Tally) -> Result<Finished> {
        let status = self.running.wait(FINISH_DEADLINE)?;
        if !status.success() {
            bail!("observer ended with {status}, though the command ended well");
        }
        let verdict = self.verdict.as_deref().map(Verdict::read).transpose()?;
        Ok(Finished { status, tally, verdict })
    }
}

fn tally(running: &mut Running) -> Result<Tally> {
    running.order(Order::Tally)?;
    loop {
        if let Report::Tally(tally) = running.report()? {
            return Ok(tally);
        }
    }
}

fn wait_for_errno(running: &mut Running, errno: i32, at_least: u64) -> Result<()> {
    wait_until(running, &format!("{at_least} times errno {errno}"), |tally| tally.count(errno) >= at_least)
}

fn wait_until(running: &mut Running, what: &str, condition: impl Fn(&Tally) -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = tally(running)?;
        if condition(&seen) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("no {what} within {PATIENCE:?}: {seen:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

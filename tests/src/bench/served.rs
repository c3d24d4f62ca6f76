//! An `observer serve`, and what it says and costs.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::{signal::Signal, time::TimeValLike as _},
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

use crate::{
    children::Running,
    stage::{PATIENCE, Stage},
};

/// Before the first episode it watches for two seconds, and gets to know the machine; then it is at work.
const PRE_ROLL: Duration = Duration::from_secs(4);

/// An observer that serves; dropping it ends it.
pub struct Served {
    running: Running,
    address: String,
}

/// What observer has used so far.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    at: Instant,
    cpu_ns: u64,
    ticks: f64,
}

/// How often it has looked.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    all: f64,
    late: f64,
}

impl Ticks {
    /// How many there were since.
    pub fn since(self, before: Self) -> f64 {
        self.all - before.all
    }

    /// Of the ticks since, the share that came late.
    pub fn late_since(self, before: Self) -> f64 {
        (self.late - before.late) / self.since(before).max(1.0)
    }
}

/// What it used between two instants.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// Of one core.
    pub share: f64,
    /// CPU time of a tick, with all that is done between two.
    pub per_tick_ns: f64,
}

impl Served {
    /// Starts it and waits until it is at work.
    pub fn start(stage: &Stage) -> Result<Self> {
        let begun = Self::begin(stage)?;
        thread::sleep(PRE_ROLL);
        Ok(begun)
    }

    /// Starts it and waits until it listens, which is when its programs are attached.
    pub fn begin(stage: &Stage) -> Result<Self> {
        let mut command = Command::new(stage.observer().context("there is no observer")?);
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        let running = Running::start("observer", command, stage.folder())?;
        let said = stage.folder().join("observer.stderr");
        let deadline = Instant::now() + PATIENCE;
        let address = loop {
            let text = fs::read_to_string(&said)?;
            // The line may still be being written.
            let line = text.split_once("listening on http://").and_then(|(_, rest)| rest.split_once('\n'));
            if let Some((rest, _)) = line {
                break rest.split_whitespace().next().unwrap_or_default().to_owned();
            }
            if Instant::now() >= deadline {
                bail!("observer does not listen: {text}");
            }
            thread::sleep(Duration::from_millis(20));
        };
        Ok(Self { running, address })
    }

    /// What /metrics says.
    pub fn metrics(&self) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address).context("observer does not answer")?;
        let address = &self.address;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// The sum of all series whose line begins like this.
    pub fn sum(&self, beginning: &str) -> Result<f64> {
        Ok(sum(self.metrics()?.lines().filter(|line| line.starts_with(beginning))))
    }

    /// How often it has counted this signal, wherever that was.
    pub fn signal(&self, name: &str) -> Result<f64> {
        let label = format!("signal=\"{name}\"");
        let of_signal = |line: &&str| line.starts_with("observer_signal_total{") && line.contains(&label);
        Ok(sum(self.metrics()?.lines().filter(of_signal)))
    }

    /// Whether it has programs at the exits of functions on this kernel.
    pub fn has_fexit(&self) -> Result<bool> {
        let is_one =
            |line: &str| line.starts_with("observer_probe_tier{") && line.contains("tier=\"trampoline\"");
        Ok(self.metrics()?.lines().any(is_one))
    }

    /// Ticks so far, and how many of them came late.
    pub fn ticks(&self) -> Result<Ticks> {
        let metrics = self.metrics()?;
        let count = |name: &str| sum(metrics.lines().filter(|line| line.starts_with(name)));
        Ok(Ticks { all: count("observer_ticks_total "), late: count("observer_ticks_late_total ") })
    }

    /// What it has used so far; not what answering the question takes.
    pub fn cost(&self) -> Result<Cost> {
        let ticks = self.ticks()?.all;
        Ok(Cost { at: Instant::now(), cpu_ns: cpu_ns(self.running.pid())?, ticks })
    }

    /// What it has used since.
    pub fn used_since(&self, before: Cost) -> Result<Used> {
        let (at, cpu_ns) = (Instant::now(), cpu_ns(self.running.pid())?);
        let used_ns = cpu_ns.saturating_sub(before.cpu_ns) as f64;
        Ok(Used {
            share: used_ns / (at - before.at).as_nanos() as f64,
            per_tick_ns: used_ns / (self.ticks()?.all - before.ticks).max(1.0),
        })
    }

    /// Its process id, which is the id of the thread that looks as well.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Stops it, or lets it go on. Its programs count either way.
    pub fn let_go_on(&self, goes_on: bool) -> Result<()> {
        self.running.signal(if goes_on { Signal::SIGCONT } else { Signal::SIGSTOP })
    }

    /// The most resident memory that it had so far.
    pub fn peak_bytes(&self) -> Result<u64> {
        self.status_bytes("VmHWM:")
    }

    /// Forgets the most that it had so far: it is what it has now (`clear_refs`, proc(5)).
    pub fn forget_peak(&self) -> Result<()> {
        let path = format!("/proc/{}/clear_refs", self.running.pid());
        fs::write(&path, "5").with_context(|| format!("cannot write to {path}"))
    }

    /// Resident memory.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.status_bytes("VmRSS:")
    }

    fn status_bytes(&self, name: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.running.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let line = line.with_context(|| format!("observer has no {name}"))?;
        Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
    }
}

/// The sum of the values at the ends of these lines.
fn sum<'m>(lines: impl Iterator<Item = &'m str>) -> f64 {
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// CPU time of a process: of all its threads, those that have ended among them.
fn cpu_ns(pid: u32) -> Result<u64> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed())).context("observer has no CPU clock")?;
    Ok(u64::try_from(clock_gettime(clock)?.num_nanoseconds())?)
}

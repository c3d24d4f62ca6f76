//! What is on while something is measured: observer, what people would use instead, or what it could cost at least.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{programs::BUSIEST, served::Served};
use crate::{bpf::Empty, children::Running, programs::installed, stage::Stage};

/// What can be on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rival {
    /// Nothing: what the machine does of itself.
    Nothing,
    /// `observer serve`, as anybody would start it.
    Observer,
    /// A program that does nothing, where a connection comes by most often: what the kernel takes for calling any there.
    Empty,
    /// One bpftrace program that counts the same signals at the tracepoints that every kernel has.
    Bpftrace,
    /// `ss -s` every second.
    SsSummary,
    /// `ss -tan` every second.
    SsAll,
}

/// Load, failed connects, retransmits, resets, drops by reason and OOM kills: how many, and not where. A key of each
/// port would fill its tables with those of the clients.
const SCRIPT: &str = "
tracepoint:sock:inet_sock_set_state { @state[args->oldstate, args->newstate] = count(); }
tracepoint:tcp:tcp_retransmit_skb { @retransmit = count(); }
tracepoint:tcp:tcp_send_reset { @sent = count(); }
tracepoint:tcp:tcp_receive_reset { @received = count(); }
tracepoint:skb:kfree_skb { @drop[args->reason] = count(); }
tracepoint:oom:mark_victim { @oom = count(); }
";
/// bpftrace compiles its script first.
const ATTACHED: Duration = Duration::from_secs(60);

/// Something that is on; dropping it ends it.
pub enum On {
    Nothing,
    Observer(#[allow(dead_code, reason = "ends with this")] Served),
    Empty(#[allow(dead_code, reason = "ends with this")] Empty),
    Other(#[allow(dead_code, reason = "ends with this")] Running),
}

impl Rival {
    /// Those that can be on here; who cannot is told.
    pub fn all() -> Vec<Self> {
        let is_there = |rival: &Self| {
            let program = rival.program();
            let there = program.is_none_or(|program| installed(program).is_some());
            if !there {
                println!("  skip {}: {} is not installed", rival.name(), program.unwrap_or_default());
            }
            there
        };
        [Self::Nothing, Self::Observer, Self::Empty, Self::Bpftrace, Self::SsSummary, Self::SsAll]
            .into_iter()
            .filter(is_there)
            .collect()
    }

    /// Its name in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Observer => "observer",
            Self::Empty => "an empty program",
            Self::Bpftrace => "bpftrace",
            Self::SsSummary => "ss -s every second",
            Self::SsAll => "ss -tan every second",
        }
    }

    fn program(self) -> Option<&'static str> {
        match self {
            Self::Nothing | Self::Observer | Self::Empty => None,
            Self::Bpftrace => Some("bpftrace"),
            Self::SsSummary | Self::SsAll => Some("ss"),
        }
    }

    /// Starts it, and waits until it is at work. `ss` sees one network namespace: that of the process `inside`.
    pub fn start(self, stage: &Stage, inside: Option<u32>) -> Result<On> {
        match self {
            Self::Nothing => Ok(On::Nothing),
            Self::Observer => Served::start(stage).map(On::Observer),
            Self::Empty => Empty::attach(BUSIEST).map(On::Empty),
            Self::Bpftrace => bpftrace(stage).map(On::Other),
            Self::SsSummary => every_second(stage, inside, "ss -s").map(On::Other),
            Self::SsAll => every_second(stage, inside, "ss -tan").map(On::Other),
        }
    }
}

fn bpftrace(stage: &Stage) -> Result<Running> {
    // It wants tracefs, which is not mounted everywhere; here, it is so for bpftrace only.
    let mounted =
        "mountpoint -q /sys/kernel/tracing || mount -t tracefs none /sys/kernel/tracing; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        mounted,
        "sh",
        "bpftrace",
        "-e",
        SCRIPT,
    ]);
    let running = Running::start("bpftrace", command, stage.folder())?;
    let deadline = Instant::now() + ATTACHED;
    while Instant::now() < deadline {
        if running.line().is_some_and(|line| line.starts_with("Attaching")) {
            // It says so before it does.
            thread::sleep(Duration::from_secs(1));
            return Ok(running);
        }
        thread::sleep(Duration::from_millis(10));
    }
    let said = fs::read_to_string(stage.folder().join("bpftrace.stderr")).unwrap_or_default();
    bail!("bpftrace does not begin: {said}")
}

fn every_second(stage: &Stage, inside: Option<u32>, what: &str) -> Result<Running> {
    let again = format!("while :; do sleep 1 & {what} > /dev/null; wait; done");
    // In process ids of their own all of them end together, and none looks on in somebody else's turn.
    let alone = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", &again];
    let mut command = match inside {
        None => Command::new(alone[0]),
        Some(pid) => {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net=/proc/{pid}/ns/net")).arg(alone[0]);
            command
        }
    };
    command.args(&alone[1..]).stdin(Stdio::null());
    Running::start("ss", command, stage.folder()).context("cannot start a shell")
}

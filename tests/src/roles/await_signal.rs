//! A command that waits for signals and counts them.

use std::{
    fs,
    os::fd::AsFd,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};
use serde::Serialize;

use super::ready;
use crate::report::Report;

/// How long to wait for a first signal.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long after the first one to look out for another.
const AFTERWARDS: Duration = Duration::from_millis(400);

/// Options.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AwaitSignal {
    /// Writes the report here as well, for a lab that no longer reads this command's output.
    #[arg(long)]
    pub report: Option<PathBuf>,
}

impl AwaitSignal {
    /// Plays the role.
    pub fn play(&self) -> Result<()> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGINT);
        signals.add(Signal::SIGTERM);
        signals.thread_block()?;
        let caught = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        ready()?;
        let mut numbers = Vec::new();
        let mut deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left)?;
            if poll(&mut [PollFd::new(caught.as_fd(), PollFlags::POLLIN)], timeout)? == 0 {
                break;
            }
            while let Some(info) = caught.read_signal()? {
                if numbers.is_empty() {
                    deadline = Instant::now() + AFTERWARDS;
                }
                numbers.push(i32::try_from(info.ssi_signo)?);
            }
        }
        let report = Report::Signals(numbers);
        if let Some(path) = &self.report {
            fs::write(path, serde_json::to_vec(&report)?)?;
        }
        Ok(report.send()?)
    }
}

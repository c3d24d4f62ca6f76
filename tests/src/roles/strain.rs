//! Neighbours: one burns CPU time, the other takes memory until it is killed. Both begin when told to.

use std::{fs, path::PathBuf, thread, time::Duration};

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::{
    appetite::{burn, take_all},
    obey, ready,
};
use crate::{
    cgroup,
    report::{Order, Report, Tally},
};

/// Of CPU time, at a time.
const PORTION: Duration = Duration::from_millis(1);

/// Options of the one that burns CPU time.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Burn {
    /// Enter these cgroups first: their folders.
    #[arg(long)]
    pub cgroup: Vec<PathBuf>,
    /// Threads that burn.
    #[arg(long)]
    pub threads: u16,
}

impl Burn {
    /// Plays the role.
    pub fn play(&self) -> Result<()> {
        cgroup::enter(&self.cgroup)?;
        ready()?;
        obey(Tally::default, |order| {
            if order == Order::Resume {
                for _ in 0..self.threads {
                    thread::spawn(|| while burn(PORTION).is_ok() {});
                }
            }
        })?;
        Ok(Report::Tally(Tally::default()).send()?)
    }
}

/// Options of the one that takes memory.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Hog {
    /// Enter these cgroups first: their folders.
    #[arg(long)]
    pub cgroup: Vec<PathBuf>,
    /// How readily the kernel kills this process: 1000 is before all others.
    #[arg(long)]
    pub oom_score_adj: Option<i16>,
    /// How fast it takes memory.
    #[arg(long)]
    pub mib_per_s: u32,
}

impl Hog {
    /// Plays the role.
    pub fn play(&self) -> Result<()> {
        cgroup::enter(&self.cgroup)?;
        if let Some(adjustment) = self.oom_score_adj {
            fs::write("/proc/self/oom_score_adj", adjustment.to_string())
                .context("cannot set oom_score_adj")?;
        }
        ready()?;
        obey(Tally::default, |order| {
            if order == Order::Resume {
                take_all(self.mib_per_s);
            }
        })?;
        Ok(Report::Tally(Tally::default()).send()?)
    }
}

//! A program that is not the lab's own, in a network namespace, and in a process namespace of its own: what
//! it starts ends with it, even when it is killed.

use std::{
    io,
    path::PathBuf,
    process::{self, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use nix::sched::{CloneFlags, unshare};
use serde::Serialize;

use crate::{
    children, netns,
    report::{Report, Tally},
};

/// Options.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Program {
    /// Join this process's network namespace instead of making one.
    #[arg(long)]
    pub netns_of: Option<u32>,
    /// Where the program is.
    #[arg(long)]
    pub path: PathBuf,
    /// Its arguments, one by one.
    #[arg(long)]
    pub argument: Vec<String>,
}

impl Program {
    /// Plays the role: reports the program's process id, takes no orders, and ends with the program.
    pub fn play(&self) -> Result<()> {
        match self.netns_of {
            Some(pid) => netns::join(pid)?,
            None => {
                netns::create()?;
                netns::loopback_up()?;
            }
        }
        let netns = netns::inode(process::id())?;
        // It is for the children of this process; the first is its process 1, whose end is everybody's.
        unshare(CloneFlags::CLONE_NEWPID).context("cannot make a process namespace (needs root)")?;
        let mut command = Command::new(&self.path);
        // Standard output is for reports.
        command.args(&self.argument).stdin(Stdio::null()).stdout(io::stderr());
        children::tie(&mut command)?;
        let name = self.path.display();
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Report::Ready { pid: child.id(), netns }.send()?;
        let status = child.wait()?;
        ensure!(status.success(), "{name} ended with {status}");
        Ok(Report::Tally(Tally::default()).send()?)
    }
}

//! Opens files as an ordinary user until the host has no room for more, then holds them.

use std::{fs::File, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::Args;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use serde::Serialize;

use super::{obey, ready};
use crate::{
    clock::Bracket,
    report::{Ledger, Order, Report, orders},
};

/// What is opened again and again.
const FILE: &str = "/dev/null";
/// No scenario leaves room for as many, and the usual RLIMIT_NOFILE does.
const MOST_FILES: u64 = 1000;

/// Options.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Files {
    /// The user to become: fs.file-max does not hold for root.
    #[arg(long)]
    pub user: u32,
    /// Stop trying after this many failures.
    #[arg(long)]
    pub failures: u64,
    /// Rest after a failure.
    #[arg(long)]
    pub interval_ms: u64,
}

impl Files {
    /// Plays the role; it begins at the order to resume.
    pub fn play(&self) -> Result<()> {
        setgroups(&[])?;
        setgid(Gid::from_raw(self.user))?;
        setuid(Uid::from_raw(self.user)).context("cannot become another user (needs root)")?;
        ready()?;
        ensure!(orders().any(|order| order == Order::Resume), "nobody gave the order to begin");
        let ledger = Ledger::default();
        let mut held = Vec::new();
        let mut failures = 0;
        while failures < self.failures {
            match Bracket::around(|| File::open(FILE)) {
                (Ok(file), _) => {
                    held.push(file);
                    ledger.done();
                    ensure!(
                        held.len() as u64 <= MOST_FILES,
                        "{MOST_FILES} files did not fill the file table"
                    );
                }
                (Err(error), bracket) => {
                    ledger.failed(&error, bracket);
                    failures += 1;
                    thread::sleep(Duration::from_millis(self.interval_ms));
                }
            }
        }
        Report::Holding.send()?;
        obey(|| ledger.tally(), |_| {})?;
        Ok(Report::Tally(ledger.tally()).send()?)
    }
}

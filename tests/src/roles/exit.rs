//! A command that ends as it is told to.

use std::process;

use anyhow::{Context, Result};
use clap::Args;
use nix::{
    sys::signal::{Signal, kill},
    unistd::getpid,
};
use serde::Serialize;

/// What the command prints, and nothing else.
pub const OUTPUT: &str = "output of the command";

/// Options.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Exit {
    /// Exit status.
    #[arg(long)]
    pub status: Option<i32>,
    /// End by this signal instead.
    #[arg(long)]
    pub signal: Option<i32>,
}

impl Exit {
    /// Plays the role.
    pub fn play(&self) -> Result<()> {
        println!("{OUTPUT}");
        if let Some(signal) = self.signal {
            kill(getpid(), Signal::try_from(signal).context("no such signal")?)?;
        }
        process::exit(self.status.unwrap_or(0))
    }
}

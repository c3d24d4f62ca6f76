//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::roles::Role;

/// Provokes real faults and checks that observer names them.
#[derive(Debug, Parser)]
#[command(name = "observer-lab", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub task: Task,
    /// Process id of the lab that a role belongs to: the role ends with it.
    #[arg(long, global = true, hide = true)]
    pub lab: Option<u32>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// List the scenarios.
    List,
    /// Run scenarios against observer: one result line each, details indented.
    Run {
        /// Names of scenarios, or `all`.
        #[arg(required = true)]
        scenarios: Vec<String>,
        /// The observer to test.
        #[arg(long)]
        observer: PathBuf,
        /// Keep verdicts, recordings and error output in this folder.
        #[arg(long)]
        keep: Option<PathBuf>,
    },
    /// Measure what observing costs, in ratios of on and off.
    Bench {
        /// What to measure; everything where nothing is named.
        names: Vec<String>,
        /// The observer to measure.
        #[arg(long)]
        observer: PathBuf,
        /// Turns of each.
        #[arg(long, default_value_t = 9)]
        rounds: usize,
        /// Length of a turn.
        #[arg(long, value_name = "S", default_value_t = 4)]
        seconds: u64,
        /// Length of the soak.
        #[arg(long, value_name = "MIN", default_value_t = 60)]
        soak_minutes: u64,
    },
    /// Show observer at work: a service with a small accept queue, and a load that is too much for it.
    Demo {
        /// The observer to show.
        #[arg(long)]
        observer: PathBuf,
    },
    /// Provoke faults without observer, and print what the kernel counted.
    #[command(hide = true)]
    Provoke {
        /// Names of scenarios, or `all`.
        #[arg(required = true)]
        scenarios: Vec<String>,
    },
    /// Be one of the lab's own processes.
    #[command(flatten)]
    Role(Role),
}

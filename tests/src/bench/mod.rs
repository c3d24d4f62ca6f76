//! What observing costs, in ratios that hold on a noisy machine: off and on take turns within one run.
//!
//! - [`paired`] takes turns and makes medians of it, [`rivals`] are what takes turns: observer, and what one would use
//!   instead;
//! - [`requests`], [`loops`] and [`programs`] hold the observed side against the budgets, [`user_space`], [`growth`] and
//!   [`latency`] observer itself.

mod growth;
mod latency;
mod loops;
mod paired;
mod programs;
mod requests;
mod rivals;
mod served;
mod user_space;
mod web;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::geteuid;
use serde::Serialize;

use crate::{runner::workshop, stage::Stage};

/// How thoroughly to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Turns of each.
    pub rounds: usize,
    /// Length of one turn.
    pub turn: Duration,
}

/// Something that is measured.
pub struct Bench {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it measures.
    pub about: &'static str,
    play: fn(&Stage, &Plan) -> Result<()>,
}

/// All of them.
pub const ALL: &[Bench] =
    &[requests::BENCH, loops::BENCH, programs::BENCH, user_space::BENCH, growth::BENCH, latency::BENCH];

/// One measured number, and the budget that it has to keep.
#[derive(Debug, Serialize)]
struct Row<'a> {
    bench: &'a str,
    /// What was measured,
    what: &'a str,
    /// and with which observer, or at which size.
    with: &'a str,
    unit: &'a str,
    value: f64,
    /// The spread: first and third quartile of the turns, where there were some.
    low: Option<f64>,
    high: Option<f64>,
    budget: Option<Budget>,
}

/// What a number has to be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Budget {
    AtLeast(f64),
    AtMost(f64),
}

impl Budget {
    fn is_kept_by(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

impl Row<'_> {
    /// Prints it, for people and for the table.
    fn tell(&self) -> Result<()> {
        let spread = match (self.low, self.high) {
            (Some(low), Some(high)) => format!(" ({low:.4} to {high:.4})"),
            _ => String::new(),
        };
        let verdict = match self.budget {
            Some(budget) if budget.is_kept_by(self.value) => format!(", within {budget:?}"),
            Some(budget) => format!(", NOT within {budget:?}"),
            None => String::new(),
        };
        println!("  {}, {}: {:.4} {}{spread}{verdict}", self.what, self.with, self.value, self.unit);
        println!("row {}", serde_json::to_string(self)?);
        Ok(())
    }
}

/// Measures what is named, or everything.
pub fn run(names: &[String], observer: &Path, plan: &Plan) -> Result<ExitCode> {
    ensure!(geteuid().is_root(), "measuring needs root, for the probes and for network namespaces");
    let observer = observer.canonicalize().context("cannot find observer")?;
    let (folder, _guard) = workshop(None)?;
    let mut failed = false;
    for bench in choose(names)? {
        println!("bench {}: {}", bench.name, bench.about);
        let folder = folder.join(bench.name);
        std::fs::create_dir_all(&folder)?;
        if let Err(error) = (bench.play)(&Stage::new(Some(&observer), &folder)?, plan) {
            failed = true;
            println!("FAIL {}: {error:#}", bench.name);
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn choose(names: &[String]) -> Result<Vec<&'static Bench>> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let find = |name: &String| match ALL.iter().find(|bench| bench.name == name) {
        Some(bench) => Ok(bench),
        None => {
            let known: Vec<&str> = ALL.iter().map(|bench| bench.name).collect();
            bail!("there is no bench {name:?}; there are {}", known.join(", "))
        }
    };
    names.iter().map(find).collect()
}

//! What observing costs, in ratios that hold on a noisy machine: off and on take turns within one run.
//!
//! - [`paired`] takes turns and makes medians of it, [`rivals`] are what takes turns: observer, and what one would use
//!   instead;
//! - [`requests`], [`looks`], [`attached`], [`loops`], [`storm`] and [`programs`] hold the observed side against the budgets,
//!   [`user_space`], [`ticks`], [`growth`], [`latency`] and [`soak`] observer itself, [`crowded`] both where there are many
//!   sockets;
//! - [`web`], [`clients`] and [`traffic`] are what is observed, [`served`] and [`screen`] how observer is looked at.

mod attached;
mod clients;
mod crowded;
mod crowds;
mod full_queue;
mod growth;
mod latency;
mod looks;
mod loops;
mod paired;
mod programs;
mod requests;
mod rivals;
mod row;
mod screen;
mod served;
mod soak;
mod storm;
mod ticks;
mod traffic;
mod user_space;
mod web;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::geteuid;

use self::row::Budget;
use crate::{runner::workshop, stage::Stage};

/// How thoroughly to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Turns of each.
    pub rounds: usize,
    /// Length of one turn.
    pub turn: Duration,
    /// How long memory has to stay as it is.
    pub soak: Duration,
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
pub const ALL: &[Bench] = &[
    requests::BENCH,
    looks::BENCH,
    attached::BENCH,
    loops::BENCH,
    storm::BENCH,
    programs::BENCH,
    user_space::BENCH,
    ticks::BENCH,
    growth::BENCH,
    crowded::BENCH,
    latency::BENCH,
    soak::BENCH,
];

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
        match (bench.play)(&Stage::new(Some(&observer), &folder)?, plan) {
            // Whoever reads the rows takes them from here on for whole.
            Ok(()) => println!("measured {}", bench.name),
            Err(error) => {
                failed = true;
                println!("FAIL {}: {error:#}", bench.name);
            }
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

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn each_bench_has_its_part_of_the_document() {
        let document = include_str!("../../../docs/performance.md");
        for bench in ALL {
            let part = format!("\n## {0}\n", bench.name);
            assert!(document.contains(&part), "docs/performance.md says nothing of {}", bench.name);
            let part = format!("<!-- generated: {} -->", bench.name);
            assert!(
                document.contains(&part),
                "docs/performance.md has no place for the numbers of {}",
                bench.name
            );
        }
    }
}

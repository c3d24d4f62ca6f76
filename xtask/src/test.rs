//! `cargo xtask test`: everything, in the order in which it is likely to fail, closed by one line of counts.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::build;
use crate::kernels;
use crate::lab;
use crate::lint;
use crate::process;
use crate::progress::{seconds, stage, step};
use crate::results::{Outcome, Tally};
use crate::setup;
use crate::skips::ExpectedSkips;
use crate::tree::Tree;
use crate::unit;

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Leave out the tests in virtual machines
    #[arg(long)]
    no_vm: bool,
    /// Run no lints, only the tests and the scenarios of the lab whose name contains this
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
}

/// Runs `cargo xtask test`.
pub fn run(tree: &Tree, args: &Args) -> Result<ExitCode> {
    let started = Instant::now();
    let mut tally = Tally::new(ExpectedSkips::read(tree).unwrap_or_default());
    if staged(&mut tally, "set-up", "building", |_| setup::building(tree)) {
        if args.filter.is_none() {
            staged(&mut tally, "lint", "all", |tally| lint::all(tree, tally));
        }
        staged(&mut tally, "unit", "all", |tally| unit::run(tree, args.filter.as_deref(), tally));
        labs(tree, args, &mut tally);
    }
    step(format!("everything: {}", seconds(started.elapsed())));
    Ok(tally.close())
}

/// The lab needs static binaries: the same ones run on the host and in the machines.
fn labs(tree: &Tree, args: &Args, tally: &mut Tally) {
    if let Err(error) = stage("set-up: static binaries", || setup::static_binaries(tree)) {
        for place in ["host".to_owned(), vm()] {
            tally.record(&place, "lab", Outcome::Skipped(format!("{error:#}")));
        }
        return;
    }
    if !staged(tally, "build", "static binaries", |_| build::static_binaries(tree)) {
        return;
    }
    match lab::scenarios(tree, args.filter.as_deref()) {
        Ok(none) if none.is_empty() => step("no scenario of the lab has such a name"),
        Ok(scenarios) => {
            host_lab(tree, &scenarios, tally);
            vm_lab(tree, args, &scenarios, tally);
        }
        Err(error) => tally.record("build", "lab", Outcome::Failed(format!("{error:#}"))),
    }
}

fn host_lab(tree: &Tree, scenarios: &[String], tally: &mut Tally) {
    if process::is_root() {
        staged(tally, "host", "lab", |tally| lab::on_host(tree, scenarios, tally));
    } else {
        tally.record("host", "lab", Outcome::Skipped("it needs root: run `cargo xtask test` as root".into()));
    }
}

fn vm_lab(tree: &Tree, args: &Args, scenarios: &[String], tally: &mut Tally) {
    if args.no_vm {
        tally.record(&vm(), "lab", Outcome::Skipped("--no-vm was given".into()));
    } else if let Err(error) = stage("set-up: virtual machines", || setup::virtual_machines(tree)) {
        tally.record(&vm(), "lab", Outcome::Skipped(format!("{error:#}")));
    } else {
        staged(tally, &vm(), "lab", |tally| lab::in_vm(tree, kernels::DEFAULT, scenarios, tally));
    }
}

/// The name of the place where the machines' results come from.
fn vm() -> String {
    format!("vm-{}", kernels::DEFAULT)
}

/// Runs a stage; if it fails as a whole, that is one failure, and the rest goes on.
fn staged(tally: &mut Tally, place: &str, name: &str, work: impl FnOnce(&mut Tally) -> Result<()>) -> bool {
    let result = stage(&format!("{place}: {name}"), || work(tally));
    if let Err(error) = &result {
        tally.record(place, name, Outcome::Failed(format!("{error:#}")));
    }
    result.is_ok()
}

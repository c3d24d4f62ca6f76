//! `cargo xtask test`: everything, in the order in which it is likely to fail, closed by one line of counts.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::browser;
use crate::guard;
use crate::kernels;
use crate::lint;
use crate::matrix::Plan;
use crate::progress::{seconds, step};
use crate::results::Tally;
use crate::setup;
use crate::skips::ExpectedSkips;
use crate::tree::Tree;
use crate::unit;

/// Arguments of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Run the lab on every kernel: from 5.10 to the newest
    #[arg(long, conflicts_with_all = ["kernels", "no_vm"])]
    all_kernels: bool,
    /// Run the lab on this kernel instead of the usual ones; repeatable
    #[arg(long = "kernel", value_name = "NAME", value_parser = kernels::parse)]
    kernels: Vec<&'static str>,
    /// Leave out the tests in virtual machines
    #[arg(long)]
    no_vm: bool,
    /// Run nothing but the lab in virtual machines
    #[arg(long, conflicts_with = "no_vm")]
    only_vm: bool,
    /// Run nothing but the reports in a browser
    #[arg(long, conflicts_with_all = ["only_vm", "kernels", "all_kernels"])]
    only_browser: bool,
    /// Run no lints and no guard, only the tests and the scenarios of the lab whose name contains this
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
}

/// Runs `cargo xtask test`.
pub fn run(tree: &Tree, args: &Args) -> Result<ExitCode> {
    let started = Instant::now();
    let tally = Tally::new(ExpectedSkips::read(tree).unwrap_or_default());
    if tally.stage("set-up", "building", || setup::building(tree)) {
        let filter = args.filter.as_deref();
        let (tests, browser, lab) = (!args.only_vm && !args.only_browser, !args.only_vm, !args.only_browser);
        if tests && filter.is_none() {
            tally.stage("lint", "all", || lint::all(tree, &tally));
        }
        if tests {
            tally.stage("unit", "all", || unit::run(tree, filter, &tally));
        }
        if tests && filter.is_none() {
            tally.stage("guard", "all", || guard::check(tree, &tally));
        }
        if browser {
            tally.stage("browser", "all", || browser::run(tree, filter, &tally));
        }
        if lab {
            args.plan().run(tree, &tally);
        }
    }
    step(format!("everything: {}", seconds(started.elapsed())));
    Ok(tally.close())
}

impl Args {
    fn plan(&self) -> Plan<'_> {
        let otherwise = if self.all_kernels { kernels::all() } else { kernels::usual() };
        let kernels = kernels::chosen(&self.kernels, &otherwise);
        Plan { kernels, no_vm: self.no_vm, no_host: self.only_vm, filter: self.filter.as_deref() }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn kernels(words: &[&str]) -> Result<Vec<&'static str>> {
        Ok(Cli::try_parse_from([&["test"], words].concat())?.args.plan().kernels)
    }

    #[test]
    fn the_kernels_can_be_chosen() -> Result<()> {
        assert_eq!(kernels(&[])?, ["6.1", "6.12"]);
        assert_eq!(kernels(&["--all-kernels"])?, ["5.10", "6.1", "6.12", "7.x"]);
        assert_eq!(kernels(&["--kernel", "7.x", "--kernel", "5.10", "--kernel", "7.x"])?, ["5.10", "7.x"]);
        assert!(kernels(&["--kernel", "4.9"]).is_err());
        Ok(())
    }
}

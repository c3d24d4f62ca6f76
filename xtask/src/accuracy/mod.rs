//! `cargo xtask accuracy`: runs the lab everywhere and writes down how exact observer was and what its programs cost.

mod counts;
mod load;
mod measured;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

pub use self::counts::Count;
pub use self::load::Load;
pub use self::measured::{forget, keep_counts, keep_load};
use crate::document::replace;
use crate::kernels;
use crate::matrix::Plan;
use crate::place::Place;
use crate::progress::step;
use crate::results::Tally;
use crate::setup;
use crate::skips::ExpectedSkips;
use crate::tree::Tree;

/// The document, below the root of the repository.
const DOCUMENT: &str = "docs/accuracy.md";

/// Arguments of `cargo xtask accuracy`.
#[derive(clap::Args)]
pub struct Args {
    /// Run the lab on this kernel instead of all of them; repeatable. The others keep what their last run gave
    #[arg(long = "kernel", value_name = "NAME", value_parser = kernels::parse)]
    kernels: Vec<&'static str>,
    /// Run nothing: write down what the last complete runs gave, those of `cargo xtask test` included
    #[arg(long, conflicts_with = "kernels")]
    from_last_runs: bool,
}

/// Runs `cargo xtask accuracy`.
pub fn run(tree: &Tree, args: &Args) -> Result<ExitCode> {
    let tally = Tally::new(ExpectedSkips::read(tree)?);
    if !args.from_last_runs && tally.stage("set-up", "building", || setup::building(tree)) {
        let kernels = kernels::chosen(&args.kernels, &kernels::all());
        Plan { kernels, no_vm: false, no_host: false, filter: None }.run(tree, &tally);
    }
    tally.stage("docs", "accuracy", || rewrite(tree));
    Ok(tally.close())
}

/// Writes the generated parts of the document anew.
fn rewrite(tree: &Tree) -> Result<()> {
    let (mut counts, mut loads) = (Vec::new(), Vec::new());
    for place in places() {
        counts.push((place, measured::counts(tree, place)?));
        loads.push((place, measured::load(tree, place)?));
    }
    if !counts.iter().any(|(_, counts)| counts.as_ref().is_some_and(|counts| !counts.is_empty())) {
        bail!("no lab has run to its end and told a count: there is nothing to write into {DOCUMENT}");
    }
    let path = tree.root.join(DOCUMENT);
    let text = fs::read_to_string(&path).with_context(|| format!("{DOCUMENT} cannot be read"))?;
    let text = replace(&text, "counts", &counts::table(&counts))?;
    let text = replace(&text, "load", &load::table(&loads))?;
    fs::write(&path, text).with_context(|| format!("{DOCUMENT} cannot be written"))?;
    step(format!("{DOCUMENT} is rewritten"));
    Ok(())
}

/// The places that the tables show.
fn places() -> impl Iterator<Item = Place> {
    [Place::Host].into_iter().chain(kernels::all().into_iter().map(Place::Machine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_is_shown() {
        let names: Vec<_> = places().map(Place::short_name).collect();
        assert_eq!(names, ["host", "5.10", "6.1", "6.12", "7.x"]);
    }
}

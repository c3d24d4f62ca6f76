//! Builds the optimised binaries.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::process;
use crate::progress::stage;
use crate::setup;
use crate::toolchain;
use crate::tree::{MUSL, Tree};

/// Arguments of `cargo xtask build`.
#[derive(clap::Args)]
pub struct Args {
    /// Build observer and observer-lab statically, to run anywhere
    #[arg(long)]
    musl: bool,
}

/// Runs `cargo xtask build`.
pub fn run(tree: &Tree, args: &Args) -> Result<ExitCode> {
    stage("set-up", || setup::building(tree))?;
    let program = if args.musl {
        stage("set-up: static binaries", || setup::static_binaries(tree))?;
        stage("build, statically", || static_binaries(tree))?;
        tree.static_release("observer")
    } else {
        stage("build", || release(tree, &["observer"]))?;
        tree.release("observer")
    };
    println!("{}", program.display());
    Ok(ExitCode::SUCCESS)
}

/// Builds packages of the workspace for this host.
pub fn release(tree: &Tree, packages: &[&str]) -> Result<()> {
    compile(tree, packages, &[])
}

/// Builds what the lab runs, on this host and in virtual machines.
pub fn static_binaries(tree: &Tree) -> Result<()> {
    compile(tree, &["observer", "observer-lab"], &["--target", MUSL])
}

fn compile(tree: &Tree, packages: &[&str], options: &[&str]) -> Result<()> {
    let mut command = toolchain::cargo(tree)?;
    command.args(["build", "--release"]).args(options);
    for package in packages {
        command.args(["--package", package]);
    }
    process::run(&mut command).context("the build failed; the compiler's words are above")
}

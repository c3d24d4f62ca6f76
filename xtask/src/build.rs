//! Builds the optimised binaries.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use serde::Deserialize;

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

/// Built together, so that they share what they depend on.
const STATIC: &[&str] = &["observer", "observer-lab", "observer-guard"];

/// Builds what the lab runs, on this host and in virtual machines, and what the guard counts.
pub fn static_binaries(tree: &Tree) -> Result<()> {
    compile(tree, STATIC, &["--target", MUSL])
}

/// The kernel side that the static binaries were built with, which is built again if it has changed.
pub fn kernel_side(tree: &Tree) -> Result<PathBuf> {
    let mut command = command(tree, STATIC, &["--target", MUSL, "--quiet", "--message-format", "json"])?;
    let messages = process::read(&mut command)?;
    let mut scripts = messages.lines().filter_map(|line| serde_json::from_str::<BuildScript>(line).ok());
    let script = scripts.find(BuildScript::is_observers);
    Ok(script.context("cargo does not say where it built the kernel side")?.out_dir.join("observer-ebpf"))
}

/// What cargo says of a build script.
#[derive(Deserialize)]
struct BuildScript {
    package_id: String,
    out_dir: PathBuf,
}

impl BuildScript {
    fn is_observers(&self) -> bool {
        // `path+file:///somewhere/observer#0.1.0`
        self.package_id.rsplit('/').next().is_some_and(|name| name.starts_with("observer#"))
    }
}

fn compile(tree: &Tree, packages: &[&str], options: &[&str]) -> Result<()> {
    process::run(&mut command(tree, packages, options)?)
        .context("the build failed; the compiler's words are above")
}

fn command(tree: &Tree, packages: &[&str], options: &[&str]) -> Result<Command> {
    let mut command = toolchain::cargo(tree)?;
    command.args(["build", "--release"]).args(options);
    for package in packages {
        command.args(["--package", package]);
    }
    Ok(command)
}

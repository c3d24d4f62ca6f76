//! Installs what is missing, in parts that can fail on their own: building, HTTP clients, static binaries, Prometheus,
//! instruction counts, machines, browser.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::bpf_linker;
use crate::browser;
use crate::kernels;
use crate::packages;
use crate::progress::{stage, step};
use crate::prometheus;
use crate::toolchain::Toolchain;
use crate::tree::Tree;

/// Runs `cargo xtask setup`.
pub fn run(tree: &Tree) -> Result<ExitCode> {
    stage("set-up: building", || building(tree))?;
    for (title, part) in [
        ("set-up: HTTP clients", http_clients as fn(&Tree) -> Result<()>),
        ("set-up: static binaries", static_binaries),
        ("set-up: Prometheus", prometheus::ensure),
        ("set-up: instruction counts", instruction_counts),
        ("set-up: virtual machines", virtual_machines),
        ("set-up: browser", browser::ensure),
    ] {
        if let Err(error) = stage(title, || part(tree)) {
            step(format!("the tests that need this cannot run: {error:#}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What `cargo xtask build` and `cargo xtask demo` need.
pub fn building(tree: &Tree) -> Result<()> {
    let toolchain = Toolchain::inspect(tree)?;
    toolchain.ensure_components()?;
    bpf_linker::ensure(tree, &toolchain)
}

/// What the tests of the HTTP server need.
pub fn http_clients(_: &Tree) -> Result<()> {
    packages::ensure(packages::HTTP_CLIENTS).context("the HTTP server cannot be asked here")
}

/// What static binaries need on top of that.
pub fn static_binaries(tree: &Tree) -> Result<()> {
    Toolchain::inspect(tree)?.ensure_musl()?;
    packages::ensure(packages::STATIC_BUILD).context("static binaries cannot be built here")
}

/// What `cargo xtask guard` needs.
pub fn instruction_counts(_: &Tree) -> Result<()> {
    packages::ensure(packages::INSTRUCTION_COUNTS).context("instructions cannot be counted here")
}

/// What the tests in virtual machines need.
pub fn virtual_machines(tree: &Tree) -> Result<()> {
    packages::ensure(packages::VIRTUAL_MACHINE).context("virtual machines cannot be started here")?;
    for kernel in kernels::usual() {
        kernels::ensure(tree, kernel)?;
    }
    Ok(())
}

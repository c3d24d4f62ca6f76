//! `cargo xtask`: everything around observer that is not observer. Set-up, build, kernels, virtual machines,
//! lints, tests and the demo. This file parses and dispatches; each subject has a file of its own.

mod accuracy;
mod apt;
mod bench;
mod bpf_linker;
mod browser;
mod build;
mod cpio;
mod demo;
mod doctor;
mod document;
mod elf;
mod guard;
mod initramfs;
mod kernels;
mod lab;
mod lint;
mod matrix;
mod mirrors;
mod modules;
mod packages;
mod pictures;
mod place;
mod process;
mod progress;
mod prometheus;
mod results;
mod rust_files;
mod setup;
mod skips;
mod test;
mod toolchain;
mod tree;
mod unit;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::tree::Tree;

/// Set-up, build, demo and tests of observer.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing to build and test: Rust components, bpf-linker, and what the HTTP, Prometheus, VM and browser
    /// tests need.
    Setup,
    /// Build the optimised binary: target/release/observer.
    Build(build::Args),
    /// Start a service with a small accept queue, overload it, and watch observer name the fault line.
    Demo,
    /// Run everything: lints, unit and property tests, reports in a browser, the lab on this host and in virtual
    /// machines.
    Test(test::Args),
    /// Run the lab on every kernel and write the numbers into docs/accuracy.md.
    Accuracy(accuracy::Args),
    /// Measure what observing costs, on and off in turns, and write it into docs/performance.md.
    Bench(bench::Args),
    /// Count the instructions of the engine and of the kernel side, and the memory of its maps, and hold them against
    /// tests/guard.toml; with OBSERVER_BLESS=1 write it anew.
    Guard,
    /// Make the pictures that README shows anew: docs/pictures.
    Pictures,
    /// Check formatting, clippy, the purity of observer/src/core, machine paths, skips, pictures and licences.
    Lint,
    /// Fetch and unpack the kernels that the virtual machines boot.
    Kernels(kernels::Args),
    /// Run one command in a virtual machine under another kernel.
    Vm(vm::Args),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse()) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let tree = Tree::find()?;
    match cli.command {
        Command::Setup => setup::run(&tree),
        Command::Build(args) => build::run(&tree, &args),
        Command::Demo => demo::run(&tree),
        Command::Test(args) => test::run(&tree, &args),
        Command::Accuracy(args) => accuracy::run(&tree, &args),
        Command::Bench(args) => bench::run(&tree, &args),
        Command::Guard => guard::run(&tree),
        Command::Pictures => pictures::run(&tree),
        Command::Lint => lint::run(&tree),
        Command::Kernels(args) => kernels::run(&tree, &args),
        Command::Vm(args) => vm::run(&tree, &args),
    }
}

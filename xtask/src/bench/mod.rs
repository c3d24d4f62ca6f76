//! `cargo xtask bench`: measures what observing costs on this host and in virtual machines, beside the budgets and
//! beside what one would use instead, and writes it down.
//!
//! Each bench has its part of the document, and what is measured anew replaces that part alone.
//!
//! - [`row`] is what the lab prints, [`tables`] and [`growth`] what the document has of it, [`chart`] draws.

mod chart;
mod growth;
mod measured;
mod row;
mod tables;

use std::fs;
use std::ops::ControlFlow;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use self::measured::Measured;
use self::row::Row;
use crate::build;
use crate::document::replace;
use crate::kernels;
use crate::packages;
use crate::place::Place;
use crate::process::{self, Ending};
use crate::progress::{stage, step};
use crate::setup;
use crate::tree::Tree;
use crate::vm::{Machine, Time};

/// The document, below the root of the repository.
const DOCUMENT: &str = "docs/performance.md";
/// What takes as long however many turns there are, and what a turn of all takes beside its length and in multiples of
/// it: twice of what it took, since it is only there to end what hangs.
const LIMIT: Duration = Duration::from_secs(90 * 60);
const LIMIT_OF_ROUND: Duration = Duration::from_secs(10 * 60);
const TURNS_OF_ROUND: u64 = 200;
/// What is measured in virtual machines: programs at the exits of functions are not on every host.
const IN_MACHINES: &str = "programs";

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    /// What to measure, by the names that docs/performance.md has; everything where nothing is named
    names: Vec<String>,
    /// Turns of each; more of them narrow the spread
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Length of a turn in seconds
    #[arg(long, value_name = "S", default_value_t = 4)]
    seconds: u64,
    /// Length of the soak in minutes
    #[arg(long, value_name = "MIN", default_value_t = 60)]
    soak_minutes: u64,
    /// Take the time of the programs on this kernel as well, in a virtual machine; repeatable. Where nothing is named, it
    /// is done on the usual ones
    #[arg(long = "kernel", value_name = "NAME", value_parser = kernels::parse)]
    kernels: Vec<&'static str>,
    /// Leave out the virtual machines
    #[arg(long, conflicts_with = "kernels")]
    no_vm: bool,
    /// Leave out this host
    #[arg(long, conflicts_with = "no_vm")]
    only_vm: bool,
}

/// Runs `cargo xtask bench`; the exit status is 1 where something could not be measured or a budget surely does not hold.
pub fn run(tree: &Tree, args: &Args) -> Result<ExitCode> {
    stage("set-up", || setup::building(tree))?;
    let machine = machine(tree, args)?;
    let mut measured = Measured::default();
    let host = if args.only_vm { Ok(()) } else { on_host(tree, args, &mut measured) };
    let ending = host.and_then(|()| in_machines(tree, args, &mut measured));
    // What was measured is not to be lost because something else could not be.
    let rows = measured.whole();
    write(tree, &machine, &rows)?;
    ending?;
    let broken: Vec<&Row> = rows.iter().filter(|row| row.breaks_its_budget()).collect();
    for row in &broken {
        step(format!("over budget: {}, {}: {}", row.what, row.told_with(), row.measured()));
    }
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn on_host(tree: &Tree, args: &Args, measured: &mut Measured) -> Result<()> {
    stage("build", || build::release(tree, &["observer", "observer-lab"]))?;
    let [lab, observer] = ["observer-lab", "observer"].map(|name| tree.release(name).display().to_string());
    let mut command = Command::new(lab);
    command.args(options(args, &observer)).args(&args.names);
    let limit = limit(args)? + Duration::from_secs(args.soak_minutes * 60);
    let ending = process::stream(&mut command, limit, |line| {
        measured.take(line, |row| row);
        ControlFlow::Continue(())
    })?;
    match ending {
        Ending::Exited(status) if status.success() => Ok(()),
        Ending::Exited(status) => bail!("the measuring ended with {status}"),
        _ => bail!("the measuring did not end within {} minutes", limit.as_secs() / 60),
    }
}

/// After how long what is measured in turns hangs.
fn limit(args: &Args) -> Result<Duration> {
    let of_round = LIMIT_OF_ROUND + Duration::from_secs(TURNS_OF_ROUND * args.seconds);
    Ok(LIMIT + of_round * u32::try_from(args.rounds)?)
}

fn in_machines(tree: &Tree, args: &Args, measured: &mut Measured) -> Result<()> {
    let kernels = args.machines();
    if kernels.is_empty() {
        return Ok(());
    }
    stage("set-up: virtual machines", || {
        packages::ensure(packages::VIRTUAL_MACHINE)?;
        setup::static_binaries(tree)
    })?;
    stage("build, statically", || build::static_binaries(tree))?;
    for kernel in kernels {
        let place = Place::Machine(kernel);
        let [lab, observer] = ["observer-lab", "observer"].map(|name| place.program(tree, name));
        let command: Vec<String> =
            [vec![lab], options(args, &observer), vec![IN_MACHINES.to_owned()]].concat();
        step(format!("Linux {kernel}, emulated: a nanosecond is an instruction"));
        let limit = limit(args)?;
        let machine = Machine { kernel, limit, time: Time::Instructions, modules: &[], fetch: &[] };
        let status = machine.run(tree, &command, |line| measured.take(line, |row| row.of_machine(kernel)))?;
        if status != 0 {
            bail!("the measuring on Linux {kernel} ended with {status}");
        }
    }
    Ok(())
}

/// Subcommand and options of the lab.
fn options(args: &Args, observer: &str) -> Vec<String> {
    let numbers = [
        ("--rounds", args.rounds.to_string()),
        ("--seconds", args.seconds.to_string()),
        ("--soak-minutes", args.soak_minutes.to_string()),
    ];
    let numbers = numbers.into_iter().flat_map(|(option, number)| [option.to_owned(), number]);
    ["bench", "--observer", observer].map(str::to_owned).into_iter().chain(numbers).collect()
}

impl Args {
    /// The kernels to boot.
    fn machines(&self) -> Vec<&'static str> {
        let of_everything = self.names.is_empty() && !self.no_vm;
        let otherwise = if of_everything || self.only_vm { kernels::usual() } else { Vec::new() };
        kernels::chosen(&self.kernels, &otherwise)
    }
}

/// Writes the parts of the document that were measured, each with where and how; the others stay.
fn write(tree: &Tree, machine: &str, rows: &[Row]) -> Result<()> {
    let path = tree.root.join(DOCUMENT);
    let mut text = fs::read_to_string(&path).with_context(|| format!("{DOCUMENT} cannot be read"))?;
    for bench in tables::benches(rows) {
        let pictures = if bench == growth::BENCH { growth::draw(tree, rows)? } else { String::new() };
        let part = format!("{machine}\n\n{}{pictures}", tables::table(bench, rows));
        text = replace(&text, bench, &part).context(DOCUMENT)?;
        step(format!("{DOCUMENT}: {bench} is rewritten"));
    }
    fs::write(&path, text).with_context(|| format!("{DOCUMENT} cannot be written"))
}

/// Where and how it was measured.
fn machine(tree: &Tree, args: &Args) -> Result<String> {
    let info = fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo cannot be read")?;
    let of_cpus = |key: &str| {
        let lines = info.lines().filter_map(|line| line.split_once(':'));
        lines
            .filter(|(name, _)| name.trim() == key)
            .map(|(_, value)| value.trim().to_owned())
            .collect::<Vec<_>>()
    };
    let (cpus, models) = (of_cpus("processor").len(), of_cpus("model name"));
    let kernel =
        fs::read_to_string("/proc/sys/kernel/osrelease").context("the kernel does not say its name")?;
    let version = kernel.trim().split('-').next().unwrap_or_default();
    let described =
        process::read(Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(&tree.root));
    let commit = described.unwrap_or_else(|_| "commit unknown".to_owned());
    Ok(format!(
        "Observer {} ({}) on {cpus} CPUs ({}), Linux {version}: `--rounds {} --seconds {} --soak-minutes {}`.",
        env!("CARGO_PKG_VERSION"),
        commit.trim(),
        models.first().map_or("unknown", String::as_str),
        args.rounds,
        args.seconds,
        args.soak_minutes,
    ))
}

//! `cargo xtask bench`: measures what observing costs on this host, beside the budgets and beside what one would use
//! instead, and writes it down.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::ops::ControlFlow;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::build;
use crate::document::replace;
use crate::process::{self, Ending};
use crate::progress::{stage, step};
use crate::setup;
use crate::tree::Tree;

/// The document, below the root of the repository.
const DOCUMENT: &str = "docs/performance.md";
/// Everything, with many turns.
const LIMIT: Duration = Duration::from_secs(2 * 60 * 60);

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    /// What to measure: requests, loops, programs, user_space, growth, latency; everything where nothing is named
    names: Vec<String>,
    /// Turns of each; more of them narrow the spread
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of a turn in seconds
    #[arg(long, value_name = "S", default_value_t = 4)]
    seconds: u64,
}

/// A number that the lab measured.
#[derive(Debug, Deserialize)]
struct Row {
    bench: String,
    what: String,
    with: String,
    unit: String,
    value: f64,
    low: Option<f64>,
    high: Option<f64>,
    budget: Option<Budget>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Budget {
    AtLeast(f64),
    AtMost(f64),
}

/// Runs `cargo xtask bench`; the exit status is 1 where something could not be measured or a budget does not hold.
pub fn run(tree: &Tree, args: &Args) -> Result<ExitCode> {
    stage("set-up", || setup::building(tree))?;
    stage("build", || build::release(tree, &["observer", "observer-lab"]))?;
    let mut rows: Vec<Row> = Vec::new();
    let ending = process::stream(&mut lab(tree, args), LIMIT, |line| {
        match line.strip_prefix("row ").and_then(|json| serde_json::from_str(json).ok()) {
            Some(row) => rows.push(row),
            None => step(line),
        }
        ControlFlow::Continue(())
    })?;
    let broken: Vec<&Row> = rows.iter().filter(|row| !row.keeps_its_budget()).collect();
    for row in &broken {
        step(format!("over budget: {}, {}: {}", row.what, row.with, row.measured()));
    }
    let all_kept = broken.is_empty();
    match ending {
        // A document of some of it would pass for all of it.
        Ending::Exited(status) if status.success() && args.names.is_empty() => write(tree, args, &rows)?,
        Ending::Exited(status) if status.success() => {}
        Ending::Exited(status) => bail!("the measuring ended with {status}"),
        _ => bail!("the measuring did not end within {} minutes", LIMIT.as_secs() / 60),
    }
    Ok(if all_kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn lab(tree: &Tree, args: &Args) -> Command {
    let mut command = Command::new(tree.release("observer-lab"));
    command.arg("bench").args(&args.names).arg("--observer").arg(tree.release("observer"));
    command.args(["--rounds", &args.rounds.to_string(), "--seconds", &args.seconds.to_string()]);
    command
}

fn write(tree: &Tree, args: &Args, rows: &[Row]) -> Result<()> {
    let path = tree.root.join(DOCUMENT);
    let text = fs::read_to_string(&path).with_context(|| format!("{DOCUMENT} cannot be read"))?;
    let text =
        replace(&text, "machine", &machine(args)?).and_then(|text| replace(&text, "measured", &tables(rows)));
    fs::write(&path, text.context(DOCUMENT)?).with_context(|| format!("{DOCUMENT} cannot be written"))?;
    step(format!("{DOCUMENT} is rewritten"));
    Ok(())
}

/// Where and how it was measured.
fn machine(args: &Args) -> Result<String> {
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
    Ok(format!(
        "`cargo xtask bench --rounds {} --seconds {}` on {cpus} CPUs ({}), Linux {version}.",
        args.rounds,
        args.seconds,
        models.first().map_or("unknown", String::as_str),
    ))
}

/// A table per bench, in the order in which they came.
fn tables(rows: &[Row]) -> String {
    let mut seen = BTreeSet::new();
    let mut text = String::new();
    for row in rows {
        if seen.insert(&row.bench) {
            let _ = write!(
                text,
                "\n### {}\n\n| what | with | measured | budget |\n|---|---|---|---|\n",
                row.bench
            );
        }
        let _ =
            writeln!(text, "| {} | {} | {} | {} |", row.what, row.with, row.measured(), row.told_budget());
    }
    text
}

impl Row {
    fn keeps_its_budget(&self) -> bool {
        self.budget.is_none_or(|budget| match budget {
            Budget::AtLeast(bound) => self.value >= bound,
            Budget::AtMost(bound) => self.value <= bound,
        })
    }

    fn measured(&self) -> String {
        let spread = match (self.low, self.high) {
            (Some(low), Some(high)) => format!(" ({} to {})", digits(low), digits(high)),
            _ => String::new(),
        };
        format!("{}{spread} {}", digits(self.value), self.unit)
    }

    fn told_budget(&self) -> String {
        let holds = if self.keeps_its_budget() { "holds" } else { "**does not hold**" };
        match self.budget {
            None => String::new(),
            Some(Budget::AtLeast(bound)) => format!("at least {}: {holds}", digits(bound)),
            Some(Budget::AtMost(bound)) => format!("at most {}: {holds}", digits(bound)),
        }
    }
}

/// As many digits as mean something.
fn digits(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => {
            let text = format!("{value:.4}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(budget: &str) -> Row {
        let json = format!(
            r#"{{"bench":"requests","what":"p99","with":"observer","unit":"on/off","value":1.013,
                "low":0.99,"high":1.1,"budget":{budget}}}"#
        );
        serde_json::from_str(&json).expect("a row as the lab prints it")
    }

    #[test]
    fn a_number_stands_beside_its_budget() {
        let kept = row(r#"{"at_most":1.02}"#);
        assert!(kept.keeps_its_budget());
        let expected = "\n### requests\n\n| what | with | measured | budget |\n|---|---|---|---|\n\
                        | p99 | observer | 1.013 (0.99 to 1.1) on/off | at most 1.02: holds |\n\
                        | p99 | observer | 1.013 (0.99 to 1.1) on/off |  |\n";
        assert_eq!(tables(&[kept, row("null")]), expected);
        let broken = row(r#"{"at_least":1.02}"#);
        assert!(!broken.keeps_its_budget());
        assert_eq!(broken.told_budget(), "at least 1.02: **does not hold**");
    }
}

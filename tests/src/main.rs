//! The lab's command line: parse, do, exit status.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use clap::Parser;
use observer_lab::{
    bench, children, cleanup,
    cli::{Cli, Task},
    demo, runner, scenarios,
};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match perform(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("observer-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(cli: &Cli) -> Result<ExitCode> {
    if let Some(lab) = cli.lab {
        // SAFETY: arguments were parsed, and nothing else has been done in this process.
        unsafe { children::close_inherited() }?;
        children::die_with(lab)?;
    }
    match &cli.task {
        Task::Role(role) => role.play().map(|()| ExitCode::SUCCESS),
        Task::List => {
            for scenario in scenarios::ALL {
                println!("{:<22} {}", scenario.name, scenario.about);
            }
            Ok(ExitCode::SUCCESS)
        }
        Task::Run { scenarios, observer, keep } => {
            cleanup::on_signals()?;
            runner::run(scenarios, Some(observer), keep.as_deref())
        }
        Task::Provoke { scenarios } => {
            cleanup::on_signals()?;
            runner::run(scenarios, None, None)
        }
        Task::Bench { names, observer, rounds, seconds, soak_minutes } => {
            cleanup::on_signals()?;
            let plan = bench::Plan {
                rounds: (*rounds).max(1),
                turn: Duration::from_secs((*seconds).max(1)),
                soak: Duration::from_secs((*soak_minutes).max(1) * 60),
            };
            bench::run(names, observer, &plan)
        }
        Task::Demo { observer } => {
            cleanup::on_signals()?;
            demo::show(observer)
        }
    }
}

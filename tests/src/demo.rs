//! The demonstration: a real service with a small accept queue, a real load that grows until the queue
//! overflows, and what observer says about it.

use std::{
    path::Path,
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::unistd::geteuid;

use crate::{
    children::Running,
    roles::{Role, load::Load, serve::Serve},
    runner::workshop,
    stage::Stage,
    verdict::Verdict,
};

const PORT: u16 = 8080;
const BACKLOG: u16 = 16;
const THREADS: u16 = 4;
const WORK_MS: u64 = 5;
const CLIENTS: u32 = 48;
const RAMP_MS: u64 = 7000;
const LOAD_MS: u64 = 8500;
const DEADLINE: Duration = Duration::from_secs(60);
/// What is going to break.
const BREAKS: &str = "accept_queue_overflow";

/// Shows observer at work; fails when it does not find what breaks.
pub fn show(observer: &Path) -> Result<ExitCode> {
    ensure!(
        geteuid().is_root(),
        "the demo needs root, for a network namespace of its own and for the probes"
    );
    let (folder, _guard) = workshop(None)?;
    let stage = Stage::new(None, &folder)?;
    println!("demo: a service on 127.0.0.1:{PORT}, in a network namespace of its own");
    println!("  {THREADS} threads, {WORK_MS} ms per request, an accept queue of {BACKLOG}");
    let service = stage.serve(
        "service",
        Serve { backlog: BACKLOG, threads: THREADS, work_ms: WORK_MS, ..Serve::on(PORT) },
    )?;
    println!("demo: up to {CLIENTS} clients, one connection per request, under `observer run`");
    let recording = folder.join("demo.observer");
    let load = Role::Load(Load {
        netns_of: Some(service.pid),
        workers: CLIENTS,
        ramp_ms: RAMP_MS,
        think_ms: 0,
        for_ms: LOAD_MS,
        orders: false,
        progress: true,
        ..Load::to(service.address())
    });
    let mut command = Command::new(observer);
    command.args(["run", "--settle", "1s", "--format", "text", "--record"]).arg(&recording);
    command.arg("--").args(stage.role_args(&load)?);
    let status = Running::start_as_is("observer", command)?.wait(DEADLINE)?;
    ensure!(status.success(), "observer run ended with {status}");

    let json = Command::new(observer)
        .arg("report")
        .arg(&recording)
        .args(["--format", "json"])
        .output()
        .context("cannot start observer report")?;
    let verdict = Verdict::parse(&json.stdout).context("the verdict of the recording")?;
    let first = verdict.first.as_ref().map(|hit| hit.fault_line.as_str());
    ensure!(first == Some(BREAKS), "observer was to name {BREAKS}, and named {first:?}");
    Ok(ExitCode::SUCCESS)
}

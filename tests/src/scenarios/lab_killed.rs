//! A lab that is killed in the middle of a scenario takes all its processes with it; what it cannot take, its
//! cgroups and its folder, the next lab removes when it starts.

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use nix::sys::signal::Signal;

use super::Scenario;
use crate::{
    cgroup,
    check::Ending,
    children::Running,
    cleanup,
    runner::WORKSHOP,
    stage::{PATIENCE, Stage},
};

pub const SCENARIO: Scenario = Scenario {
    name: "lab_killed",
    about: "a lab that is killed leaves no process, and the next one removes its cgroups and files",
    play,
};

/// What the lab does that is killed: it has a service in a cgroup, and a load.
const SCENARIO_OF_IT: &str = "cpu_throttling";
const PROCESSES_OF_IT: usize = 2;
const DEADLINE: Duration = Duration::from_secs(60);
const PERIOD: Duration = Duration::from_millis(10);

fn play(stage: &Stage) -> Result<Ending> {
    let folders = stage.folder().join("tmp");
    fs::create_dir_all(&folders)?;
    let mut command = Command::new(stage.lab());
    command.args(["provoke", SCENARIO_OF_IT]).env("TMPDIR", &folders);
    let mut lab = Running::start("killed-lab", command, stage.folder())?;
    wait_until("the lab has not started its processes", || Ok(processes_of(lab.pid()) == PROCESSES_OF_IT))?;
    lab.signal(Signal::SIGKILL)?;
    lab.wait(DEADLINE)?;
    wait_until("processes of a killed lab live on", || Ok(processes_of(lab.pid()) == 0))?;

    let folder = folders.join(format!("{WORKSHOP}{}", lab.pid()));
    let cgroups = cgroup::of_lab(lab.pid())?;
    println!("  truth a killed lab left {cgroups:?} and {}", folder.display());
    ensure!(!cgroups.is_empty() && folder.exists(), "nothing was left behind that could be swept up");
    cleanup::sweep(&folders, WORKSHOP)?;
    ensure!(cgroup::of_lab(lab.pid())?.is_empty(), "its cgroups are still there");
    ensure!(!folder.exists(), "its folder is still there");
    Ok(Ending::Ok)
}

/// How many processes say that they belong to a lab.
fn processes_of(lab: u32) -> usize {
    let option = format!("--lab={lab}");
    let says_so = |path: &Path| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == option.as_bytes())
    };
    fs::read_dir("/proc").into_iter().flatten().flatten().filter(|entry| says_so(&entry.path())).count()
}

fn wait_until(otherwise: &str, condition: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition()? {
        if Instant::now() > deadline {
            bail!("{otherwise} after {PATIENCE:?}");
        }
        thread::sleep(PERIOD);
    }
    Ok(())
}

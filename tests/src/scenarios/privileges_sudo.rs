//! Under sudo: the command is the caller's own, what takes root's rights for that has gone afterwards, and what
//! stays is enough to record into the caller's folder and to pass signals on to another user's process.

use std::{fs, os::unix::fs::chown, process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use super::{Scenario, privileges::Rights};
use crate::{
    check::Ending,
    children::Running,
    report::Report,
    roles::{Role, await_signal::AwaitSignal},
    stage::Stage,
};

pub const SCENARIO: Scenario = Scenario {
    name: "privileges_sudo",
    about: "under sudo the command has the caller's rights, is sent signals, and the caller's folder takes the recording",
    play,
};

/// Nobody, by custom.
const NOBODY: u32 = 65534;
const DEADLINE: Duration = Duration::from_secs(60);

fn play(stage: &Stage) -> Result<Ending> {
    let Some(observer) = stage.observer() else {
        return Ok(Ending::Skip("needs an observer".into()));
    };
    // One's own: root without CAP_DAC_OVERRIDE may not write there.
    let home = stage.folder().join("home");
    fs::create_dir(&home)?;
    chown(&home, Some(NOBODY), Some(NOBODY)).context("cannot give a folder away (needs root)")?;
    let (recording, report) = (home.join("run.observer"), home.join("signals"));
    let role = Role::AwaitSignal(AwaitSignal { report: Some(report.clone()) });
    let mut command = Command::new(observer);
    command.args(["run", "--settle", "0s", "--format", "json", "--output"]).arg(stage.verdict_path());
    command.arg("--record").arg(&recording).arg("--").args(stage.role_args(&role)?);
    command.envs([("SUDO_UID", NOBODY.to_string()), ("SUDO_GID", NOBODY.to_string())]);
    let mut running = Running::start("observer", command, stage.folder())?;
    let Report::Ready { pid, .. } = running.report().context("the command did not start")? else {
        bail!("the command did not begin with a report")
    };
    let rights = Rights::of(&format!("/proc/{pid}/status"))?;
    println!("  the command: user {}, {:016x} permitted", rights.user, rights.permitted);
    ensure!((rights.user, rights.permitted) == (NOBODY, 0), "the command has the rights {rights:x?}");
    ensure!(rights.no_new_privileges == 0, "the command could not use sudo itself");
    running.signal(Signal::SIGTERM)?;
    let status = running.wait(DEADLINE)?;
    ensure!(status.success(), "the command ended well, observer with {status}");
    let Report::Signals(signals) = serde_json::from_slice(&fs::read(&report)?)? else {
        bail!("not a count of signals")
    };
    ensure!(signals == [Signal::SIGTERM as i32], "the command caught {signals:?}, not SIGTERM once");
    let left: Vec<_> = fs::read_dir(&home)?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    ensure!(left.len() == 2, "beside the recording and the report there is more: {left:?}");
    let judged = Command::new(observer).arg("report").arg(&recording).output()?;
    ensure!(judged.status.success(), "the recording cannot be judged: {judged:?}");
    Ok(Ending::Ok)
}

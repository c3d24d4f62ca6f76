//! The exit status of `observer run` is the command's, or says what went wrong; its output is the command's
//! alone.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};

use super::PORT;
use crate::{
    check::Ending,
    children::Running,
    roles::{
        Role,
        exit::{Exit, OUTPUT},
        ports::Ports,
        serve::Serve,
    },
    scenarios::Scenario,
    stage::{Service, Stage},
    verdict::Verdict,
};

pub const SCENARIO: Scenario = Scenario {
    name: "exit_status",
    about: "the exit status of run: the command's, 128+n, 125, 126, 127, and 3 for --fail-on",
    play,
};

const DEADLINE: Duration = Duration::from_secs(60);
const RANGE: &str = "net/ipv4/ip_local_port_range=40000 40009";

/// One way to call `observer run`.
struct Case {
    name: &'static str,
    options: &'static [&'static str],
    command: Vec<String>,
    status: i32,
    /// Whether the command is to run: then its line is the whole output.
    runs: bool,
}

fn play(stage: &Stage) -> Result<Ending> {
    let Some(observer) = stage.observer() else {
        return Ok(Ending::Skip("needs an observer".into()));
    };
    let service =
        stage.serve("service", Serve { hold: true, sysctl: vec![RANGE.to_owned()], ..Serve::on(PORT) })?;
    // One after the other: emulated processors do not always survive that several observers patch the
    // kernel at the same time.
    for case in cases(stage, &service)? {
        case.play(stage, observer).with_context(|| format!("case {}", case.name))?;
    }
    Ok(Ending::Ok)
}

fn cases(stage: &Stage, service: &Service) -> Result<Vec<Case>> {
    let exit = |status, signal| stage.role_args(&Role::Exit(Exit { status, signal }));
    let plain_file = stage.folder().join("not-executable");
    fs::write(&plain_file, "not a program")?;
    let exhaust =
        Role::Ports(Ports { netns_of: Some(service.pid), no_orders: true, ..Ports::to(service.address()) });
    let case = |name, options, command, status, runs| Case { name, options, command, status, runs };
    Ok(vec![
        case("status", &[], exit(Some(7), None)?, 7, true),
        case("signal", &[], exit(None, Some(libc::SIGTERM))?, 128 + libc::SIGTERM, true),
        case("not-found", &[], vec!["/nonexistent/command".into()], 127, false),
        case("not-executable", &[], vec![plain_file.to_string_lossy().into_owned()], 126, false),
        case("bad-option", &["--no-such-option"], exit(Some(0), None)?, 125, false),
        case("bad-duration", &["--settle", "soon"], exit(Some(0), None)?, 125, false),
        case("bad-output", &["--output", "/nonexistent/folder/verdict"], exit(Some(0), None)?, 125, false),
        case("fail-on-hit", &["--fail-on", "hit"], stage.role_args(&exhaust)?, 3, false),
        case("fail-on-no-hit", &["--fail-on", "hit"], exit(Some(0), None)?, 0, true),
    ])
}

impl Case {
    fn play(&self, stage: &Stage, observer: &Path) -> Result<()> {
        let verdict = stage.folder().join(format!("{}.json", self.name));
        let mut command = Command::new(observer);
        command.args(["run", "--settle", "0s", "--format", "json", "--output"]).arg(&verdict);
        command.args(self.options).arg("--").args(&self.command);
        let mut running = Running::start(self.name, command, stage.folder())?;
        let status = running.wait(DEADLINE)?;
        println!("  case {}: {status}", self.name);
        ensure!(status.code() == Some(self.status), "{status}, not exit status {}", self.status);
        if self.runs {
            let output = running.rest()?;
            ensure!(output == [OUTPUT], "the output is not the command's alone: {output:?}");
            let said = Verdict::read(&verdict)?.run.exit_status;
            ensure!(said == Some(self.status), "the verdict says exit status {said:?}");
        }
        Ok(())
    }
}

//! Runs scenarios one after the other and says how each went.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, ExitCode},
};

use anyhow::{Context, Result, bail};

use crate::{
    check::Ending,
    cleanup::{self, Guard},
    scenarios::{self, Scenario},
    stage::Stage,
};

/// How the name of a lab's folder begins; its process id follows.
pub const WORKSHOP: &str = "observer-lab-";
/// How much of a process's error output is shown after a failure.
const STDERR_LINES: usize = 8;

/// Runs the named scenarios; without an observer the faults are only provoked.
pub fn run(names: &[String], observer: Option<&Path>, keep: Option<&Path>) -> Result<ExitCode> {
    let chosen = choose(names)?;
    let observer = observer.map(fs::canonicalize).transpose().context("cannot find observer")?;
    let (folder, _guard) = workshop(keep)?;
    let mut failed = false;
    for scenario in chosen {
        let folder = folder.join(scenario.name);
        match play(scenario, observer.as_deref(), &folder) {
            Ok(Ending::Ok) => println!("ok {}", scenario.name),
            Ok(Ending::Skip(why)) => println!("skip {}: {}", scenario.name, one_line(&why)),
            Err(error) => {
                failed = true;
                print_errors(&folder);
                println!("FAIL {}: {}", scenario.name, one_line(&format!("{error:#}")));
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The folder for everything that is written, and the guard that removes it unless it is to be kept.
pub fn workshop(keep: Option<&Path>) -> Result<(PathBuf, Option<Guard>)> {
    cleanup::sweep(&env::temp_dir(), WORKSHOP)?;
    let folder = match keep {
        Some(folder) => folder.to_owned(),
        None => env::temp_dir().join(format!("{WORKSHOP}{}", process::id())),
    };
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let guard = keep.is_none().then(|| Guard::folder(&folder));
    Ok((fs::canonicalize(&folder)?, guard))
}

fn choose(names: &[String]) -> Result<Vec<&'static Scenario>> {
    if names.iter().any(|name| name == "all") {
        return Ok(scenarios::ALL.iter().collect());
    }
    let find = |name: &String| match scenarios::ALL.iter().find(|scenario| scenario.name == name) {
        Some(scenario) => Ok(scenario),
        None => bail!("there is no scenario {name:?}; `observer-lab list` shows them"),
    };
    names.iter().map(find).collect()
}

fn play(scenario: &Scenario, observer: Option<&Path>, folder: &Path) -> Result<Ending> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    println!("  {}: {}", scenario.name, scenario.about);
    (scenario.play)(&Stage::new(observer, folder)?)
}

/// A reason is one line, whatever was said.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn print_errors(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "stderr") {
            let text = fs::read(&path).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<_> = text.lines().collect();
            for line in &lines[lines.len().saturating_sub(STDERR_LINES)..] {
                println!("  {} | {line}", entry.file_name().to_string_lossy());
            }
        }
    }
}

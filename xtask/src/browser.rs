//! Opens HTML reports in a real browser: Chromium from Debian, driven by playwright-core, examined by axe-core.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::lab;
use crate::matrix::skipped;
use crate::packages;
use crate::process::{self, Ending};
use crate::progress::step;
use crate::results::Tally;
use crate::toolchain;
use crate::tree::Tree;

const PLACE: &str = "browser";

/// All pages; each test opens several windows.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// The test, and the list of the modules that it needs, below the root of the repository.
const TEST: &str = "tests/browser/report.mjs";
const MANIFEST: &str = "tests/browser/package.json";
const LOCK: &str = "tests/browser/package-lock.json";

/// The pages of the report's own tests, and a recording of which the built program makes one more.
const SNAPSHOTS: &str = "observer/src/sinks/report/snapshots";
const RECORDING: &str = "tests/golden/trampoline_cascade_fd_accept/run.observer";

/// The oldest Node.js that the modules run on.
const OLDEST_NODE: u32 = 20;

/// Runs the tests whose name contains the filter. Where there is no browser, they are skipped as one.
pub fn run(tree: &Tree, filter: Option<&str>, tally: &Tally) -> Result<()> {
    if let Err(error) = ensure(tree) {
        tally.record(PLACE, "report", skipped(&error));
        return Ok(());
    }
    let mut command = Command::new("node");
    command.arg(tree.root.join(TEST)).arg(modules(tree)).arg(chromium()?).arg(filter.unwrap_or_default());
    command.args(pages(tree)?);
    let before = (tally.total(), tally.failures());
    let ending = process::stream(&mut command, LIMIT, |line| {
        match lab::parse(line) {
            Some((name, outcome)) => tally.record(PLACE, name, outcome),
            None => step(line),
        }
        ControlFlow::Continue(())
    })?;
    match ending {
        Ending::Exited(_) if tally.failures() > before.1 => Ok(()),
        // A filter may leave nothing over.
        Ending::Exited(status) if status.success() && (filter.is_some() || tally.total() > before.0) => {
            Ok(())
        }
        Ending::Exited(status) => bail!("{TEST} ended with {status} without naming a failure"),
        _ => bail!("{TEST} did not end within {} minutes", LIMIT.as_secs() / 60),
    }
}

/// Installs what is missing. The error is a sentence that can stand as the reason of a skip.
pub fn ensure(tree: &Tree) -> Result<()> {
    packages::ensure(packages::BROWSER).context("no browser can be had here")?;
    let version = process::read(Command::new("node").arg("--version"))?;
    if major(&version).is_none_or(|major| major < OLDEST_NODE) {
        bail!("node {} is too old: the modules of {MANIFEST} want {OLDEST_NODE}", version.trim());
    }
    ensure_modules(tree).context("the modules of the browser test could not be fetched")
}

/// The 20 of `v20.1.2`.
fn major(version: &str) -> Option<u32> {
    version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// Fetches exactly the modules of the lock, unless they are there.
fn ensure_modules(tree: &Tree) -> Result<()> {
    let (folder, stamp) = (modules(tree), modules(tree).join("fetched.json"));
    let lock = fs::read(tree.root.join(LOCK)).with_context(|| format!("{LOCK} cannot be read"))?;
    if fs::read(&stamp).is_ok_and(|fetched| fetched == lock) {
        return Ok(());
    }
    step("fetching playwright-core and axe-core");
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    for file in [MANIFEST, LOCK].map(Path::new) {
        let copy = folder.join(file.file_name().unwrap_or_default());
        fs::copy(tree.root.join(file), copy)
            .with_context(|| format!("{} cannot be copied", file.display()))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
    process::read(&mut npm)?;
    fs::write(&stamp, lock).with_context(|| format!("{} cannot be written", stamp.display()))
}

/// The browser.
pub fn chromium() -> Result<PathBuf> {
    process::find_program("chromium").context("chromium is installed, but not on PATH")
}

/// The folder with what npm fetched.
pub fn modules(tree: &Tree) -> PathBuf {
    tree.tools.join("browser")
}

/// The committed pages, in the order of their names, and one from beginning to end.
fn pages(tree: &Tree) -> Result<Vec<PathBuf>> {
    let folder = tree.root.join(SNAPSHOTS);
    let mut pages = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("{SNAPSHOTS} cannot be read"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|suffix| suffix == "html") {
            pages.push(path);
        }
    }
    pages.sort();
    pages.push(report(tree)?);
    Ok(pages)
}

/// The page that the built program makes of a golden recording.
pub fn report(tree: &Tree) -> Result<PathBuf> {
    let page = tree.target.join("golden.html");
    let mut cargo = toolchain::cargo(tree)?;
    cargo.args(["run", "--quiet", "--package", "observer", "--", "report"]).arg(tree.root.join(RECORDING));
    process::run(cargo.args(["--format", "html", "--output"]).arg(&page))?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn the_version_of_node_is_understood() {
        assert_eq!(major("v20.20.2\n"), Some(20));
        assert_eq!(major("nonsense"), None);
    }
}

//! `cargo xtask pictures`: what README shows, made of a golden recording. The dashboard is what its test draws, and
//! the report is what Chromium makes of it in the light and in the dark.

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::browser;
use crate::process;
use crate::progress::stage;
use crate::setup;
use crate::toolchain;
use crate::tree::Tree;

/// Where they are kept, below the root of the repository.
const FOLDER: &str = "docs/pictures";

/// The test that fails when the dashboard looks different by now, and writes its picture when told to.
const DASHBOARD: &str = "tui::tests::readme";

const SCRIPT: &str = "tests/browser/pictures.mjs";

/// Runs `cargo xtask pictures`.
pub fn run(tree: &Tree) -> Result<ExitCode> {
    stage("set-up", || setup::building(tree))?;
    let folder = tree.root.join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("{FOLDER} cannot be made"))?;
    stage("dashboard", || dashboard(tree))?;
    stage("report", || report(tree))?;
    println!("Look at what is in {FOLDER} before you commit it.");
    Ok(ExitCode::SUCCESS)
}

fn dashboard(tree: &Tree) -> Result<()> {
    let mut cargo = toolchain::cargo(tree)?;
    cargo.args(["test", "--quiet", "--package", "observer", "--lib", DASHBOARD]);
    process::run(cargo.env("OBSERVER_BLESS", "1"))
}

fn report(tree: &Tree) -> Result<()> {
    browser::ensure(tree)?;
    let page = browser::report(tree)?;
    let mut node = Command::new("node");
    node.arg(tree.root.join(SCRIPT)).arg(browser::modules(tree)).arg(browser::chromium()?);
    process::run(node.arg(page).arg(tree.root.join(FOLDER)))
}

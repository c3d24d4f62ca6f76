//! Prometheus, and promtool with it. Debian's package starts a service where it is installed, now and with every boot;
//! so it is only unpacked, into the tools folder, and this system stays as it is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::apt::{self, Apt};
use crate::packages;
use crate::process;
use crate::progress::step;
use crate::tree::Tree;

const PACKAGE: &str = "prometheus";
const PROGRAMS: &[&str] = &["prometheus", "promtool"];

/// Puts what is missing into the tools folder.
pub fn ensure(tree: &Tree) -> Result<()> {
    let bin = tree.tools_bin();
    let is_there =
        |name: &&str| process::find_program(name).is_some() || process::is_executable(&bin.join(name));
    if PROGRAMS.iter().all(is_there) {
        return Ok(());
    }
    let staging = tree.tools.join(format!("{PACKAGE}.partial-{}", std::process::id()));
    let result = fetch(&staging).and_then(|unpacked| publish(&unpacked, &bin));
    if staging.exists() {
        fs::remove_dir_all(&staging).with_context(|| format!("{} cannot be removed", staging.display()))?;
    }
    result.context("Prometheus cannot be had here")
}

/// Downloads and unpacks within the folder, and says where the programs are.
fn fetch(staging: &Path) -> Result<PathBuf> {
    let [downloads, root] = ["downloads", "root"].map(|name| staging.join(name));
    for folder in [&downloads, &root] {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    step(format!("downloading {PACKAGE}"));
    let download = || Apt::of_this_machine().download(&[PACKAGE.to_owned()], &downloads);
    if download().is_err() {
        step("that failed; trying once more with fresh package lists");
        packages::update_lists()?;
        download()?;
    }
    apt::extract(&downloads, &root)?;
    Ok(root.join("usr/bin"))
}

/// Moves the programs to where they are looked for; whole, whoever else does the same.
fn publish(unpacked: &Path, bin: &Path) -> Result<()> {
    fs::create_dir_all(bin).with_context(|| format!("{} cannot be made", bin.display()))?;
    for name in PROGRAMS {
        fs::rename(unpacked.join(name), bin.join(name))
            .with_context(|| format!("the package {PACKAGE} has no {name}"))?;
    }
    Ok(())
}

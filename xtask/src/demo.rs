//! The demo: a real service gives way under real load, and observer says which fault line broke first.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::build;
use crate::process;
use crate::progress::stage;
use crate::setup;
use crate::tree::Tree;

/// Runs `cargo xtask demo`.
pub fn run(tree: &Tree) -> Result<ExitCode> {
    println!(
        "This builds observer, starts a service with a small accept queue in a network namespace of its own, \
         overloads it, and shows which fault line broke first."
    );
    if !process::is_root() {
        println!("Building comes first; after that it needs root, and will say how to go on.");
    }
    stage("set-up", || setup::building(tree))?;
    stage("build (the first time takes a few minutes)", || {
        build::release(tree, &["observer", "observer-lab"])
    })?;
    if !process::is_root() {
        bail!(
            "everything is built, but the rest needs root, to watch the kernel and to make a network namespace: \
             run `sudo {} demo --observer {}`",
            tree.release("observer-lab").display(),
            tree.release("observer").display()
        );
    }
    let lab = tree.release("observer-lab");
    let error = Command::new(&lab).arg("demo").arg("--observer").arg(tree.release("observer")).exec();
    Err(error).with_context(|| format!("{} could not be started", lab.display()))
}

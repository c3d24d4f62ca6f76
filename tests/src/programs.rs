//! Programs that are not the lab's own: whether they are there, and how one waits for what they do.

use std::{
    env, fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::stage::PATIENCE;

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(1);

/// Where a program is, if it is.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Waits for the first child of a process.
pub fn first_child(pid: u32) -> Result<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let children = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        if let Some(child) = children.split_whitespace().next() {
            return Ok(child.parse()?);
        }
        thread::sleep(PERIOD);
    }
    bail!("process {pid} forked no worker within {PATIENCE:?}")
}

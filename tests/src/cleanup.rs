//! What has to be undone whatever happens: on success, on failure, and when the lab is told to end.
//!
//! Child processes need nothing here: each is killed by the kernel when the lab dies
//! ([`crate::children`]), and takes its namespace with it. Folders, cgroups and the host's settings
//! stay, so they are listed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

use crate::cgroup;

/// How long the processes of a cgroup may take to die.
const CGROUP_DEADLINE: Duration = Duration::from_secs(3);

static PENDING: Mutex<Vec<Undo>> = Mutex::new(Vec::new());

#[derive(Clone, Debug, PartialEq, Eq)]
enum Undo {
    Folder(PathBuf),
    Cgroup(PathBuf),
    Setting { path: PathBuf, before: String },
}

/// Removes one thing when it is dropped, or when the lab is told to end.
#[derive(Debug)]
pub struct Guard(Undo);

impl Guard {
    /// A folder that was made, with all that is in it.
    pub fn folder(path: &Path) -> Self {
        Self::register(Undo::Folder(path.to_owned()))
    }

    /// A cgroup that was made; what still runs in it is killed.
    pub fn cgroup(path: &Path) -> Self {
        Self::register(Undo::Cgroup(path.to_owned()))
    }

    /// A setting of the host that is about to be changed: a file that gets its present content back.
    pub fn setting(path: &Path) -> Result<Self> {
        let before = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self::register(Undo::Setting { path: path.to_owned(), before }))
    }

    fn register(undo: Undo) -> Self {
        pending().push(undo.clone());
        Self(undo)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let found = {
            let mut pending = pending();
            let index = pending.iter().position(|undo| *undo == self.0);
            index.map(|index| pending.remove(index))
        };
        if let Some(undo) = found {
            undo.run();
        }
    }
}

impl Undo {
    fn run(&self) {
        let result = match self {
            Self::Folder(path) => fs::remove_dir_all(path),
            Self::Cgroup(path) => remove_cgroup(path),
            Self::Setting { path, before } => fs::write(path, before),
        };
        match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                eprintln!("  could not clean up {self:?}: {error}");
            }
            _ => {}
        }
    }
}

fn remove_cgroup(path: &Path) -> io::Result<()> {
    let deadline = Instant::now() + CGROUP_DEADLINE;
    loop {
        for pid in fs::read_to_string(path.join("cgroup.procs"))?.lines() {
            if let Ok(pid) = pid.parse() {
                // It may be gone already, which is what is wanted.
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

fn pending() -> MutexGuard<'static, Vec<Undo>> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes what labs left behind that were killed: their cgroups, and their folders of this prefix.
pub fn sweep(folders: &Path, prefix: &str) -> Result<()> {
    cgroup::sweep()?;
    let entries = fs::read_dir(folders).with_context(|| format!("cannot read {}", folders.display()))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse().ok());
        if owner.is_some_and(|pid| !cgroup::is_alive(pid)) {
            // Another lab may do the same at this moment.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

/// Ends the lab tidily on SIGTERM, SIGINT and SIGHUP. To be called before any other thread exists.
pub fn on_signals() -> Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().context("cannot block signals")?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        if let Ok(signal) = signals.wait() {
            let undo = std::mem::take(&mut *pending());
            undo.iter().rev().for_each(Undo::run);
            process::exit(128 + signal as i32);
        }
    })?;
    Ok(())
}

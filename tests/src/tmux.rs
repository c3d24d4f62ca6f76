//! A terminal to look at: tmux draws what a program shows, and sends it keys.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{children::Running, stage::PATIENCE};

/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(50);
/// The only session there is.
const SESSION: &str = "lab";

/// The server outlives its sessions and begins without one; nothing but the program is drawn; Escape is a key
/// of its own at once.
const CONFIG: &str =
    "set -s exit-empty off\nset -s escape-time 0\nset -g status off\nset -g remain-on-exit on\n";

/// A terminal with a program in it. The server dies with the lab, and the program with the server.
#[derive(Debug)]
pub struct Tmux {
    socket: PathBuf,
    _server: Running,
}

impl Tmux {
    /// A terminal of this size that runs a line of shell.
    pub fn start(folder: &Path, (columns, lines): (u16, u16), shell: &str) -> Result<Self> {
        let socket = folder.join("tmux.sock");
        let config = folder.join("tmux.conf");
        fs::write(&config, CONFIG)?;
        let mut server = Command::new("tmux");
        server.arg("-S").arg(&socket).arg("-f").arg(&config).arg("-D");
        let server = Running::start("tmux", server, folder)?;
        let tmux = Self { socket, _server: server };
        let begun = Instant::now();
        while !tmux.socket.exists() {
            if begun.elapsed() > PATIENCE {
                bail!("tmux does not start");
            }
            thread::sleep(PERIOD);
        }
        let size = [columns.to_string(), lines.to_string()];
        tmux.tell(&["new-session", "-d", "-s", SESSION, "-x", &size[0], "-y", &size[1], "sh", "-c", shell])?;
        Ok(tmux)
    }

    /// Presses keys, by tmux's names for them.
    pub fn press(&self, keys: &[&str]) -> Result<()> {
        self.tell(&[&["send-keys", "-t", SESSION], keys].concat()).map(drop)
    }

    /// Gives the terminal another size.
    pub fn resize(&self, (columns, lines): (u16, u16)) -> Result<()> {
        let size = [columns.to_string(), lines.to_string()];
        self.tell(&["resize-window", "-t", SESSION, "-x", &size[0], "-y", &size[1]]).map(drop)
    }

    /// What the terminal shows, line by line.
    pub fn screen(&self) -> Result<String> {
        self.tell(&["capture-pane", "-p", "-t", SESSION])
    }

    /// The process in the terminal.
    pub fn pid(&self) -> Result<u32> {
        let text = self.tell(&["display-message", "-p", "-t", SESSION, "#{pane_pid}"])?;
        text.trim().parse().with_context(|| format!("tmux tells `{text}` for a process id"))
    }

    /// Waits until the terminal shows all of these words; returns what it shows then.
    pub fn wait_for(&self, words: &[&str]) -> Result<String> {
        self.wait_for_and_without(words, &[])
    }

    /// The same, and none of those.
    pub fn wait_for_and_without(&self, words: &[&str], without: &[&str]) -> Result<String> {
        let begun = Instant::now();
        loop {
            let screen = self.screen()?;
            let missing: Vec<_> = words.iter().filter(|word| !screen.contains(**word)).collect();
            let left: Vec<_> = without.iter().filter(|word| screen.contains(**word)).collect();
            if missing.is_empty() && left.is_empty() {
                return Ok(screen);
            }
            if begun.elapsed() > PATIENCE {
                bail!("the screen lacks {missing:?} and has {left:?} after {PATIENCE:?}:\n{screen}");
            }
            thread::sleep(PERIOD);
        }
    }

    fn tell(&self, words: &[&str]) -> Result<String> {
        let told = Command::new("tmux").arg("-S").arg(&self.socket).args(words).output();
        let told = told.context("cannot run tmux")?;
        if !told.status.success() {
            bail!("tmux {words:?}: {}", String::from_utf8_lossy(&told.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&told.stdout).into_owned())
    }
}

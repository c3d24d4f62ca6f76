//! The observed command: started as its caller would have started it, and left alone.

use std::{
    ffi::{CString, OsString},
    io,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::ExitStatus,
};

use nix::unistd::{Gid, Uid, User, getgrouplist};
use tokio::process::{Child, Command};

use super::mark;

/// Exit status of `run` when the command cannot be executed, as shells have it.
const NOT_EXECUTABLE: u8 = 126;
/// Exit status of `run` when there is no such command.
const NOT_FOUND: u8 = 127;

/// Why the command did not start.
#[derive(Debug)]
pub(super) struct NotStarted {
    /// In words.
    pub message: String,
    /// What `run` exits with.
    pub status: u8,
}

/// Starts the command with the caller's own terminal, limits and, under sudo, identity.
pub(super) fn start(command: &[OsString], marks: Option<&Path>) -> Result<Child, NotStarted> {
    let (program, args) = command
        .split_first()
        .ok_or_else(|| NotStarted { message: "no command".into(), status: NOT_FOUND })?;
    let mut child = Command::new(program);
    child.args(args);
    if let Some(socket) = marks {
        child.env(mark::SOCKET_VARIABLE, socket);
    }
    if let Some(caller) = sudo_caller() {
        caller.apply(&mut child);
    }
    child.spawn().map_err(|error| not_started(program, &error))
}

fn not_started(program: &OsString, error: &io::Error) -> NotStarted {
    let name = program.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            NotStarted { message: format!("{name}: command not found"), status: NOT_FOUND }
        }
        _ => NotStarted { message: format!("cannot execute {name}: {error}"), status: NOT_EXECUTABLE },
    }
}

/// The status that `run` exits with for the command's: its own, or 128+n for a signal.
pub(super) fn exit_status(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// The user who called sudo.
pub(super) struct Caller {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    user: Option<User>,
}

impl Caller {
    /// Their user id.
    pub(super) fn uid(&self) -> Uid {
        self.uid
    }

    fn apply(self, child: &mut Command) {
        let Self { uid, gid, groups, user } = self;
        if let Some(user) = user {
            // sudo made these root's; tools look for their settings there.
            child
                .env("HOME", user.dir)
                .env("USER", &user.name)
                .env("LOGNAME", user.name)
                .env("SHELL", user.shell);
        }
        // SAFETY: the closure runs between fork and exec and makes system calls only: no allocation,
        // no lock. The groups come first, while we may still set them.
        unsafe {
            child.pre_exec(move || {
                nix::unistd::setgroups(&groups)?;
                nix::unistd::setgid(gid)?;
                nix::unistd::setuid(uid)?;
                Ok(())
            });
        }
    }
}

/// Who called sudo, when we are root through it.
pub(super) fn sudo_caller() -> Option<Caller> {
    let id = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    if !Uid::effective().is_root() {
        return None;
    }
    let (uid, gid) = (Uid::from_raw(id("SUDO_UID")?), Gid::from_raw(id("SUDO_GID")?));
    if uid.is_root() {
        return None;
    }
    let user = User::from_uid(uid).ok().flatten();
    let groups = user
        .as_ref()
        .and_then(|user| CString::new(user.name.as_str()).ok())
        .and_then(|name| getgrouplist(&name, gid).ok())
        .unwrap_or_else(|| vec![gid]);
    Some(Caller { uid, gid, groups, user })
}

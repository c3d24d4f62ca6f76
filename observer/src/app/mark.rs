//! Phase marks: a socket that only its owner can open.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::unistd::Uid;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
};

use super::command;

/// Tells the observed command where to send its marks.
pub(super) const SOCKET_VARIABLE: &str = "OBSERVER_SOCKET";

/// Longest name of a phase.
const NAME_MAX: usize = 64;

/// Where running observers wait for marks.
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Opens one for this process.
    pub(super) fn open() -> io::Result<Self> {
        let folder = folder();
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.sock", std::process::id()));
        // One that an earlier process of this id left behind.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        if let Some(caller) = command::sudo_caller() {
            nix::unistd::chown(&path, Some(caller.uid()), None)?;
        }
        Ok(Self { listener, path })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the next mark and acknowledges it. A client that says nothing sensible is told so.
    pub(super) async fn next(&self) -> String {
        loop {
            let Ok((mut stream, _)) = self.listener.accept().await else {
                // Out of descriptors, most likely: do not spin.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let mut buffer = [0; NAME_MAX + 1];
            let read = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut buffer)).await;
            let name = match read {
                Ok(Ok(length)) => parse(&buffer[..length]),
                _ => Err("no mark came".to_owned()),
            };
            let answer = name.as_ref().map_or_else(|error| format!("{error}\n"), |_| "ok\n".to_owned());
            let _ = stream.write_all(answer.as_bytes()).await;
            if let Ok(name) = name {
                return name;
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A phase name: letters, digits and `_-.`, so that it is a label everywhere.
fn parse(bytes: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if text.is_empty() || text.len() > NAME_MAX || !plain {
        return Err(format!("a phase name has 1 to {NAME_MAX} letters, digits or _-."));
    }
    Ok(text.to_owned())
}

/// `observer mark NAME`: tells the observer that runs this command, else every one of this user's.
pub(super) fn tell(name: &str) -> Result<()> {
    let name = parse(name.as_bytes()).map_err(|why| anyhow!(why))?;
    if let Some(socket) = std::env::var_os(SOCKET_VARIABLE) {
        return send(Path::new(&socket), &name);
    }
    let sockets: Vec<PathBuf> = std::fs::read_dir(folder())
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "sock"))
        .collect();
    let told = sockets.iter().filter(|socket| send(socket, &name).is_ok()).count();
    if told == 0 {
        bail!("no observer of yours is running; start one with `observer run`");
    }
    Ok(())
}

fn send(socket: &Path, name: &str) -> Result<()> {
    let context = || format!("cannot reach the observer at {}", socket.display());
    let mut stream = UnixStream::connect(socket).with_context(context)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(format!("{name}\n").as_bytes()).with_context(context)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(context)?;
    match answer.trim() {
        "ok" => Ok(()),
        refused => bail!("the observer refused the mark: {refused}"),
    }
}

/// The user's runtime folder, which nobody else can write to.
fn folder() -> PathBuf {
    let uid = Uid::effective();
    match std::env::var_os("XDG_RUNTIME_DIR") {
        _ if uid.is_root() => PathBuf::from("/run/observer"),
        Some(runtime) => PathBuf::from(runtime).join("observer"),
        None => std::env::temp_dir().join(format!("observer-{uid}")),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names_are_labels() {
        assert_eq!(parse(b"ramp_up\n").as_deref(), Ok("ramp_up"));
        for bad in [&b""[..], b"\n", b"a b", b"a\"b", &[b'x'; 65]] {
            assert!(parse(bad).is_err());
        }
    }
}

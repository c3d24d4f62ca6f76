//! Phase marks: a socket that only its owner can open.

use std::{
    fs::{DirBuilder, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::{
        fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use nix::unistd::Uid;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixListener,
    sync::mpsc::UnboundedSender,
};

use super::command;

/// Tells the observed command where to send its marks.
pub(super) const SOCKET_VARIABLE: &str = "OBSERVER_SOCKET";

/// Longest name of a phase.
const NAME_MAX: usize = 64;

/// Where running observers wait for marks.
pub(super) struct Socket {
    path: PathBuf,
}

impl Socket {
    /// Opens one for this process. A task of its own serves it, so that a tick never cuts a client off.
    pub(super) fn open(marks: UnboundedSender<String>) -> io::Result<Self> {
        let folder = own_folder();
        make_private(&folder)?;
        let path = folder.join(format!("{}.sock", std::process::id()));
        sweep(&folder, &path);
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        if let Some(caller) = command::sudo_caller() {
            nix::unistd::chown(&path, Some(caller.uid()), None)?;
        }
        tokio::spawn(serve(listener, marks));
        Ok(Self { path })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Removes what observers that were killed have left behind, one of our own process id included.
fn sweep(folder: &Path, own: &Path) {
    for path in sockets(folder) {
        let pid = path.file_stem().and_then(|stem| stem.to_str());
        let is_gone = pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists());
        if path == own || is_gone {
            // Another observer may be sweeping as well.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The sockets in a folder; none where there is no such folder.
fn sockets(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "sock"))
        .collect()
}

/// Acknowledges each mark; a client that says nothing sensible is told so.
async fn serve(listener: UnixListener, marks: UnboundedSender<String>) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
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
        if name.is_ok_and(|name| marks.send(name).is_err()) {
            return;
        }
    }
}

/// Makes the folder, or makes sure that it is a folder of ours that nobody else can write to.
fn make_private(folder: &Path) -> io::Result<()> {
    // Root's is open for reading, so that the user who called sudo finds the socket that is theirs.
    let mode = if Uid::effective().is_root() { 0o755 } else { 0o700 };
    match DirBuilder::new().mode(mode).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        created => return created,
    }
    let found = std::fs::symlink_metadata(folder)?;
    if !found.is_dir() || found.uid() != Uid::effective().as_raw() || found.mode() & 0o022 != 0 {
        let why = format!("{} is not a folder that only this user can write to", folder.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(())
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A phase name: letters, digits and `_-.`, so that it is a label everywhere.
pub(super) fn parse(bytes: &[u8]) -> Result<String, String> {
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
    let folders = std::collections::BTreeSet::from([own_folder(), PathBuf::from(ROOT_FOLDER)]);
    let sockets: Vec<PathBuf> = folders.iter().flat_map(|folder| sockets(folder)).collect();
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

/// Where root's observers have their sockets, those that were started with sudo among them.
const ROOT_FOLDER: &str = "/run/observer";

/// Where this user's observers have their sockets.
fn own_folder() -> PathBuf {
    let uid = Uid::effective();
    match std::env::var_os("XDG_RUNTIME_DIR") {
        _ if uid.is_root() => PathBuf::from(ROOT_FOLDER),
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

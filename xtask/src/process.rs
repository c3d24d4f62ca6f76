//! Starting other programs: to the end, for their output, or line by line under a time limit.

use std::env;
use std::io::{BufRead as _, BufReader, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How often a silent program is looked after.
const POLL: Duration = Duration::from_millis(200);

/// How a streamed program came to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Exited(ExitStatus),
    /// The reader had seen enough, so it was killed.
    Stopped,
    /// It took longer than it may, so it was killed.
    TimedOut,
}

/// Whether this process may do what only root may.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Finds a program on PATH, or where Debian keeps the programs of the administrator.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|program| is_executable(program))
}

/// Whether the path is a file that may be executed.
pub fn is_executable(program: &Path) -> bool {
    std::fs::metadata(program).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// Runs a program whose output is for the reader.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("`{}` ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs a program for its standard output.
pub fn read(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| cannot_start(command))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` ended with {}: {}", shown(command), output.status, said.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` did not print text", shown(command)))
}

/// Runs a program and hands over its lines, of both outputs, as they come. It ends when the program does, when
/// `on_line` breaks, or when `limit` has passed.
pub fn stream(
    command: &mut Command,
    limit: Duration,
    mut on_line: impl FnMut(&str) -> ControlFlow<()>,
) -> Result<Ending> {
    let started = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| cannot_start(command))?;
    let (sender, lines) = mpsc::channel();
    forward_lines(child.stdout.take(), sender.clone());
    forward_lines(child.stderr.take(), sender);
    loop {
        match lines.recv_timeout(POLL) {
            Ok(line) => {
                if on_line(&line).is_break() {
                    return end(&mut child, Ending::Stopped);
                }
            }
            Err(quiet) => {
                // A grandchild may hold the pipe open: the end of the program counts, not the end of the pipe.
                if let Some(status) = child.try_wait()? {
                    return Ok(Ending::Exited(status));
                }
                if quiet == RecvTimeoutError::Disconnected {
                    thread::sleep(POLL);
                }
            }
        }
        if started.elapsed() > limit {
            return end(&mut child, Ending::TimedOut);
        }
    }
}

/// A command as it would be typed, its program without folder.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or(program.as_os_str()).to_string_lossy()];
    words.extend(command.get_args().map(|word| word.to_string_lossy()));
    words.join(" ")
}

fn cannot_start(command: &Command) -> String {
    format!("`{}` could not be started", command.get_program().to_string_lossy())
}

fn end(child: &mut Child, ending: Ending) -> Result<Ending> {
    child.kill().context("a program that had to be stopped could not be")?;
    child.wait()?;
    Ok(ending)
}

fn forward_lines(pipe: Option<impl Read + Send + 'static>, lines: Sender<String>) {
    let Some(pipe) = pipe else { return };
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line);
            if lines.send(text.trim_end_matches(['\n', '\r']).to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn streamed(script: &str, limit: Duration, stop_at: &str) -> Result<(Ending, Vec<String>)> {
        let mut lines = Vec::new();
        let ending = stream(&mut shell(script), limit, |line| {
            lines.push(line.to_owned());
            if line == stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok((ending, lines))
    }

    #[test]
    fn lines_of_both_outputs_arrive_with_the_status() -> Result<()> {
        let (ending, mut lines) = streamed("echo one; echo two >&2; exit 3", Duration::from_secs(20), "")?;
        lines.sort();
        assert_eq!(lines, ["one", "two"]);
        assert!(matches!(ending, Ending::Exited(status) if status.code() == Some(3)));
        Ok(())
    }

    #[test]
    fn a_program_that_takes_too_long_is_killed() -> Result<()> {
        let (ending, _) = streamed("exec sleep 60", Duration::from_millis(300), "")?;
        assert_eq!(ending, Ending::TimedOut);
        Ok(())
    }

    #[test]
    fn the_reader_can_stop_it() -> Result<()> {
        let (ending, lines) = streamed("echo enough; exec sleep 60", Duration::from_secs(20), "enough")?;
        assert_eq!((ending, lines), (Ending::Stopped, vec!["enough".to_owned()]));
        Ok(())
    }

    #[test]
    fn a_grandchild_that_keeps_the_pipe_does_not_keep_us() -> Result<()> {
        let started = Instant::now();
        let (ending, _) = streamed("sleep 5 & exit 0", Duration::from_secs(20), "")?;
        assert!(matches!(ending, Ending::Exited(status) if status.success()));
        assert!(started.elapsed() < Duration::from_secs(4));
        Ok(())
    }

    #[test]
    fn a_failure_tells_what_the_program_said() {
        let error = read(&mut shell("echo no such thing >&2; exit 1")).err().map(|error| error.to_string());
        assert!(error.is_some_and(|text| text.ends_with("no such thing")));
    }
}

//! Child processes: none outlives the lab, each is waited for with a deadline.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    os::{
        fd::{AsFd, FromRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{self, Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask},
    },
    unistd::Pid,
};

use crate::report::{Order, Report};

/// How long a role may take to answer; observer starts before it, on an emulated machine slowly.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// Makes `command` die with this process and start with a clean signal mask.
///
/// The kernel ties the death signal to the *thread* that forks, so start it from a thread that lives as
/// long as the child: the main thread.
pub fn tie(command: &mut Command) -> Result<()> {
    let parent = pidfd(process::id()).context("cannot watch this process")?;
    let prepare = move || -> io::Result<()> {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
        // The parent may have died before the death signal was asked for. In another process namespace it
        // has no number, so its descriptor is asked.
        if wait_ended(&parent, Some(Duration::ZERO))? { Err(Errno::ESRCH.into()) } else { Ok(()) }
    };
    // SAFETY: the closure only makes system calls; it neither allocates nor takes locks.
    unsafe { command.pre_exec(prepare) };
    Ok(())
}

/// A handle to a process that becomes readable when the process has ended.
fn pidfd(pid: u32) -> nix::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn wait_ended(pidfd: &OwnedFd, within: Option<Duration>) -> nix::Result<bool> {
    let timeout =
        within.map_or(PollTimeout::NONE, |within| PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX));
    loop {
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout) {
            Err(Errno::EINTR) => {}
            result => return result.map(|ready| ready > 0),
        }
    }
}

/// Closes what a chain of parents left open, so that the descriptors of a role are its own.
///
/// # Safety
///
/// Nothing in this process may own a descriptor beyond the three standard ones yet.
pub unsafe fn close_inherited() -> Result<()> {
    // SAFETY: the caller promises that nobody owns these descriptors; close_range takes three integers.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    Errno::result(result).context("cannot close inherited descriptors")?;
    Ok(())
}

/// Ends this process when the process `pid` ends: for roles that are not children of the lab itself, such
/// as the command that `observer run` starts.
pub fn die_with(pid: u32) -> Result<()> {
    let Ok(lab) = pidfd(pid) else { bail!("the lab (pid {pid}) is not running") };
    // A signal is for the role's own threads, which may block it to wait for it.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    thread::Builder::new().name("lifeline".into()).spawn(move || {
        let _ = wait_ended(&lab, None);
        process::exit(1);
    })?;
    mask.thread_set_mask()?;
    Ok(())
}

/// A running child: its lines, its orders, its end.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Running {
    /// Starts `command` with both ends of its standard streams in the lab's hands: input and output are
    /// pipes, errors go to `NAME.stderr` in `folder`.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Result<Self> {
        let path = folder.join(format!("{name}.stderr"));
        let errors = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut running = Self::start_as_is(name, command)?;
        running.stdin = running.child.stdin.take();
        if let Some(stdout) = running.child.stdout.take() {
            running.lines = lines_of(stdout)?;
        }
        Ok(running)
    }

    /// Starts `command` with whatever streams it was given.
    pub fn start_as_is(name: &str, mut command: Command) -> Result<Self> {
        tie(&mut command)?;
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        let (_, lines) = mpsc::channel();
        Ok(Self { name: name.to_owned(), child, stdin: None, lines })
    }

    /// Reads the child's lines from `source`, where they do not come through a pipe of its own.
    pub fn read_from(&mut self, source: impl Read + Send + 'static) -> Result<()> {
        self.lines = lines_of(source)?;
        Ok(())
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next report; other lines are passed over.
    pub fn report(&self) -> Result<Report> {
        loop {
            match self.lines.recv_timeout(ANSWER_DEADLINE) {
                Ok(line) => {
                    if let Ok(report) = serde_json::from_str(line.trim()) {
                        return Ok(report);
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!("{} said nothing for {ANSWER_DEADLINE:?}", self.name),
                Err(RecvTimeoutError::Disconnected) => bail!("{} ended before it reported", self.name),
            }
        }
    }

    /// The next line, if there is one by now.
    pub fn line(&self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    /// All further lines, until the child closes its output.
    pub fn rest(&self) -> Result<Vec<String>> {
        let mut rest = Vec::new();
        loop {
            match self.lines.recv_timeout(ANSWER_DEADLINE) {
                Ok(line) => rest.push(line),
                Err(RecvTimeoutError::Disconnected) => return Ok(rest),
                Err(RecvTimeoutError::Timeout) => bail!("{} keeps its output open", self.name),
            }
        }
    }

    /// Gives an order.
    pub fn order(&mut self, order: Order) -> Result<()> {
        let Some(stdin) = &mut self.stdin else { bail!("{} takes no orders", self.name) };
        let mut line = serde_json::to_vec(&order)?;
        line.push(b'\n');
        stdin.write_all(&line).with_context(|| format!("{} does not read its orders", self.name))
    }

    /// Sends a signal to this process alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid().cast_signed()), signal)
            .with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Waits for the end; a child that does not end is killed, and that is an error.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        if !wait_ended(&pidfd(self.pid())?, Some(within))? {
            bail!("{} did not end within {within:?}", self.name);
        }
        Ok(self.child.wait()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when the child is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(source: impl Read + Send + 'static) -> Result<Receiver<String>> {
    let (sender, lines) = mpsc::channel();
    thread::Builder::new().name("lines".into()).spawn(move || {
        // A pseudo-terminal ends with EIO instead of an end of file.
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    })?;
    Ok(lines)
}

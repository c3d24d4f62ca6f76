//! Boots a kernel under software emulation (no KVM, no root, two seconds) and runs one command in it.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::initramfs::Content;
use crate::kernels::{self, Kernel};
use crate::packages;
use crate::process::{self, Ending};
use crate::tree::Tree;

/// The line that ends the output of the command, followed by its exit status.
const EXIT_MARKER: &str = "OBSERVER-VM-EXIT:";

/// Both processors of the machine take turns on one thread. With a thread for each, one may execute an instruction
/// that the other has just replaced, and the guest dies of a stray breakpoint when programs attach to functions.
const ACCELERATION: &str = "tcg,thread=single";

/// What every machine loads: socket statistics, links between network namespaces that lose and delay packets, and
/// connection tracking with the rules that fill its table. Without a rule it tracks nothing.
const MODULES: &[&str] = &[
    "tcp_diag",
    "udp_diag",
    "veth",
    "sch_netem",
    "nf_conntrack",
    "nf_conntrack_netlink",
    "nf_tables",
    "nft_ct",
    "nft_numgen",
];

/// Newer kernels have this in `nf_tables`.
const OPTIONAL_MODULES: &[&str] = &["nft_counter"];

/// How many lines of the kernel's messages an error shows.
const TAIL: usize = 30;

/// Arguments of `cargo xtask vm`.
#[derive(clap::Args)]
pub struct Args {
    /// Kernel series to boot
    #[arg(long, default_value = kernels::DEFAULT, value_parser = kernels::parse)]
    kernel: &'static str,
    /// Seconds after which the machine is stopped
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    timeout: u64,
    /// Further kernel module to load; repeatable
    #[arg(long = "module", value_name = "NAME")]
    modules: Vec<String>,
    /// Let time pass by what is executed, a nanosecond for each instruction, on one processor: what the machine says of
    /// times is then how many instructions something took, and hardly differs from run to run. A wait takes no time
    #[arg(long)]
    count_instructions: bool,
    /// File of the machine to bring to target/vm/KERNEL/fetched afterwards; repeatable
    #[arg(long, value_name = "PATH")]
    fetch: Vec<String>,
    /// The command, with /observer, /observer-lab and /bin/busybox at hand
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// By what a machine's time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// By this host's clocks. There are two processors.
    Real,
    /// By a nanosecond for each instruction that it executes, whichever it is; nothing is waited for. There is one
    /// processor: two would take turns within what is timed.
    Instructions,
}

impl Time {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Real => &["-smp", "2"],
            Self::Instructions => &["-smp", "1", "-icount", "shift=0,sleep=off"],
        }
    }

    /// After how long by its own clock the machine ends itself, should nobody be left to stop it after `limit`.
    fn own_limit(self, limit: Duration) -> Duration {
        match self {
            Self::Real => limit,
            // What it waits for is over at once.
            Self::Instructions => limit.saturating_mul(1000),
        }
    }
}

/// A virtual machine to be started.
pub struct Machine<'a> {
    /// The kernel series that it boots.
    pub kernel: &'a str,
    /// After this time it is stopped.
    pub limit: Duration,
    /// By what its time passes.
    pub time: Time,
    /// Modules beyond those that every machine loads.
    pub modules: &'a [String],
    /// Files to bring out of it.
    pub fetch: &'a [String],
}

/// Runs `cargo xtask vm`.
pub fn run(tree: &Tree, args: &Args) -> Result<ExitCode> {
    packages::ensure(packages::VIRTUAL_MACHINE)?;
    let machine = Machine {
        kernel: args.kernel,
        limit: Duration::from_secs(args.timeout),
        time: if args.count_instructions { Time::Instructions } else { Time::Real },
        modules: &args.modules,
        fetch: &args.fetch,
    };
    let status = machine.run(tree, &args.command, |line| println!("{line}"))?;
    Ok(ExitCode::from(status))
}

impl Machine<'_> {
    /// Boots, runs the command, hands over its lines as they come, and returns its exit status.
    pub fn run(&self, tree: &Tree, command: &[String], on_line: impl FnMut(&str)) -> Result<u8> {
        let kernel = kernels::ensure(tree, self.kernel)?;
        let programs = programs(tree, command)?;
        let modules: Vec<&str> =
            MODULES.iter().copied().chain(self.modules.iter().map(String::as_str)).collect();
        let content = Content {
            kernel: &kernel,
            programs: &programs,
            modules: &modules,
            optional_modules: OPTIONAL_MODULES,
            command,
            fetch: self.fetch,
            limit: self.time.own_limit(self.limit),
        };
        let files = Files::create(tree, self.kernel)?;
        fs::write(&files.initrd, content.archive()?)
            .with_context(|| format!("{} cannot be written", files.initrd.display()))?;
        let status = self.boot(&kernel, &files, on_line)?;
        if !self.fetch.is_empty() {
            files.unpack()?;
        }
        files.remove()?;
        Ok(status)
    }

    fn boot(&self, kernel: &Kernel, files: &Files, mut on_line: impl FnMut(&str)) -> Result<u8> {
        let mut status = None;
        let ending = process::stream(&mut qemu(kernel, files, self.time)?, self.limit, |line| {
            let Some((before, number)) = line.split_once(EXIT_MARKER) else {
                on_line(line);
                return ControlFlow::Continue(());
            };
            if !before.is_empty() {
                on_line(before);
            }
            status = number.trim().parse().ok();
            ControlFlow::Break(())
        })?;
        if let Some(status) = status {
            return Ok(status);
        }
        let what = match ending {
            Ending::TimedOut => format!("did not finish within {} s", self.limit.as_secs()),
            Ending::Stopped => "reported no readable status".to_owned(),
            Ending::Exited(status) => format!("ended early (qemu: {status})"),
        };
        bail!("the VM with kernel {} {what};{}", self.kernel, last_words(&files.console))
    }
}

/// The files of one machine. Its folder is its own, so that several can run, and stays only after an error.
struct Files {
    folder: PathBuf,
    initrd: PathBuf,
    console: PathBuf,
    archive: PathBuf,
    fetched: PathBuf,
}

impl Files {
    fn create(tree: &Tree, kernel: &str) -> Result<Self> {
        let machines = tree.target.join("vm");
        let folder = machines.join(format!("{kernel}-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        Ok(Self {
            initrd: folder.join("initrd"),
            console: folder.join("console.log"),
            archive: folder.join("fetched.tar"),
            fetched: machines.join(kernel).join("fetched"),
            folder,
        })
    }

    fn unpack(&self) -> Result<()> {
        fs::create_dir_all(&self.fetched)
            .with_context(|| format!("{} cannot be made", self.fetched.display()))?;
        process::run(Command::new("tar").arg("-xf").arg(&self.archive).arg("-C").arg(&self.fetched))
            .context("the files that were asked for did not come out of the VM")?;
        println!("fetched into {}", self.fetched.display());
        Ok(())
    }

    fn remove(&self) -> Result<()> {
        fs::remove_dir_all(&self.folder)
            .with_context(|| format!("{} cannot be removed", self.folder.display()))
    }
}

/// The programs under test that exist; those that the command names have to.
fn programs(tree: &Tree, command: &[String]) -> Result<Vec<(&'static str, PathBuf)>> {
    let mut present = Vec::new();
    for (inside, name) in [("/observer", "observer"), ("/observer-lab", "observer-lab")] {
        let outside = tree.static_release(name);
        if outside.is_file() {
            present.push((inside, outside));
        } else if command.iter().any(|word| word == inside) {
            bail!("{} is missing: `cargo xtask build --musl` makes it", outside.display());
        }
    }
    Ok(present)
}

fn qemu(kernel: &Kernel, files: &Files, time: Time) -> Result<Command> {
    let program = process::find_program("qemu-system-x86_64")
        .context("qemu-system-x86_64 is missing: run `cargo xtask setup`")?;
    let mut command = Command::new(program);
    command
        .args(["-accel", ACCELERATION, "-m", "1G"])
        .args(time.arguments())
        .args(["-nodefaults", "-display", "none", "-no-reboot"])
        .args(["-append", "console=ttyS0 quiet panic=-1 rdinit=/init"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(&files.initrd)
        .args(["-serial", &serial_file(&files.console)])
        .args(["-serial", "stdio"])
        .args(["-serial", &serial_file(&files.archive)]);
    Ok(command)
}

fn serial_file(path: &Path) -> String {
    format!("file:{}", path.display())
}

/// The end of the kernel's messages.
fn last_words(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(TAIL)..];
    if tail.is_empty() {
        return " its kernel said nothing".to_owned();
    }
    format!(" its kernel said last (all of it is in {}):\n{}", log.display(), tail.join("\n"))
}

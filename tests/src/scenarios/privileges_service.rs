//! A user with the six capabilities of docs/deploy/observer.service sees what root sees.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::process::CommandExt,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use nix::{
    errno::Errno,
    sys::{
        prctl::set_keepcaps,
        resource::{RLIM_INFINITY, Resource, setrlimit},
    },
    unistd::{Gid, Uid, setgid, setgroups, setuid},
};
use serde::Deserialize;

use super::Scenario;
use crate::{check::Ending, stage::Stage};

pub const SCENARIO: Scenario = Scenario {
    name: "privileges_service",
    about: "a user with the capabilities of the systemd unit sees what root sees",
    play,
};

/// Nobody, by custom.
const NOBODY: u32 = 65534;
/// CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_SYSLOG, CAP_PERFMON, CAP_BPF.
const OF_THE_UNIT: [u32; 6] = [2, 19, 21, 34, 38, 39];

/// The sources that look into other processes, a few at a time.
const OF_PROCESSES: [&str; 2] = ["processes", "owners"];

/// What `observer doctor` says, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Doctor {
    signals: Vec<Signal>,
    sources: Vec<Source>,
    privileges: Privileges,
}

#[derive(Debug, Deserialize)]
struct Signal {
    signal: String,
    tier: String,
    source: String,
}

#[derive(Debug, Deserialize)]
struct Source {
    source: String,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Privileges {
    cap_eff: String,
    of_no_use: Vec<String>,
}

fn play(stage: &Stage) -> Result<Ending> {
    let Some(observer) = stage.observer() else {
        return Ok(Ending::Skip("needs an observer".into()));
    };
    let root = Doctor::ask(Command::new(observer))?;
    let mut command = Command::new(observer);
    // SAFETY: the closure only makes system calls; it neither allocates nor takes locks.
    unsafe { command.pre_exec(become_the_service) };
    let service = Doctor::ask(command)?;
    let probed = service.tiers().values().filter(|(tier, _)| *tier != "counter" && *tier != "absent").count();
    println!("  the service: {} effective, {probed} signals from probes", service.privileges.cap_eff);
    let mask = OF_THE_UNIT.iter().map(|number| 1_u64 << number).sum::<u64>();
    ensure!(service.privileges.cap_eff == format!("{mask:016x}"), "it has {}", service.privileges.cap_eff);
    ensure!(service.privileges.of_no_use.is_empty(), "it has too much: {:?}", service.privileges.of_no_use);
    ensure!(service.tiers() == root.tiers(), "{:?}, and for root {:?}", service.tiers(), root.tiers());
    let mut failing = (service.failing(), root.failing());
    if let Some(pid) = hidden_from_root() {
        println!("  process {pid} shows itself not even to root: what reads processes may meet it or not");
        for source in OF_PROCESSES {
            failing.0.remove(source);
            failing.1.remove(source);
        }
    }
    ensure!(failing.0 == failing.1, "{:?}, and for root {:?}", failing.0, failing.1);
    Ok(Ending::Ok)
}

impl Doctor {
    fn ask(mut command: Command) -> Result<Self> {
        let output = command.args(["doctor", "--format", "json"]).output().context("cannot ask observer")?;
        ensure!(output.status.success(), "doctor ended with {}", output.status);
        serde_json::from_slice(&output.stdout).context("doctor does not answer in JSON")
    }

    fn tiers(&self) -> BTreeMap<&str, (&str, &str)> {
        self.signals.iter().map(|it| (&*it.signal, (&*it.tier, &*it.source))).collect()
    }

    fn failing(&self) -> BTreeSet<&str> {
        self.sources.iter().filter(|it| it.error.is_some()).map(|it| &*it.source).collect()
    }
}

/// A process that is there and does not show its network namespace, as a sandbox's own may.
fn hidden_from_root() -> Option<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_hidden = |pid: &u32| {
        let read = fs::read_link(format!("/proc/{pid}/ns/net"));
        read.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    pids.find(is_hidden)
}

/// Nobody, with these capabilities and no others, as systemd does it: they are ambient.
fn become_the_service() -> io::Result<()> {
    // The unit says LimitMEMLOCK=infinity, which newer kernels do not ask for, and not every host grants.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    set_keepcaps(true)?;
    setgroups(&[])?;
    setgid(Gid::from_raw(NOBODY))?;
    setuid(Uid::from_raw(NOBODY))?;
    set_capabilities(&OF_THE_UNIT)?;
    for number in OF_THE_UNIT {
        // SAFETY: it takes integers.
        Errno::result(unsafe {
            libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, number, 0, 0)
        })?;
    }
    Ok(())
}

/// `struct __user_cap_header_struct` of `linux/capability.h`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`: one of two, for 32 capabilities each.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn set_capabilities(numbers: &[u32]) -> io::Result<()> {
    /// _LINUX_CAPABILITY_VERSION_3.
    const VERSION: u32 = 0x2008_0522;
    let mut data = [Data::default(); 2];
    for number in numbers {
        let (word, bit) = ((number / 32) as usize, 1 << (number % 32));
        data[word].effective |= bit;
        data[word].permitted |= bit;
        data[word].inheritable |= bit;
    }
    let header = Header { version: VERSION, pid: 0 };
    // SAFETY: both are laid out as this version of the call has them, and live as long as it takes.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &header, data.as_ptr()) })?;
    Ok(())
}

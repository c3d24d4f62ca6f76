//! Observer gives up what it no longer needs once everything is attached: every thread is looked at. What stays
//! is enough to find, enter and name what comes later, and the command has the rights of observer's caller.

use std::{
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
};

use super::{FD_SATURATION, PORT, Scenario, descriptor_truth, light_load};
use crate::{
    check::Ending,
    roles::{Role, load::Load, serve::Serve},
    stage::{PATIENCE, Service, Stage},
    tmux::Tmux,
    verdict::{Subject, Verdict},
};

pub const SCENARIO: Scenario = Scenario {
    name: "privileges",
    about: "what is no longer needed is given up; what stays finds a service that comes later; the command keeps its own",
    play,
};

pub const LIVE: Scenario = Scenario {
    name: "privileges_live",
    about: "behind the dashboard, too, each thread has the rights that it needs and no others",
    play: play_live,
};

pub const WITHOUT_SYS_ADMIN: Scenario = Scenario {
    name: "privileges_without_sys_admin",
    about: "without CAP_SYS_ADMIN, CAP_BPF stays exactly where the kernel does not let maps be read without it",
    play: play_without_sys_admin,
};

const DAC_OVERRIDE: u64 = 1 << 1;
const DAC_READ_SEARCH: u64 = 1 << 2;
const KILL: u64 = 1 << 5;
const SETPCAP: u64 = 1 << 8;
const SYS_PTRACE: u64 = 1 << 19;
const SYS_ADMIN: u64 = 1 << 21;
const BPF: u64 = 1 << 39;
/// To see other processes, and to visit their namespaces.
const OBSERVES: u64 = DAC_READ_SEARCH | SYS_PTRACE | SYS_ADMIN;
/// The threads of `run` with a command, to which it passes signals on, and what each needs; first the one that
/// observes.
const OF_RUN: [(&str, u64); 3] = [("observer", OBSERVES | KILL), ("signals", 0), ("recorder", DAC_OVERRIDE)];
/// The same of `live`.
const OF_LIVE: [(&str, u64); 7] = [
    ("observation", OBSERVES),
    ("observer", 0),
    ("signals", 0),
    ("recorder", DAC_OVERRIDE),
    ("ring", DAC_OVERRIDE),
    ("tui-feed", 0),
    ("tui-keys", 0),
];
/// A short-lived one that the one that observes sends to another namespace, with its own rights.
const VISITOR: &str = "netns visit";

const LATE_PORT: u16 = 9090;
const TARGET: &str = ":9090";
const LIMIT: u64 = 64;
const CLIENTS: u32 = 100;
/// EMFILEs that make a fault beyond doubt: a second's worth of accept() every five milliseconds.
const REFUSALS: u64 = 200;
/// Within this time, and some more on an emulated machine, a new listener is found and its process known.
const FOUND: Duration = Duration::from_secs(3);
/// Answers that show the run has begun.
const UNDER_WAY: u64 = 20;
/// Answers that come when the rights have gone.
const ANSWERS: u64 = 200;

fn play(stage: &Stage) -> Result<Ending> {
    let healthy = stage.serve("service", Serve::on(PORT))?;
    let mut load = stage.observe(&["--target", TARGET], &light_load(&healthy))?;
    load.wait_for_done(UNDER_WAY)?;
    let own = Rights::of("/proc/self/status")?;
    if stage.observer().is_some() {
        check_command(load.pid, &own)?;
        check_threads(parent(load.pid)?, &OF_RUN, &own)?;
    }
    // It comes when the rights have gone: nothing of it was seen before.
    let mut late = stage.serve("late", Serve { hold: true, nofile: Some(LIMIT), ..Serve::on(LATE_PORT) })?;
    thread::sleep(FOUND);
    let late_load = stage.start("late-load", &crowd(&late))?;
    late.wait_for_errno(libc::EMFILE, REFUSALS)?;
    late.relent()?;
    late.wait_for_accepted(u64::from(CLIENTS))?;
    let finished = load.finish()?;
    drop(late_load);

    if let Some(verdict) = &finished.verdict {
        check_counters(verdict, &late)?;
    }
    FD_SATURATION.check_first(&descriptor_truth(late.pid, &late.tally()?)?, &finished)
}

/// What only counters tell, on every tier: descriptors through /proc, queues through a socket in its namespace.
fn check_counters(verdict: &Verdict, late: &Service) -> Result<()> {
    let has = |resource: &str, is_it: &dyn Fn(&Subject) -> bool| {
        verdict.headroom.iter().any(|entry| entry.resource == resource && is_it(&entry.subject))
    };
    let address = late.address().to_string();
    let by_pid = |subject: &Subject| subject.pid == Some(late.pid);
    let by_address = |subject: &Subject| subject.listener.as_ref() == Some(&address);
    ensure!(has("descriptors", &by_pid), "the descriptors of the late service were not counted");
    ensure!(has("accept_queue", &by_address), "the queue of the late service was not read");
    Ok(())
}

fn play_live(stage: &Stage) -> Result<Ending> {
    let Some(observer) = stage.observer() else {
        return Ok(Ending::Skip("needs an observer".into()));
    };
    if Command::new("tmux").arg("-V").output().is_err() {
        return Ok(Ending::Skip("tmux is not installed".into()));
    }
    let recording = stage.recording_path();
    let command = format!("exec {} live --record {}", observer.display(), recording.display());
    let tmux = Tmux::start(stage.folder(), (80, 24), &command)?;
    tmux.wait_for(&["Nothing broke so far"])?;
    check_threads(tmux.pid()?, &OF_LIVE, &Rights::of("/proc/self/status")?)?;
    Ok(Ending::Ok)
}

fn play_without_sys_admin(stage: &Stage) -> Result<Ending> {
    if stage.observer().is_none() {
        return Ok(Ending::Skip("needs an observer".into()));
    }
    let service = stage.serve("service", Serve::on(PORT))?;
    let recording = stage.recording_path();
    let recording = recording.to_str().context("the path of the scenario's folder is not UTF-8")?;
    // It is there already: without CAP_SYS_ADMIN it could not join.
    let load = Role::Load(Load { workers: 4, ..Load::to(service.address()) });
    let mut command = stage.observe_command(&["--record", recording], &load)?;
    let path = format!("/proc/{}/ns/net", service.pid);
    let namespace = File::open(&path).with_context(|| format!("cannot open {path}"))?;
    let give_up = move || -> io::Result<()> {
        setns(&namespace, CloneFlags::CLONE_NEWNET)?;
        // SAFETY: it takes integers. What is not in the bounding set, root does not get at exec.
        Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, SYS_ADMIN.trailing_zeros(), 0, 0, 0) })?;
        Ok(())
    };
    // SAFETY: the closure only makes system calls; it neither allocates nor takes locks.
    unsafe { command.pre_exec(give_up) };
    let mut load = stage.observe_by(command)?;
    let own = Rights::of("/proc/self/status")?;
    let caller = Rights {
        permitted: own.permitted & !SYS_ADMIN,
        effective: own.effective & !SYS_ADMIN,
        bounding: own.bounding & !SYS_ADMIN,
        ..own
    };
    check_command(load.pid, &caller)?;
    let mut needed = OF_RUN;
    needed[0].1 |= if maps_take_cap_bpf()? { BPF } else { 0 };
    check_threads(parent(load.pid)?, &needed, &caller)?;
    let seen = load.tally()?.connected;
    load.wait_for_done(seen + ANSWERS)?;
    let finished = load.finish()?;
    let Some(verdict) = &finished.verdict else { return Ok(Ending::Ok) };
    println!("  {}, {} events seen", verdict.summary(), verdict.coverage.events_seen);
    let probed = verdict.tier("connection_accepted").is_probe();
    ensure!(!probed || verdict.coverage.events_seen > seen + ANSWERS, "the probes were not read any more");
    Ok(Ending::Ok)
}

/// Whether this kernel refuses every bpf() call without CAP_BPF, one that reads a map included.
fn maps_take_cap_bpf() -> Result<bool> {
    /// It refuses the making of maps and programs only, from here on.
    const REFINED: (u32, u32) = (5, 19);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(|character: char| !character.is_ascii_digit()).map(str::parse);
    let mut number = || numbers.next().context("a release has two numbers")?.context("not a number");
    let version = (number()?, number()?);
    let disabled = fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled");
    Ok(version < REFINED && disabled.is_ok_and(|value| value.trim() != "0"))
}

/// More clients than the service has descriptors for.
fn crowd(service: &Service) -> Role {
    Role::Load(Load {
        netns_of: Some(service.pid),
        workers: CLIENTS,
        ramp_ms: 300,
        requests: Some(1),
        ..Load::to(service.address())
    })
}

/// What the kernel says of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rights {
    name: String,
    /// The effective user id.
    pub(super) user: u32,
    inheritable: u64,
    /// The capabilities that it may make effective.
    pub(super) permitted: u64,
    effective: u64,
    bounding: u64,
    ambient: u64,
    /// 1 where nothing that it executes has more rights.
    pub(super) no_new_privileges: u64,
}

impl Rights {
    /// Reads a `status` of procfs.
    pub(super) fn of(path: &str) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
            line.with_context(|| format!("{path} has no {name}"))
        };
        let set = |name| Ok::<_, anyhow::Error>(u64::from_str_radix(field(name)?, 16)?);
        Ok(Self {
            name: field("Name")?.to_owned(),
            user: field("Uid")?.split('\t').nth(1).context("no effective user")?.parse()?,
            inheritable: set("CapInh")?,
            permitted: set("CapPrm")?,
            effective: set("CapEff")?,
            bounding: set("CapBnd")?,
            ambient: set("CapAmb")?,
            no_new_privileges: set("NoNewPrivs")?,
        })
    }

    /// What a thread of observer is left with.
    fn left(name: &str, needed: u64, own: &Self) -> Self {
        let kept = needed & own.permitted;
        let bounding = if own.effective & SETPCAP == 0 { own.bounding } else { needed & own.bounding };
        Self {
            name: name.to_owned(),
            user: own.user,
            inheritable: 0,
            permitted: kept,
            effective: kept,
            bounding,
            ambient: 0,
            no_new_privileges: 1,
        }
    }
}

/// The command's rights are those of observer's caller, which is the lab.
fn check_command(pid: u32, own: &Rights) -> Result<()> {
    let command = Rights::of(&format!("/proc/{pid}/status"))?;
    println!("  the command: {:016x} effective", command.effective);
    ensure!(command == Rights { name: command.name.clone(), ..own.clone() }, "{command:x?}, not {own:x?}");
    Ok(())
}

/// Waits until observer has given up what it gives up: until all of these threads are there, and no other, each
/// with the rights that it needs and the caller has.
fn check_threads(pid: u32, needed: &[(&str, u64)], caller: &Rights) -> Result<()> {
    let of = |name: &str| {
        let name = if name == VISITOR { needed[0].0 } else { name };
        needed.iter().find(|(known, _)| *known == name).map(|(_, needed)| *needed)
    };
    let is_as_it_should =
        |it: &Rights| of(&it.name).is_some_and(|of| *it == Rights::left(&it.name, of, caller));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let threads = threads(pid)?;
        let are_there = needed.iter().all(|(name, _)| threads.iter().any(|it| it.name == *name));
        if are_there && threads.iter().all(is_as_it_should) {
            threads.iter().for_each(|it| println!("  thread {}: {:016x} effective", it.name, it.effective));
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the threads of observer have other rights: {threads:x?}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn threads(pid: u32) -> Result<Vec<Rights>> {
    let folder = format!("/proc/{pid}/task");
    let entries: Vec<_> = fs::read_dir(&folder)?.collect::<io::Result<_>>()?;
    // One that visits a namespace may have ended meanwhile.
    let status = |entry: &fs::DirEntry| Rights::of(&entry.path().join("status").to_string_lossy()).ok();
    Ok(entries.iter().filter_map(status).collect())
}

/// The process that started a process.
fn parent(pid: u32) -> Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).context("no PPid")?;
    Ok(line.parse()?)
}

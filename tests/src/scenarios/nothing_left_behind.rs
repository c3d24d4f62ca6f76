//! Observer is killed at instants spread over a whole run: while it loads its probes, in the pre-roll, under
//! load, while it settles and judges. Each time nothing of it stays in the kernel, what it recorded until then
//! can be read, and the command goes on to its own end: it is a child that nobody tells, not a part of
//! observer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use super::{PORT, Scenario};
use crate::{
    bpf,
    check::Ending,
    children::Running,
    netns,
    report::{Report, Tally},
    roles::{Role, load::Load, serve::Serve},
    stage::{Service, Stage},
};

pub const SCENARIO: Scenario = Scenario {
    name: "nothing_left_behind",
    about: "observer is killed at twenty instants: the kernel, the command and the recording are unharmed",
    play,
};

const KILLS: u32 = 20;
/// Observers that run at the same time.
const AT_ONCE: u32 = 4;
/// The instants are the same in every run of the lab.
const SEED: u64 = 20_261_121;
const DEADLINE: Duration = Duration::from_secs(60);
/// How long the kernel may take to free what nobody holds any more. On a host that is not the lab's alone,
/// other observers may have to end first.
const FREED_WITHIN: Duration = Duration::from_secs(60);
const LOAD_MS: u64 = 1000;
/// Settings of the host that no lab may leave changed.
const SETTINGS: [&str; 3] = ["/proc/sys/net/ipv4", "/proc/sys/net/core", "/proc/sys/fs/file-max"];

fn play(stage: &Stage) -> Result<Ending> {
    let Some(observer) = stage.observer() else {
        return Ok(Ending::Skip("needs an observer".into()));
    };
    let settings = settings();
    let pins = bpf::pins();
    let service = stage.serve("service", Serve::on(PORT))?;
    let netns = service.netns;
    let runs = Runs { stage, observer, service, before: bpf::objects()? };

    let whole = runs.undisturbed()?;
    println!(
        "  an undisturbed run takes {:.1} s and makes {} BPF objects",
        whole.seconds(),
        whole.names.len()
    );
    for first in (0..KILLS).step_by(AT_ONCE as usize) {
        runs.kill_some(first, whole.took)?;
    }
    runs.check_freed(&whole.names)?;
    drop(runs);

    ensure!(bpf::pins() == pins, "something is pinned that was not: {:?}", bpf::pins());
    ensure!(!namespaces().contains(&netns), "the network namespace {netns} is still there");
    for (path, value) in self::settings() {
        ensure!(settings.get(&path).is_none_or(|before| *before == value), "{} was changed", path.display());
    }
    Ok(Ending::Ok)
}

/// Observers in front of a short load, one like the other.
struct Runs<'a> {
    stage: &'a Stage,
    observer: &'a Path,
    service: Service,
    /// The BPF objects of the host before the first of them.
    before: BTreeMap<(bpf::Kind, u32), String>,
}

/// What a run is that nobody kills.
struct Whole {
    took: Duration,
    /// The names of its BPF objects.
    names: BTreeSet<String>,
}

impl Whole {
    fn seconds(&self) -> f64 {
        self.took.as_secs_f64()
    }
}

/// One of them.
struct Run {
    running: Running,
    recording: PathBuf,
    begun: Instant,
    /// When it is to be killed.
    at: Duration,
}

impl Runs<'_> {
    fn start(&self, name: &str, at: Duration) -> Result<Run> {
        let role = Role::Load(Load {
            netns_of: Some(self.service.pid),
            workers: 2,
            for_ms: LOAD_MS,
            ..Load::to(self.service.address())
        });
        let folder = self.stage.folder();
        let recording = folder.join(format!("{name}.observer"));
        let mut command = Command::new(self.observer);
        command.args(["run", "--settle", "500ms", "--format", "json"]);
        command.arg("--output").arg(folder.join(format!("{name}.json")));
        command.arg("--record").arg(&recording).arg("--").args(self.stage.role_args(&role)?);
        let running = Running::start(name, command, folder)?;
        Ok(Run { running, recording, begun: Instant::now(), at })
    }

    /// A run from beginning to end, which shows how long it takes and what it makes.
    fn undisturbed(&self) -> Result<Whole> {
        let mut run = self.start("undisturbed", Duration::ZERO)?;
        ensure!(matches!(run.running.report()?, Report::Ready { .. }), "the command did not start");
        let made = bpf::objects()?.into_iter().filter(|(id, _)| !self.before.contains_key(id));
        let names = made.map(|(_, name)| name).filter(|name| !name.is_empty()).collect();
        let status = run.running.wait(DEADLINE)?;
        ensure!(status.success(), "an undisturbed run ended with {status}");
        Ok(Whole { took: run.begun.elapsed(), names })
    }

    /// Starts some of them at once and kills each at its instant.
    fn kill_some(&self, first: u32, whole: Duration) -> Result<()> {
        let mut runs: Vec<_> = (first..first + AT_ONCE)
            .map(|number| self.start(&format!("killed-{number:02}"), instant(number, whole)))
            .collect::<Result<_>>()?;
        runs.sort_by_key(|run| run.begun + run.at);
        for run in &mut runs {
            thread::sleep(run.at.saturating_sub(run.begun.elapsed()));
            run.running.signal(Signal::SIGKILL)?;
            run.running.wait(DEADLINE)?;
        }
        runs.iter().try_for_each(|run| self.check(run))
    }

    /// Checks the command and the recording of one that was killed.
    fn check(&self, run: &Run) -> Result<()> {
        // Its output ends when the command has ended: nobody else holds the other end of the pipe.
        let said = run.running.rest()?;
        let said: Vec<Report> = said.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let at_s = run.at.as_secs_f64();
        let started = match said.as_slice() {
            [] => false,
            [Report::Ready { .. }, .., Report::Tally(Tally { done: 1.., .. })] => true,
            other => bail!("killed at {at_s:.2} s, and the command did not go on to its end: {other:?}"),
        };
        let reported = self.report(run).with_context(|| format!("killed at {at_s:.2} s"))?;
        let command = if started { "the command went on to its end" } else { "there was no command yet" };
        println!("  killed at {at_s:.2} s: {command}, {reported}");
        ensure!(!started || reported == READABLE, "killed at {at_s:.2} s, and {reported}");
        Ok(())
    }

    fn report(&self, run: &Run) -> Result<&'static str> {
        if !run.recording.exists() {
            return Ok("there is no recording yet");
        }
        let name = run.recording.file_stem().unwrap_or_default().to_string_lossy();
        let mut command = Command::new(self.observer);
        command.args(["report", "--format", "json"]).arg(&run.recording);
        let mut report = Running::start(&format!("report-{name}"), command, self.stage.folder())?;
        let said = report.rest()?.concat();
        let status: ExitStatus = report.wait(DEADLINE)?;
        match status.code() {
            Some(0) if said.contains("observer.verdict/1") => Ok(READABLE),
            Some(1) => Ok("the recording had not begun"),
            _ => bail!("`observer report` ended with {status} and said {said:?}"),
        }
    }

    /// Waits until the kernel has freed all programs and maps that have names of observer's.
    fn check_freed(&self, names: &BTreeSet<String>) -> Result<()> {
        let left = |objects: &BTreeMap<(bpf::Kind, u32), String>| {
            let is_ours = |id, name: &String| !self.before.contains_key(id) && names.contains(name);
            objects.iter().filter(|(id, name)| is_ours(*id, name)).map(|(id, _)| *id).collect::<BTreeSet<_>>()
        };
        let suspects = left(&bpf::objects()?);
        let deadline = Instant::now() + FREED_WITHIN;
        loop {
            let objects = bpf::objects()?;
            let remain: BTreeSet<_> = left(&objects).intersection(&suspects).copied().collect();
            if remain.is_empty() {
                println!("  {KILLS} observers were killed, and none of their BPF objects is left");
                return Ok(());
            }
            if Instant::now() > deadline {
                let names: Vec<_> = remain.iter().filter_map(|id| objects.get(id)).collect();
                bail!("killed observers left {} BPF objects behind: {names:?}", remain.len());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

const READABLE: &str = "its recording can be read";

/// The instant of a kill: somewhere in its own part of the run.
fn instant(number: u32, whole: Duration) -> Duration {
    // SplitMix64.
    let mut z = SEED.wrapping_add(u64::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    let fraction = (z >> 11) as f64 / (1_u64 << 53) as f64;
    whole.mul_f64((f64::from(number) + fraction) / f64::from(KILLS))
}

/// The network namespaces that processes live in.
fn namespaces() -> BTreeSet<u32> {
    let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(pid);
    pids.filter_map(|pid| netns::inode(pid).ok()).collect()
}

fn settings() -> BTreeMap<PathBuf, String> {
    fn walk(path: &Path, found: &mut BTreeMap<PathBuf, String>) {
        match fs::read_dir(path) {
            Ok(entries) => entries.flatten().for_each(|entry| walk(&entry.path(), found)),
            // Some can only be written.
            Err(_) => found.extend(fs::read_to_string(path).map(|value| (path.to_owned(), value))),
        }
    }
    let mut found = BTreeMap::new();
    SETTINGS.iter().for_each(|path| walk(Path::new(path), &mut found));
    found
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{KILLS, instant};

    #[test]
    fn the_instants_cover_the_whole_run() {
        let whole = Duration::from_secs(20);
        for number in 0..KILLS {
            let second = Duration::from_secs(number.into());
            let at = instant(number, whole);
            assert!(at >= second && at <= second + Duration::from_secs(1), "{number}: {at:?}");
        }
    }
}

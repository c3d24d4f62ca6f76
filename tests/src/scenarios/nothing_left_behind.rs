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
/// Observers that run at the same time, each to be killed in another part of its run.
const AT_ONCE: u32 = Part::ALL.len() as u32;
const PERIOD: Duration = Duration::from_millis(2);
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
    println!("  an undisturbed run takes {:?} and makes {} BPF objects", whole.lengths, whole.names.len());
    for round in 0..KILLS / AT_ONCE {
        runs.kill_some(round, &whole)?;
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

/// Part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Until there is a recording: probes are loaded and attached.
    Loading,
    /// Until the command runs.
    PreRoll,
    /// Until the command ends.
    Load,
    /// Until observer ends: it settles, judges and writes.
    Finish,
}

impl Part {
    const ALL: [Self; 4] = [Self::Loading, Self::PreRoll, Self::Load, Self::Finish];
}

/// What a run is that nobody kills.
struct Whole {
    /// How long each part takes.
    lengths: [Duration; Part::ALL.len()],
    /// The names of its BPF objects.
    names: BTreeSet<String>,
}

/// One of them.
struct Run {
    running: Running,
    recording: PathBuf,
    begun: Instant,
    /// Since when there is a recording.
    recorded: Option<Instant>,
    /// Since when the command runs.
    ready: Option<Instant>,
    /// What the command has said.
    said: Vec<String>,
    /// It is to be killed so long after this part has begun.
    part: Part,
    after: Duration,
}

impl Run {
    /// Looks how far it is, and says whether it is to be killed now.
    fn is_due(&mut self) -> bool {
        self.said.extend(self.running.line());
        if self.recording.exists() {
            self.recorded.get_or_insert_with(Instant::now);
        }
        if !self.said.is_empty() {
            self.ready.get_or_insert_with(Instant::now);
        }
        let since = match self.part {
            Part::Loading => Some(self.begun),
            Part::PreRoll => self.recorded,
            Part::Load => self.ready,
            Part::Finish => self.ready.map(|ready| ready + Duration::from_millis(LOAD_MS)),
        };
        since.is_some_and(|since| Instant::now() >= since + self.after)
    }

    fn wait_due(&mut self) -> Result<()> {
        while !self.is_due() {
            ensure!(self.begun.elapsed() < DEADLINE, "no run came to {:?} in {DEADLINE:?}", self.part);
            thread::sleep(PERIOD);
        }
        Ok(())
    }

    fn place(&self) -> String {
        format!("killed {:.2} s into {:?}", self.after.as_secs_f64(), self.part)
    }
}

impl Runs<'_> {
    fn start(&self, name: &str, part: Part, after: Duration) -> Result<Run> {
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
        let begun = Instant::now();
        let (recorded, ready, said) = (None, None, Vec::new());
        Ok(Run { running, recording, begun, recorded, ready, said, part, after })
    }

    /// A run from beginning to end, which shows how long its parts take and what it makes.
    fn undisturbed(&self) -> Result<Whole> {
        let mut run = self.start("undisturbed", Part::Finish, Duration::ZERO)?;
        let begun = run.begun;
        run.wait_due()?;
        let (recorded, ready) =
            run.recorded.zip(run.ready).context("it neither records nor starts its command")?;
        let made = bpf::objects()?.into_iter().filter(|(id, _)| !self.before.contains_key(id));
        let names = made.map(|(_, name)| name).filter(|name| !name.is_empty()).collect();
        let status = run.running.wait(DEADLINE)?;
        ensure!(status.success(), "an undisturbed run ended with {status}");
        let load = Duration::from_millis(LOAD_MS);
        let finish = ready.elapsed().saturating_sub(load);
        Ok(Whole { lengths: [recorded - begun, ready - recorded, load, finish], names })
    }

    /// Starts one for each part of a run and kills each in its part.
    fn kill_some(&self, round: u32, whole: &Whole) -> Result<()> {
        let mut runs: Vec<_> = (round * AT_ONCE..)
            .zip(Part::ALL.into_iter().zip(whole.lengths))
            .map(|(number, (part, length))| {
                self.start(&format!("killed-{number:02}"), part, instant(round, number, length))
            })
            .collect::<Result<_>>()?;
        for run in &mut runs {
            run.wait_due()?;
            run.running.signal(Signal::SIGKILL)?;
            run.running.wait(DEADLINE)?;
        }
        runs.iter_mut().try_for_each(|run| self.check(run))
    }

    /// Checks the command and the recording of one that was killed.
    fn check(&self, run: &mut Run) -> Result<()> {
        // Its output ends when the command has ended: nobody else holds the other end of the pipe.
        run.said.extend(run.running.rest()?);
        let said: Vec<Report> = run.said.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let place = run.place();
        let started = match said.as_slice() {
            [] => false,
            [Report::Ready { .. }, .., Report::Tally(Tally { done: 1.., .. })] => true,
            other => bail!("{place}, and the command did not go on to its end: {other:?}"),
        };
        let reported = self.report(run).with_context(|| place.clone())?;
        let command = if started { "the command went on to its end" } else { "there was no command yet" };
        println!("  {place}: {command}, {reported}");
        ensure!(!started || reported == READABLE, "{place}, and {reported}");
        Ok(())
    }

    /// What `observer report` makes of the recording.
    fn report(&self, run: &Run) -> Result<String> {
        if !run.recording.exists() {
            return Ok("there is no recording yet".to_owned());
        }
        let name = run.recording.file_stem().unwrap_or_default().to_string_lossy();
        let mut command = Command::new(self.observer);
        command.args(["report", "--format", "json"]).arg(&run.recording);
        let mut report = Running::start(&format!("report-{name}"), command, self.stage.folder())?;
        let said = report.rest()?.concat();
        let status: ExitStatus = report.wait(DEADLINE)?;
        match status.code() {
            Some(0) if said.contains("observer.verdict/1") => Ok(READABLE.to_owned()),
            Some(1) => {
                let why = fs::read_to_string(self.stage.folder().join(format!("report-{name}.stderr")))?;
                Ok(format!("its recording had not begun: {}", why.trim()))
            }
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

/// The instant of a kill: somewhere in its own piece of a part of the run.
fn instant(round: u32, number: u32, length: Duration) -> Duration {
    // SplitMix64.
    let mut z = SEED.wrapping_add(u64::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    let fraction = (z >> 11) as f64 / (1_u64 << 53) as f64;
    length.mul_f64((f64::from(round) + fraction) / f64::from(KILLS / AT_ONCE))
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

    use super::{AT_ONCE, KILLS, instant};

    #[test]
    fn the_instants_cover_the_whole_part() {
        let rounds = KILLS / AT_ONCE;
        let length = Duration::from_secs(rounds.into());
        for round in 0..rounds {
            let second = Duration::from_secs(round.into());
            let at = instant(round, 4 * round, length);
            assert!(at >= second && at <= second + Duration::from_secs(1), "{round}: {at:?}");
        }
    }
}

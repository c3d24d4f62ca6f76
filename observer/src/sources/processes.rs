//! The processes of the host: where they live, and which of them the observed command started.
//!
//! A look at every process each second would cost more than everything else here, so `/proc` is listed once
//! a second where a process has come, and only what is new is looked at, twice: a young process still moves to
//! its namespace and its program. Of the others a sixteenth is looked at again each time. Where nobody comes it
//! is listed every five seconds, for those that are gone. The observed command's tree is followed at every tick,
//! through the kernel's lists of children.

use std::{collections::VecDeque, fs};

use super::{
    Clock, Pace, Samples, Source, Stopwatch,
    error::{Problems, SourceError, is_gone},
    namespaces,
    text::{self, Kept},
    world::{Details, Process, World},
};

/// Looking at new processes takes at most this long per tick.
const BUDGET_NS: u64 = 4_000_000;
/// `/proc` is listed so often though nobody has come, for those that are gone.
const LIST_ANYWAY_NS: u64 = 5_000_000_000;
/// Ends with the process id that was given out last (`loadavg_proc_show` in fs/proc/loadavg.c).
const LOADAVG: &str = "/proc/loadavg";
/// A process is young for this many looks.
const YOUNG: u8 = 2;
/// An older one is looked at again once in this many rounds.
const ROUNDS: u32 = 16;
/// One tick is not exactly as long as the next.
const SLACK_NS: u64 = 20_000_000;
/// A tree of this size is followed at every tick.
const SMALL_TREE: usize = 32;
/// `PF_KTHREAD` of the kernel's flags.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// Keeps [`World::processes`] and [`World::generator`].
#[derive(Debug)]
pub(super) struct Processes {
    listing: Pace,
    listed_ns: u64,
    /// The process id that had been given out last at the latest look, where that is known.
    newest: Option<u32>,
    loadavg: Kept,
    round: u32,
    waiting: VecDeque<u32>,
    buffer: Vec<u8>,
}

impl Default for Processes {
    fn default() -> Self {
        Self {
            listing: Pace::every_ms(1_000).at_most_one_in(200),
            listed_ns: 0,
            newest: None,
            loadavg: Kept::default(),
            round: 0,
            waiting: VecDeque::new(),
            buffer: Vec::new(),
        }
    }
}

impl Source for Processes {
    fn name(&self) -> &'static str {
        "processes"
    }

    fn due(&self, now_ns: u64, world: &World) -> bool {
        self.listing.is_due(now_ns) || !self.waiting.is_empty() || !world.generator.is_empty()
    }

    fn read(
        &mut self,
        world: &mut World,
        clock: Clock<'_>,
        out: &mut Samples<'_>,
    ) -> Result<(), SourceError> {
        let mut problems = Problems::default();
        let watch = self.listing.is_due(clock()).then(|| Stopwatch::start(clock));
        let started_ns = watch.map_or_else(clock, Stopwatch::started_ns);
        if world.generator.len() <= SMALL_TREE {
            self.follow_children(world);
        }
        if watch.is_some() {
            let newest = self.loadavg.read(LOADAVG, &mut self.buffer).ok().and_then(newest);
            if self.has_news(newest, world, started_ns) {
                self.listed_ns = started_ns;
                if problems.check(self.list(world, out)).is_none() {
                    self.newest = None;
                }
            }
        }
        while let Some(pid) = self.waiting.pop_front() {
            problems.check(self.look_at(world, pid));
            if clock().saturating_sub(started_ns) > BUDGET_NS {
                break;
            }
        }
        if let Some(watch) = watch {
            self.listing.ran_at(started_ns, watch.cost(clock));
            let hidden = world.processes.values().filter(|process| is_hidden(process)).count();
            if hidden > 0 {
                problems.note(SourceError::Hidden { count: hidden, what: "network namespace" });
            }
        }
        problems.finish()
    }
}

impl Processes {
    /// Whether a listing may show anything new. Where the process id that was given out last, `newest`, is the same as before,
    /// nobody has come since; threads take such ids as well.
    fn has_news(&mut self, newest: Option<u32>, world: &World, now_ns: u64) -> bool {
        let is_same = std::mem::replace(&mut self.newest, newest) == newest && newest.is_some();
        !is_same
            || now_ns.saturating_sub(self.listed_ns) + SLACK_NS >= LIST_ANYWAY_NS
            || world.processes.values().any(|process| process.looks < YOUNG)
    }

    /// Lists `/proc`: forgets who is gone, and queues who is new or has to be looked at again.
    fn list(&mut self, world: &mut World, out: &mut Samples<'_>) -> Result<(), SourceError> {
        let unreadable = |error| SourceError::Unreadable { file: "/proc".into(), error };
        let mut alive: Vec<u32> = fs::read_dir("/proc")
            .map_err(unreadable)?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        alive.sort_unstable();
        let before = world.processes.len();
        world.processes.retain(|pid, _| {
            let lives = alive.binary_search(pid).is_ok();
            if !lives {
                out.process_ends(*pid);
            }
            lives
        });
        if world.processes.len() != before {
            world.process_changes += 1;
        }
        let lives = |pid: &u32| alive.binary_search(pid).is_ok();
        world.generator.retain(lives);
        world.noted.retain(lives);
        self.round = (self.round + 1) % ROUNDS;
        self.waiting.clear();
        for pid in alive {
            let again = match world.processes.get(&pid) {
                None => true,
                Some(process) => {
                    process.looks < YOUNG
                        || pid % ROUNDS == self.round
                        || world.generator.contains(&pid)
                        || world.owners.contains_key(&pid)
                }
            };
            if again {
                self.waiting.push_back(pid);
            }
        }
        Ok(())
    }

    /// Looks at one process and at whose child it is.
    fn look_at(&mut self, world: &mut World, pid: u32) -> Result<(), SourceError> {
        let netns = match namespaces::id_of(pid) {
            Ok(id) => Some(id),
            Err(error) if error.is_gone() => return Ok(()),
            Err(SourceError::Unreadable { .. }) => None,
            Err(error) => return Err(error),
        };
        let known = world.processes.get(&pid);
        let mut process = known.cloned().unwrap_or_default();
        // Whether it belongs to the observed command matters only for those that came after it, and a
        // process that hides its namespace is no loss if it is a thread of the kernel.
        let wanted = known.is_none() && world.command.is_some()
            || netns.is_none() && process.details.is_none()
            || process.details.is_some()
            || world.generator.contains(&pid);
        if wanted {
            match details(pid, &mut self.buffer) {
                Err(error) if error.is_gone() => return Ok(()),
                details => process.details = Some(details?),
            }
        }
        if known.is_none_or(|known| known.netns != netns) {
            world.process_changes += 1;
        }
        process.netns = netns;
        process.looks = process.looks.saturating_add(1);
        let parent = process.details.as_ref().map(|details| details.parent);
        world.processes.insert(pid, process);
        if parent.is_some_and(|parent| world.generator.contains(&parent)) {
            world.generator.insert(pid);
        }
        Ok(())
    }

    /// Adds the children of the observed command's tree that the main threads have started. What other
    /// threads started is found by its parent at the next listing.
    fn follow_children(&mut self, world: &mut World) {
        let mut waiting: Vec<u32> = world.generator.iter().copied().collect();
        while let Some(pid) = waiting.pop() {
            // Not every kernel has this file, and the process may have ended.
            let Ok(text) = text::read(&format!("/proc/{pid}/task/{pid}/children"), &mut self.buffer) else {
                continue;
            };
            for child in text.split_ascii_whitespace().filter_map(|word| word.parse().ok()) {
                if world.generator.insert(child) {
                    waiting.push(child);
                    self.waiting.push_front(child);
                }
            }
        }
    }
}

/// A process that does not show its network namespace, and is no thread of the kernel.
fn is_hidden(process: &Process) -> bool {
    process.netns.is_none() && !process.details.as_ref().is_some_and(|details| details.kernel)
}

/// Reads `/proc/PID/stat`.
pub(super) fn details(pid: u32, buffer: &mut Vec<u8>) -> Result<Details, SourceError> {
    let file = format!("/proc/{pid}/stat");
    let bytes = text::read_bytes(&file, buffer)?;
    parse_stat(&String::from_utf8_lossy(bytes)).map_err(|problem| SourceError::malformed(file, problem))
}

/// Whether the process has ended, as seen by the kernel and not by what was noted of it.
pub(super) fn has_ended(pid: u32) -> bool {
    fs::metadata(format!("/proc/{pid}")).is_err_and(|error| is_gone(&error))
}

/// The process id that was given out last, at the end of `/proc/loadavg`.
fn newest(loadavg: &str) -> Option<u32> {
    let newest = loadavg.strip_suffix('\n')?.rsplit_once(' ')?.1.parse().ok();
    // Whoever stands in for the kernel may not keep it.
    newest.filter(|pid| *pid != 0)
}

/// Reads the line of `stat`. The command name stands in parentheses and may hold anything, parentheses too.
/// (The parser of the procfs crate slices at their positions unchecked, and panics on a damaged line.)
fn parse_stat(text: &str) -> Result<Details, String> {
    let (before, after) = text.rsplit_once(") ").ok_or("has no command name")?;
    let (_, comm) = before.split_once(" (").ok_or("has no command name")?;
    // Numbered as in proc(5), where the state after the command name is the third field.
    let fields: Vec<&str> = text::line(after)?.split(' ').collect();
    let field = |number: usize| {
        let field = fields.get(number - 3).ok_or_else(|| format!("has no field {number}"))?;
        text::number(field)
    };
    Ok(Details {
        comm: comm.to_owned(),
        parent: u32::try_from(field(4)?).map_err(|_| "has a parent that is no process id")?,
        kernel: field(9)? & KERNEL_THREAD != 0,
        started: field(22)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAT: &str =
        "17 (web) (x) S 1 17 17 0 -1 4194560 900 0 0 0 5 6 0 0 20 0 4 0 12345 9000 80 1844 0\n";

    #[test]
    fn a_command_name_may_hold_anything() {
        let details = parse_stat(STAT).expect("a line of the kernel's");
        assert_eq!(details, Details { comm: "web) (x".into(), parent: 1, kernel: false, started: 12_345 });
        let kernel = parse_stat(&STAT.replace("4194560", "2129984")).expect("a line of the kernel's");
        assert!(kernel.kernel);
    }

    #[test]
    fn every_cut_of_the_line_is_an_error() {
        for end in 0..STAT.len() {
            assert!(parse_stat(&STAT[..end]).is_err(), "{:?}", &STAT[..end]);
        }
    }

    #[test]
    fn processes_are_listed_again_when_one_has_come_or_is_young_or_after_a_while() {
        let mut processes = Processes::default();
        let mut world = World::default();
        let mut has_news = |world: &World, newest, now_s: u64| {
            let has_news = processes.has_news(newest, world, now_s * 1_000_000_000);
            if has_news {
                processes.listed_ns = now_s * 1_000_000_000;
            }
            has_news
        };
        assert_eq!(newest("0.10 0.05 0.01 2/345 6789\n"), Some(6789));
        assert_eq!(newest("0.10 0.05 0.01 2/345 6789"), None, "it may be cut");
        assert_eq!(newest("0.10 0.05 0.01 2/345 0\n"), None);
        assert!(has_news(&world, Some(70), 100));
        assert!(!has_news(&world, Some(70), 101));
        assert!(has_news(&world, Some(71), 102));
        assert!(!has_news(&world, Some(71), 103));
        world.processes.insert(71, Process { looks: 1, ..Process::default() });
        assert!(has_news(&world, Some(71), 104));
        world.processes.insert(71, Process { looks: YOUNG, ..Process::default() });
        assert!(!has_news(&world, Some(71), 105));
        assert!(has_news(&world, Some(71), 109));
        assert!(has_news(&world, None, 110) && has_news(&world, None, 111), "unknown is never the same");
    }

    #[test]
    fn a_process_reads_itself() {
        let details = details(std::process::id(), &mut Vec::new()).expect("its own stat");
        assert!(!details.kernel && details.parent > 0);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([ ()0-9A-Z-]|\\PC){0,60}\n?") {
            let _ = parse_stat(&text);
        }
    }
}

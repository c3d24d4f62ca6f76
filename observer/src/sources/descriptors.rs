//! Descriptors in use against the soft RLIMIT_NOFILE, for the processes that matter.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    os::unix::fs::{MetadataExt, OpenOptionsExt as _},
};

use super::{
    Clock, Samples, Source, Window,
    error::{Problems, SourceError},
    processes, text,
    world::World,
};
use crate::core::{
    frame::{Fact, Resource},
    subject::Subject,
};

/// How often a process far from its limit is counted, and the limit of one close to it is read.
const SLOW_NS: u64 = 1_000_000_000;
/// How often the limit of any other process is read.
const LIMIT_NS: u64 = 5_000_000_000;
/// A process that has just come may still set its own limit: it is read at every tick for so long.
const YOUNG_NS: u64 = 3_000_000_000;
/// A tick is not exactly as long as the next.
const SLACK_NS: u64 = 20_000_000;
/// With at most so many processes all are counted often, where the kernel has the count at hand: at every tick
const FEW: usize = 32;
/// until the count has stood still for so long,
const ACTIVE_NS: u64 = 2_000_000_000;
/// and then this often.
const STILL_NS: u64 = 300_000_000;
/// At this percentage of its limit a process is counted at every tick.
const NEAR_PERCENT: u64 = 30;
/// So is one that came closer by this percentage since it was last counted.
const FAST_PERCENT: u64 = 3;

/// Follows [`World::processes_of_interest`].
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    followed: HashMap<u32, Followed>,
    /// Whether the size of `/proc/PID/fd` is the count, as on 6.2 and later.
    size_is_count: Option<bool>,
    buffer: Vec<u8>,
}

/// A process that is followed.
#[derive(Debug, Default)]
struct Followed {
    limit: Option<u64>,
    limit_ns: Option<u64>,
    /// Its `/proc/PID/fd`, where it is looked at often: finding the way there costs more than the count. It stays that of this
    /// process, and is nobody's when that has ended, whoever has its id then.
    folder: Option<File>,
    since_ns: u64,
    used: u64,
    /// When that was last seen to move.
    moved_ns: u64,
    counted_ns: Option<u64>,
    /// When it was last counted with success: it had not ended then.
    alive_ns: Option<u64>,
    near: bool,
}

impl Source for Descriptors {
    fn name(&self) -> &'static str {
        "descriptors"
    }

    fn due(&self, _now_ns: u64, world: &World) -> bool {
        let nobody = world.owners.is_empty() && world.generator.is_empty() && world.noted.is_empty();
        !(nobody && self.followed.is_empty())
    }

    fn read(
        &mut self,
        world: &mut World,
        clock: Clock<'_>,
        out: &mut Samples<'_>,
    ) -> Result<(), SourceError> {
        let mut problems = Problems::default();
        let size_is_count = *self.size_is_count.get_or_insert_with(|| {
            fs::metadata(format!("/proc/{}/fd", world.own_pid)).is_ok_and(|folder| folder.size() > 0)
        });
        let pids = world.processes_of_interest();
        let often = size_is_count && pids.len() <= FEW;
        let now_ns = clock();
        for pid in &pids {
            let process = self
                .followed
                .entry(*pid)
                .or_insert_with(|| Followed { since_ns: now_ns, ..Followed::default() });
            let is_young = now_ns.saturating_sub(process.since_ns) < YOUNG_NS;
            let is_due = |last: Option<u64>, rest_ns: u64| {
                last.is_none_or(|last| now_ns.saturating_sub(last).saturating_add(SLACK_NS) >= rest_ns)
            };
            if is_young || is_due(process.limit_ns, if process.near { SLOW_NS } else { LIMIT_NS }) {
                process.limit_ns = Some(now_ns);
                let limits = read_limit(*pid, &mut self.buffer);
                if let Some((soft, hard)) = problems.check(limits) {
                    process.limit = soft;
                    tell_limits(*pid, soft, hard, world, &mut self.buffer, out);
                }
            }
            let is_still = now_ns.saturating_sub(process.moved_ns) >= ACTIVE_NS;
            let rest_ns = match (often, is_still) {
                (true, false) => 0,
                (true, true) => STILL_NS,
                (false, _) => SLOW_NS,
            };
            if !((often && is_young) || process.near || is_due(process.counted_ns, rest_ns)) {
                continue;
            }
            let (window, used) = Window::around(clock, || match often {
                true => process.size(*pid),
                false => count(*pid, size_is_count),
            });
            process.counted_ns = Some(window.before_ns);
            let Some(used) = problems.check(used) else { continue };
            process.alive_ns = process.counted_ns;
            process.near = process.limit.is_some_and(|limit| {
                let percent = |count: u64| count.saturating_mul(100) / limit.max(1);
                percent(used) >= NEAR_PERCENT || percent(used.saturating_sub(process.used)) >= FAST_PERCENT
            });
            if process.used != used {
                (process.used, process.moved_ns) = (used, now_ns);
            }
            let limit = process.limit.map(|limit| (limit, "RLIMIT_NOFILE (soft)"));
            out.usage(Resource::Descriptors, &Subject::process(*pid), used, limit, window);
        }
        let window = Window { before_ns: now_ns, after_ns: clock() };
        self.followed.retain(|pid, process| {
            let was_alive = process.alive_ns >= Some(now_ns.saturating_sub(STILL_NS));
            let keep = pids.contains(pid) && (was_alive || !processes::has_ended(*pid));
            if !keep {
                out.usage_ends(Resource::Descriptors, &Subject::process(*pid), 0, window);
            }
            keep
        });
        problems.finish()
    }
}

impl Followed {
    /// The open descriptors of a process, by the size of its folder.
    fn size(&mut self, pid: u32) -> Result<u64, SourceError> {
        let path = || format!("/proc/{pid}/fd");
        let open = || OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path());
        let folder = self.folder.take().map_or_else(open, Ok);
        let sized = folder.and_then(|folder| Ok((folder.metadata()?.size(), folder)));
        let (size, folder) = sized.map_err(|error| SourceError::Unreadable { file: path(), error })?;
        self.folder = Some(folder);
        Ok(size)
    }
}

/// Tells the limits of a process as facts.
fn tell_limits(
    pid: u32,
    soft: Option<u64>,
    hard: Option<u64>,
    world: &World,
    buffer: &mut Vec<u8>,
    out: &mut Samples<'_>,
) {
    let known = world.processes.get(&pid).and_then(|process| process.details.clone());
    let Some(details) = known.or_else(|| processes::details(pid, buffer).ok()) else { return };
    let place = format!("pid {pid} ({})", details.comm);
    for (name, limit) in [("RLIMIT_NOFILE (soft)", soft), ("RLIMIT_NOFILE (hard)", hard)] {
        let value = limit.map_or_else(|| "unlimited".into(), |limit| limit.to_string());
        out.fact(Fact::Limit { name: name.into(), value, place: place.clone() });
    }
}

/// Counts the open descriptors of a process.
fn count(pid: u32, size_is_count: bool) -> Result<u64, SourceError> {
    let file = format!("/proc/{pid}/fd");
    let unreadable = |error| SourceError::Unreadable { file: file.clone(), error };
    if size_is_count {
        return Ok(fs::metadata(&file).map_err(unreadable)?.size());
    }
    Ok(fs::read_dir(&file).map_err(unreadable)?.count() as u64)
}

/// Reads the soft and the hard RLIMIT_NOFILE of a process; `None` is unlimited.
fn read_limit(pid: u32, buffer: &mut Vec<u8>) -> Result<(Option<u64>, Option<u64>), SourceError> {
    let file = format!("/proc/{pid}/limits");
    let text = text::read(&file, buffer)?;
    parse_limit(text).map_err(|problem| SourceError::malformed(file, problem))
}

/// The line of the limit. (The parser of the procfs crate reads all sixteen limits, and subtracts
/// unchecked from the number of words of a line.)
fn parse_limit(text: &str) -> Result<(Option<u64>, Option<u64>), String> {
    let line = text.split_inclusive('\n').find_map(|line| line.strip_prefix("Max open files"));
    let line = text::line(line.ok_or("has no line Max open files")?)?;
    let mut words = line.split_ascii_whitespace();
    let mut limit = || match words.next() {
        None => Err("has no value of Max open files".to_owned()),
        Some("unlimited") => Ok(None),
        Some(word) => text::number(word).map(Some),
    };
    Ok((limit()?, limit()?))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        process::{Command, Stdio},
    };

    use proptest::prelude::*;

    use super::*;

    const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
        Max processes             unlimited            unlimited            processes \n\
        Max open files            1024                 524288               files     \n\
        Max nice priority         0                    0                    \n";

    #[test]
    fn the_limit_is_read() {
        assert_eq!(parse_limit(LIMITS), Ok((Some(1_024), Some(524_288))));
        assert_eq!(parse_limit("Max open files unlimited unlimited files\n"), Ok((None, None)));
    }

    #[test]
    fn every_cut_of_the_line_is_an_error() {
        let end = LIMITS.find("\nMax nice").expect("the next line");
        for end in 0..=end {
            assert!(parse_limit(&LIMITS[..end]).is_err(), "{:?}", &LIMITS[..end]);
        }
        assert!(parse_limit("Max open files\n").is_err());
        assert!(parse_limit("Max open files -1 5 files\n").is_err());
    }

    #[test]
    fn both_ways_of_counting_agree() {
        let pid = std::process::id();
        // Other tests of this process open and close files meanwhile.
        let close = |a: u64, b: u64| a.abs_diff(b) < 50;
        assert!(close(
            count(pid, false).expect("own folder"),
            fs::read_dir("/proc/self/fd").expect("own folder").count() as u64
        ));
    }

    #[test]
    fn a_kept_folder_counts_anew_and_ends_with_its_process() {
        if fs::metadata("/proc/self/fd").expect("own folder").size() == 0 {
            eprintln!("skipped: the size of /proc/PID/fd is not the count before 6.2");
            return;
        }
        let mut cat = Command::new("cat");
        let mut child = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cat");
        let (pid, mut followed) = (child.id(), Followed::default());
        // When it answers it has opened and closed what it does at its start.
        child.stdin.as_mut().expect("a pipe").write_all(b"?").expect("a reader");
        child.stdout.as_mut().expect("a pipe").read_exact(&mut [0]).expect("an answer");
        for _ in 0..2 {
            assert_eq!(followed.size(pid).expect("it is alive"), count(pid, false).expect("it is alive"));
            assert!(followed.folder.is_some());
        }
        child.kill().expect("one's own child");
        child.wait().expect("one's own child");
        assert!(followed.size(pid).is_err_and(|error| error.is_gone()));
        assert!(followed.folder.is_none());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(Max open files)?([ a-z0-9\n]|\\PC){0,60}") {
            let _ = parse_limit(&text);
        }
    }
}

//! What the lines say. Pure.
//!
//! The kernel writes them, but names of processes in them are chosen by whoever runs one.

use crate::{
    core::frame::{Fact, LogTopic},
    sources::{Window, text},
};

/// How lines begin, after the names of the modules that wrote them (`TCP: `, `nf_conntrack: `).
const TOPICS: [(&str, LogTopic); 8] = [
    ("nf_conntrack: table full", LogTopic::ConntrackFull),
    ("Possible SYN flooding on port", LogTopic::SynFlooding),
    ("TCP: out of memory", LogTopic::SocketMemory),
    ("too many orphaned sockets", LogTopic::SocketMemory),
    ("time wait bucket table overflow", LogTopic::TimeWaitOverflow),
    ("VFS: file-max limit", LogTopic::FileTable),
    (OUT_OF_MEMORY, LogTopic::OutOfMemory),
    (CGROUP_OUT_OF_MEMORY, LogTopic::OutOfMemory),
];
const OUT_OF_MEMORY: &str = "Out of memory";
const CGROUP_OUT_OF_MEMORY: &str = "Memory cgroup out of memory";
/// Names of modules before a line, at most.
const MOST_MODULES: usize = 3;
/// A line of the OOM killer is made of several pieces; no more of them are put together than make this many
/// bytes.
const LONGEST: usize = 4_096;

/// A record of the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Who wrote it; 0 is the kernel.
    facility: u64,
    /// Its stamp.
    at_us: u64,
    /// Whether it goes on with a line that another record began.
    goes_on: bool,
    text: String,
}

impl Record {
    /// Reads `priority,number,microseconds,flags[,...];text`, and what lines of properties may follow.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (head, text) = text.split_once(';')?;
        let mut fields = head.split(',');
        let priority = text::number(fields.next()?).ok()?;
        let _number = fields.next()?;
        let at_us = text::number(fields.next()?).ok()?;
        let goes_on = fields.next()? == "c";
        let text = text.split('\n').next().unwrap_or_default();
        Some(Self { facility: priority >> 3, at_us, goes_on, text: unescape(text) })
    }

    /// Only the kernel can write with its own facility; the others are set to another one.
    pub(super) fn is_of_the_kernel(&self) -> bool {
        self.facility == 0
    }
}

/// Undoes the escapes `\xNN` of the log, which stand for bytes that are not printable ASCII.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        match after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.extend_from_slice(b"\\x");
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Text that can be shown: without what steers a terminal.
fn harmless(text: &str) -> String {
    let escape = |c: char| match c.is_control() {
        true => c.escape_default().collect::<String>(),
        false => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// Puts together what belongs together.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// A summary of the OOM killer of which only the beginning was there.
    unfinished: Option<String>,
    /// The process of the latest summary. The line that says that it was killed follows.
    victim: Option<u32>,
}

impl Lines {
    /// Enters a record that was read within `window`, and tells what it means.
    pub(super) fn enter(&mut self, record: &Record, window: Window, tell: &mut dyn FnMut(Fact)) {
        let stamp_ns = record.at_us.saturating_mul(1_000);
        let at_ns = stamp_ns.max(window.before_ns).min(window.after_ns);
        if record.goes_on {
            let Some(mut text) = self.unfinished.take() else { return };
            text.push_str(&record.text);
            return self.summary(text, at_ns, tell);
        }
        if record.text.starts_with(SUMMARY) {
            return self.summary(record.text.clone(), at_ns, tell);
        }
        let Some(about) = topic(&record.text) else { return };
        tell(Fact::KernelLog { at_ns, about, text: harmless(&record.text) });
        if let Some(victim) = Killed::parse(&record.text)
            && self.victim.take() != Some(victim.pid)
        {
            // The summaries are fewer when there are many kills, and a whole cgroup may be killed for one.
            tell(Fact::OomVictim {
                at_ns,
                pid: victim.pid,
                comm: harmless(victim.comm),
                constraint: victim.constraint.into(),
                limit_owner: None,
                cgroup: None,
            });
        }
    }

    /// A summary, or the beginning of one.
    fn summary(&mut self, text: String, at_ns: u64, tell: &mut dyn FnMut(Fact)) {
        match Summary::parse(&text) {
            Some(summary) => {
                self.victim = Some(summary.pid);
                tell(Fact::OomVictim {
                    at_ns,
                    pid: summary.pid,
                    comm: harmless(summary.comm),
                    constraint: harmless(summary.constraint),
                    limit_owner: summary.limit_owner.map(harmless),
                    cgroup: summary.cgroup.map(harmless),
                });
            }
            None => self.unfinished = Some(text).filter(|text| text.len() < LONGEST),
        }
    }
}

/// What a line is about.
fn topic(text: &str) -> Option<LogTopic> {
    let mut rest = text;
    for _ in 0..=MOST_MODULES {
        if let Some((_, topic)) = TOPICS.iter().find(|(beginning, _)| rest.starts_with(beginning)) {
            return Some(*topic);
        }
        let (module, after) = rest.split_once(": ")?;
        if !module.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return None;
        }
        rest = after;
    }
    None
}

const SUMMARY: &str = "oom-kill:constraint=";

/// `oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,task_memcg=/a/b,
/// task=name,pid=123,uid=0`, with `global_oom` for the owner of the limit where there is none
/// (`dump_oom_victim`, `mem_cgroup_print_oom_context`).
#[derive(Debug, PartialEq, Eq)]
struct Summary<'t> {
    constraint: &'t str,
    limit_owner: Option<&'t str>,
    cgroup: Option<&'t str>,
    comm: &'t str,
    pid: u32,
}

impl<'t> Summary<'t> {
    /// Reads a whole one. The name of the process may hold what looks like another field, but it stands
    /// between a path, which only root can choose, and two numbers at the end.
    fn parse(text: &'t str) -> Option<Self> {
        let (constraint, rest) = text.strip_prefix(SUMMARY)?.split_once(',')?;
        let (rest, uid) = rest.rsplit_once(",uid=")?;
        let (rest, pid) = rest.rsplit_once(",pid=")?;
        let _ = text::number(uid).ok()?;
        let pid = pid.parse().ok()?;
        let (owner, cgroup, comm) = match rest.split_once(",task_memcg=") {
            Some((before, after)) => {
                let (cgroup, comm) = after.split_once(",task=")?;
                (before.split_once(",oom_memcg=").map(|(_, owner)| owner), Some(cgroup), comm)
            }
            // A kernel without memory cgroups.
            None => (None, None, rest.split_once(",task=")?.1),
        };
        Some(Self { constraint, limit_owner: owner, cgroup, comm, pid })
    }
}

/// `Memory cgroup out of memory: Killed process 123 (name) total-vm:...`.
#[derive(Debug, PartialEq, Eq)]
struct Killed<'t> {
    pid: u32,
    comm: &'t str,
    constraint: &'static str,
}

impl<'t> Killed<'t> {
    fn parse(text: &'t str) -> Option<Self> {
        let constraint = match text.starts_with(CGROUP_OUT_OF_MEMORY) {
            true => "CONSTRAINT_MEMCG",
            false => "CONSTRAINT_NONE",
        };
        let (_, rest) = text.split_once(": Killed process ")?;
        let (pid, rest) = rest.split_once(" (")?;
        let (comm, _) = rest.rsplit_once(") total-vm:").or_else(|| rest.rsplit_once(')'))?;
        Some(Self { pid: pid.parse().ok()?, comm, constraint })
    }
}

#[cfg(test)]
mod tests;

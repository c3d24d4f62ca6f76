//! A process was killed because memory ran out.
//!
//! Kernel: `oom_kill_process` (mm/oom_kill.c), reached from `mem_cgroup_out_of_memory` at a cgroup's limit and from
//! `out_of_memory` for the whole host. Victim and owner of the limit may be different cgroups.

use observer_common::Signal;

use super::{Case, Failure, FaultLine, Layer, bytes, number};
use crate::core::{
    chain::{Edge, Mechanism},
    frame::{LogTopic, Resource},
    ledger::{Increment, Ledger},
    subject::Subject,
    verdict::{HitSubject, HitUsage, Kind},
};

/// The kernel's name for an OOM of the whole host.
pub const WHOLE_HOST: &str = "CONSTRAINT_NONE";

pub struct OomKill;

impl FaultLine for OomKill {
    fn id(&self) -> &'static str {
        "oom_kill"
    }

    fn title(&self) -> &'static str {
        "process killed for want of memory"
    }

    fn kind(&self) -> Kind {
        Kind::Resource
    }

    fn layer(&self) -> Layer {
        Layer::Memory
    }

    fn what(&self) -> &'static str {
        "A cgroup reached its memory limit, or the host the end of its memory, and nothing could be reclaimed: the kernel \
         killed a process (exit status 137, signal 9). Clients see resets, then refusals, then 502 from the balancer. \
         It often comes after the test, when caches are filled and connections are cleaned up (`--settle` keeps \
         watching)."
    }

    fn causes(&self) -> &'static [&'static str] {
        &[
            "memory per connection or request times more of them than ever before: buffers, threads, sessions, a queue \
             that grows because the service cannot keep up",
            "a runtime that does not know the container's limit, or a heap as large as the limit (leave a fifth)",
            "a leak that the load speeds up",
        ]
    }

    fn failures(&self) -> &'static [Failure] {
        const FAILURES: &[Failure] = &[Failure::terminal(Signal::OomKill)];
        FAILURES
    }

    fn context(&self) -> &'static [Signal] {
        &[Signal::MemoryMax, Signal::MemoryHigh, Signal::MemoryReclaim]
    }

    /// The host's total counts every kill in every cgroup: which one it was is counted there.
    fn is_failure(&self, _ledger: &Ledger, increment: &Increment) -> bool {
        increment.subject != Subject::HOST
    }

    fn is_of_host(&self, ledger: &Ledger, subject: &Subject, pid: Option<u32>) -> bool {
        is_whole_host(ledger, subject, pid)
    }

    fn outlasts_load(&self) -> bool {
        true
    }

    fn resource(&self) -> Option<Resource> {
        Some(Resource::Memory)
    }

    fn log_topic(&self) -> Option<LogTopic> {
        Some(LogTopic::OutOfMemory)
    }

    fn caused_by(&self) -> &'static [Edge] {
        &[Edge { cause: "memory_pressure", mechanism: Mechanism::SameMemory, max_lag_ns: 300_000_000_000 }]
    }

    fn because(&self, case: &Case) -> String {
        let kills = case.count(Signal::OomKill);
        let more =
            if kills > 1 { format!("; {} processes in all", number(kills as f64)) } else { String::new() };
        if is_whole_host(case.ledger, case.subject, case.place.pid) {
            return format!("the host was out of memory: the kernel killed {}{more}", case.who());
        }
        let victim = case.place.pid.and_then(|pid| case.ledger.victims.get(&pid));
        let owner =
            victim.and_then(|victim| victim.limit_owner.clone()).or_else(|| case.place.cgroup.clone());
        let owner = owner.map_or_else(|| "its cgroup".to_owned(), |owner| format!("cgroup {owner}"));
        let limit = case.usage.and_then(|usage| {
            let set_by = usage.limit_set_by.as_deref().unwrap_or("its limit");
            Some(format!(" ({}, set by {set_by})", bytes(usage.limit?)))
        });
        format!(
            "{owner} was at its memory limit{}: the kernel killed {}{more}",
            limit.unwrap_or_default(),
            case.who()
        )
    }

    fn verify(&self, place: &HitSubject) -> Vec<String> {
        let cgroup = place.cgroup.as_deref().unwrap_or("/CGROUP");
        vec![
            "dmesg -T | grep -iE 'oom-kill|killed process'".into(),
            format!(
                "cat /sys/fs/cgroup{cgroup}/memory.events /sys/fs/cgroup{cgroup}/memory.max   # cgroup v1: \
                 /sys/fs/cgroup/memory{cgroup}/memory.oom_control"
            ),
        ]
    }

    fn remedy(&self, _place: &HitSubject, _usage: Option<&HitUsage>) -> Vec<String> {
        vec![
            "bound what grows with load: connections, request sizes, queues, worker threads".into(),
            "give the runtime about 80 % of the limit (-XX:MaxRAMPercentage, GOMEMLIMIT, --max-old-space-size)".into(),
            "raise the limit (memory.max, MemoryMax=, --memory, resources.limits.memory) if the host has it to give".into(),
        ]
    }
}

/// Whether a kill was for want of the whole host's memory, as a probe or the kernel's log tells.
pub fn is_whole_host(ledger: &Ledger, subject: &Subject, pid: Option<u32>) -> bool {
    let series = ledger.series.get(&(Signal::OomKill, subject.clone()));
    let by_probe = series.is_some_and(|series| series.reasons.contains_key(WHOLE_HOST));
    let victim =
        pid.or_else(|| series.and_then(|series| series.pid)).and_then(|pid| ledger.victims.get(&pid));
    by_probe || victim.is_some_and(|victim| victim.constraint == WHOLE_HOST)
}

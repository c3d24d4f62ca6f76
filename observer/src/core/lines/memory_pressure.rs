//! A cgroup has to reclaim memory to go on.
//!
//! Kernel: `try_charge_memcg` (mm/memcontrol.c) counts a MEMCG_MAX event each time that a charge meets the limit,
//! `reclaim_high` a MEMCG_HIGH event.

use observer_common::Signal;

use super::{Case, Failure, FaultLine, Layer, bytes, number};
use crate::core::{
    frame::Resource,
    verdict::{HitSubject, HitUsage, Kind},
};

pub struct MemoryPressure;

impl FaultLine for MemoryPressure {
    fn id(&self) -> &'static str {
        "memory_pressure"
    }

    fn title(&self) -> &'static str {
        "memory reclaimed at the limit"
    }

    fn kind(&self) -> Kind {
        Kind::Pressure
    }

    fn layer(&self) -> Layer {
        Layer::Memory
    }

    fn what(&self) -> &'static str {
        "A cgroup stands at memory.max or above memory.high: its processes have to free page cache or write to swap \
         before they get more. A cgroup full of page cache lives like that and nobody suffers, so this is a hit only \
         when something came of it, such as an OOM kill."
    }

    fn causes(&self) -> &'static [&'static str] {
        &[
            "the working set grows with load towards the limit",
            "a limit that leaves no room for page cache and socket buffers beside the heap",
        ]
    }

    fn failures(&self) -> &'static [Failure] {
        const FAILURES: &[Failure] =
            &[Failure::pressed(Signal::MemoryMax), Failure::pressed(Signal::MemoryHigh)];
        FAILURES
    }

    fn context(&self) -> &'static [Signal] {
        &[Signal::MemoryReclaim]
    }

    fn needs_effect(&self) -> bool {
        true
    }

    fn outlasts_load(&self) -> bool {
        true
    }

    fn resource(&self) -> Option<Resource> {
        Some(Resource::Memory)
    }

    fn because(&self, case: &Case) -> String {
        let cgroup = case.place.cgroup.as_deref().unwrap_or("(unknown)");
        let level = case.usage.and_then(|usage| {
            let set_by = usage.limit_set_by.as_deref().unwrap_or("its limit");
            Some(format!(" ({} of {}, set by {set_by})", bytes(usage.used), bytes(usage.limit?)))
        });
        format!(
            "cgroup {cgroup} was at its memory limit{}: memory had to be reclaimed {} times",
            level.unwrap_or_default(),
            number((case.count(Signal::MemoryMax) + case.count(Signal::MemoryHigh)) as f64)
        )
    }

    fn verify(&self, place: &HitSubject) -> Vec<String> {
        let cgroup = place.cgroup.as_deref().unwrap_or("/CGROUP");
        vec![
            format!("cat /sys/fs/cgroup{cgroup}/memory.events /sys/fs/cgroup{cgroup}/memory.pressure"),
            format!("grep -E 'anon|file|workingset_refault' /sys/fs/cgroup{cgroup}/memory.stat"),
        ]
    }

    fn remedy(&self, _place: &HitSubject, _usage: Option<&HitUsage>) -> Vec<String> {
        vec![
            "raise memory.max (or memory.high), or bound what grows with load".into(),
            "let the heap end at about 80 % of the limit: page cache and socket buffers count as well".into(),
        ]
    }
}

//! A cgroup is stopped because its CPU quota is used up.
//!
//! Kernel: `throttle_cfs_rq` (kernel/sched/fair.c); `do_sched_cfs_period_timer` counts the periods (100 ms by default) in
//! which that happened.

use observer_common::Signal;

use super::{Case, Exposure, Failure, FaultLine, Layer, number};
use crate::core::{
    frame::Resource,
    ledger::{Increment, Ledger},
    verdict::{HitSubject, HitUsage, Kind},
};

pub struct CpuThrottling;

impl FaultLine for CpuThrottling {
    fn id(&self) -> &'static str {
        "cpu_throttling"
    }

    fn title(&self) -> &'static str {
        "CPU quota used up"
    }

    fn kind(&self) -> Kind {
        Kind::Pressure
    }

    fn layer(&self) -> Layer {
        Layer::Cpu
    }

    fn what(&self) -> &'static str {
        "A cgroup with a CPU quota (cpu.max, --cpus, limits.cpu) may run for so long in every period of 100 ms; then all its \
         threads stand still until the next one, even if the host is idle. Requests wait tens of milliseconds for \
         nothing, accept() is called too rarely, and utilisation looks low. Many threads use the quota up in the first \
         milliseconds of a period."
    }

    fn causes(&self) -> &'static [&'static str] {
        &[
            "a quota below what the service needs at this load",
            "more worker threads than the quota has CPUs: a runtime that counts the host's CPUs (GOMAXPROCS, JVM, \
             worker_processes auto)",
            "a sidecar or garbage collector that shares the quota",
        ]
    }

    fn failures(&self) -> &'static [Failure] {
        const FAILURES: &[Failure] = &[Failure::throttled_period(Signal::CpuThrottledPeriods)];
        FAILURES
    }

    fn context(&self) -> &'static [Signal] {
        &[Signal::CpuPeriods, Signal::CpuThrottledTime, Signal::CpuThrottle]
    }

    fn exposure(&self) -> Exposure {
        Exposure::Periods
    }

    fn is_failure(&self, _ledger: &Ledger, increment: &Increment) -> bool {
        increment.subject.cgroup.is_some()
    }

    fn resource(&self) -> Option<Resource> {
        None
    }

    fn because(&self, case: &Case) -> String {
        let cgroup = case.place.cgroup.as_deref().unwrap_or("(unknown)");
        let quota = case
            .limit("cpu.max", &format!("cgroup {cgroup}"))
            .and_then(cpus)
            .map_or_else(String::new, |(cpus, text)| format!(" ({cpus} CPUs, set by cpu.max {text})"));
        let periods = number(case.count(Signal::CpuThrottledPeriods) as f64);
        let of = match case.count(Signal::CpuPeriods) {
            0 => String::new(),
            all => format!(" of {}", number(all as f64)),
        };
        let stood = match case.count(Signal::CpuThrottledTime) {
            0 => String::new(),
            stood_us => format!(", {:.1} s of CPU time stood still", stood_us as f64 / 1e6),
        };
        format!("cgroup {cgroup} used up its CPU quota{quota} in {periods}{of} periods{stood}")
    }

    fn verify(&self, place: &HitSubject) -> Vec<String> {
        let cgroup = place.cgroup.as_deref().unwrap_or("/CGROUP");
        vec![format!(
            "cat /sys/fs/cgroup{cgroup}/cpu.stat /sys/fs/cgroup{cgroup}/cpu.max   # nr_throttled of nr_periods; cgroup \
             v1: /sys/fs/cgroup/cpu{cgroup}/cpu.stat"
        )]
    }

    fn remedy(&self, _place: &HitSubject, _usage: Option<&HitUsage>) -> Vec<String> {
        vec![
            "raise or remove the quota (cpu.max, CPUQuota=, --cpus, resources.limits.cpu): requests and weights share the \
             host well enough without one"
                .into(),
            "start no more worker threads than the quota has CPUs (GOMAXPROCS, -XX:ActiveProcessorCount, worker_processes)".into(),
            "a longer period (cpu.max `400000 200000`) or cpu.max.burst smooths short bursts".into(),
        ]
    }
}

/// CPUs out of `20000 100000`: what may be used in a period, and its length, both in microseconds.
fn cpus(text: &str) -> Option<(f64, &str)> {
    let (quota, period) = text.split_once(' ')?;
    let share = quota.parse::<f64>().ok()? / period.parse::<f64>().ok().filter(|period| *period > 0.0)?;
    Some(((share * 100.0).round() / 100.0, text))
}

#[cfg(test)]
mod tests {
    use super::cpus;

    #[test]
    fn a_quota_is_told_in_cpus() {
        assert_eq!(cpus("20000 100000"), Some((0.2, "20000 100000")));
        assert_eq!(cpus("max 100000"), None);
        assert_eq!(cpus("1 0"), None);
    }
}

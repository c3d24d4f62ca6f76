//! A process is at its descriptor limit, or the host at its file limit.
//!
//! Kernel: `alloc_fd` (fs/file.c) gives EMFILE at RLIMIT_NOFILE, `alloc_empty_file` (fs/file_table.c) ENFILE at
//! fs.file-max.

use observer_common::Signal;

use super::{Case, Failure, FaultLine, Layer, number};
use crate::core::{
    frame::{Resource, Tier},
    ledger::{Increment, Ledger},
    verdict::{HitSubject, HitUsage, Kind},
};

pub struct FdSaturation;

impl FaultLine for FdSaturation {
    fn id(&self) -> &'static str {
        "fd_saturation"
    }

    fn title(&self) -> &'static str {
        "out of file descriptors"
    }

    fn kind(&self) -> Kind {
        Kind::Resource
    }

    fn layer(&self) -> Layer {
        Layer::Descriptors
    }

    fn what(&self) -> &'static str {
        "Every connection costs its process a descriptor. At the soft RLIMIT_NOFILE (1024 by default) accept(), \
         socket() and open() fail with EMFILE, `Too many open files`. A service that cannot accept leaves its \
         connections in the accept queue, which overflows next. ENFILE is the same for the whole host, at fs.file-max."
    }

    fn causes(&self) -> &'static [&'static str] {
        &[
            "the default soft limit of 1024 under more than about a thousand connections",
            "two descriptors per request in a proxy: one for the client, one for the upstream",
            "a leak: sockets in CLOSE_WAIT that the application never closes, files left open",
        ]
    }

    fn failures(&self) -> &'static [Failure] {
        const FAILURES: &[Failure] =
            &[Failure::terminal(Signal::DescriptorLimit), Failure::terminal(Signal::FileTableFull)];
        FAILURES
    }

    /// EMFILE also comes from other limits (inotify instances): the system-call hook cannot tell, so the
    /// process has to be near its descriptor limit. The allocation hook knows.
    fn is_failure(&self, ledger: &Ledger, increment: &Increment) -> bool {
        if increment.signal != Signal::DescriptorLimit || increment.tier != Tier::Tracepoint {
            return true;
        }
        let usage = ledger.usages.get(&(Resource::Descriptors, increment.subject.clone()));
        usage.is_some_and(|usage| {
            let near = |limit: u64| u128::from(usage.peak.used) * 10 >= u128::from(limit) * 9;
            usage.last.limit.is_some_and(near)
        })
    }

    fn resource(&self) -> Option<Resource> {
        Some(Resource::Descriptors)
    }

    fn because(&self, case: &Case) -> String {
        let refused = number(case.count(Signal::DescriptorLimit) as f64);
        let full = case.count(Signal::FileTableFull);
        if full > 0 {
            return format!(
                "the host's file table was full (fs.file-max): {} was refused a file {} times (ENFILE)",
                case.who(),
                number(full as f64)
            );
        }
        let limit = case.usage.and_then(|usage| usage.limit).map(|limit| number(limit as f64));
        let at =
            limit.map_or_else(|| "its RLIMIT_NOFILE".to_owned(), |limit| format!("its limit of {limit}"));
        if case.inferred {
            format!(
                "{} had all its descriptors in use, at {at}, and stood still (inferred from counters: this kernel \
                 refuses the hook that sees EMFILE)",
                case.who()
            )
        } else {
            format!("{} was refused a descriptor at {at}: {refused} calls failed with EMFILE", case.who())
        }
    }

    fn verify(&self, place: &HitSubject) -> Vec<String> {
        let pid = place.pid.map_or_else(|| "PID".to_owned(), |pid| pid.to_string());
        vec![
            format!("grep 'open files' /proc/{pid}/limits; ls /proc/{pid}/fd | wc -l"),
            "cat /proc/sys/fs/file-nr   # open files, unused, fs.file-max".into(),
        ]
    }

    fn remedy(&self, _place: &HitSubject, _usage: Option<&HitUsage>) -> Vec<String> {
        vec![
            "raise the limit where the process is started: LimitNOFILE=65535 in its systemd unit, `ulimit -n`, the \
             runtime's --ulimit nofile; nginx also has worker_rlimit_nofile and worker_connections"
                .into(),
            "look for a leak before raising further: `ls -l /proc/PID/fd` sorted by kind, CLOSE_WAIT in `ss -tanp`".into(),
            "for the whole host: fs.file-max, for example 2097152".into(),
        ]
    }
}

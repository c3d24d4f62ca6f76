//! The connection tracking table is full.
//!
//! Kernel: `__nf_conntrack_alloc` and `early_drop` (net/netfilter/nf_conntrack_core.c). Each network namespace counts
//! its own entries, all against the one nf_conntrack_max.

use observer_common::Signal;

use super::{Case, Failure, FaultLine, Layer, in_namespace, number};
use crate::core::{
    frame::{LogTopic, Resource},
    verdict::{HitSubject, HitUsage, Kind},
};

pub struct ConntrackFull;

impl FaultLine for ConntrackFull {
    fn id(&self) -> &'static str {
        "conntrack_full"
    }

    fn title(&self) -> &'static str {
        "connection tracking table full"
    }

    fn kind(&self) -> Kind {
        Kind::Resource
    }

    fn layer(&self) -> Layer {
        Layer::Conntrack
    }

    fn what(&self) -> &'static str {
        "A firewall or NAT rule makes the kernel keep an entry per connection, for minutes after it has ended. At \
         nf_conntrack_max entries the first packet of every further connection is dropped without a word: clients see \
         connects that take 1, 3, 7 seconds or time out, while established connections go on. Before that the kernel \
         evicts entries that saw traffic one way only."
    }

    fn causes(&self) -> &'static [&'static str] {
        &[
            "a new connection per request: each keeps its entry for nf_conntrack_tcp_timeout_time_wait (120 s) or longer",
            "a small nf_conntrack_max: the default follows the memory of the host, 65536 or 262144",
            "half-open or one-way flows: a SYN flood, UDP, asymmetric routing",
        ]
    }

    fn failures(&self) -> &'static [Failure] {
        const FAILURES: &[Failure] = &[Failure::terminal(Signal::ConntrackDrop)];
        FAILURES
    }

    fn strain(&self) -> &'static [Signal] {
        &[Signal::ConntrackEarlyDrop]
    }

    fn context(&self) -> &'static [Signal] {
        &[Signal::ConntrackEarlyDrop]
    }

    fn resource(&self) -> Option<Resource> {
        Some(Resource::Conntrack)
    }

    fn log_topic(&self) -> Option<LogTopic> {
        Some(LogTopic::ConntrackFull)
    }

    fn because(&self, case: &Case) -> String {
        let level = case.usage.and_then(|usage| {
            let limit = number(usage.limit? as f64);
            Some(format!(" ({}/{limit}, set by net.netfilter.nf_conntrack_max)", number(usage.used as f64)))
        });
        let place = case.place.netns.map_or_else(String::new, |netns| format!(" of netns {netns}"));
        format!(
            "the connection tracking table{place} was full{}: {} packets that would have begun a connection were \
             dropped",
            level.unwrap_or_default(),
            number(case.count(Signal::ConntrackDrop) as f64)
        )
    }

    fn verify(&self, place: &HitSubject) -> Vec<String> {
        vec![
            in_namespace(place, "sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max"),
            format!("{}   # drop= rises with every packet", in_namespace(place, "conntrack -S")),
            "dmesg | grep 'nf_conntrack: table full'   # ten lines in five seconds at most".into(),
        ]
    }

    fn remedy(&self, _place: &HitSubject, _usage: Option<&HitUsage>) -> Vec<String> {
        vec![
            "raise net.netfilter.nf_conntrack_max (for example 1048576; an entry takes about 300 bytes), and \
             nf_conntrack_buckets to a quarter of it"
                .into(),
            "keep connections alive, so that fewer entries are made".into(),
            "do not track what needs no tracking: `notrack` rules (nft `ct state untracked`) for the service's port".into(),
            "shorten net.netfilter.nf_conntrack_tcp_timeout_time_wait and _established".into(),
        ]
    }
}

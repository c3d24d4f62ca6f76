//! There are as many sockets in TIME_WAIT as the namespace may have.
//!
//! Kernel: `inet_twsk_alloc` (net/ipv4/inet_timewait_sock.c) makes none at net.ipv4.tcp_max_tw_buckets; `tcp_time_wait`
//! (net/ipv4/tcp_minisocks.c) then closes the connection without TIME_WAIT.

use observer_common::Signal;

use super::{Case, Failure, FaultLine, Layer, in_namespace, number};
use crate::core::{
    frame::{LogTopic, Resource},
    verdict::{HitSubject, HitUsage, Kind},
};

pub struct TimeWaitOverflow;

impl FaultLine for TimeWaitOverflow {
    fn id(&self) -> &'static str {
        "time_wait_overflow"
    }

    fn title(&self) -> &'static str {
        "TIME_WAIT table full"
    }

    /// Nobody is refused anything: first only if nothing else was hit.
    fn kind(&self) -> Kind {
        Kind::Symptom
    }

    fn layer(&self) -> Layer {
        Layer::Ports
    }

    fn what(&self) -> &'static str {
        "The side that closes a connection first keeps it in TIME_WAIT for 60 seconds, so that late segments do not \
         end up in a successor. At net.ipv4.tcp_max_tw_buckets of them further connections are closed at once, without \
         it. Nothing fails at that moment, but a late segment may meet a new connection, and FINs of the peer are \
         answered with resets. TIME_WAIT below this limit is use, not failure."
    }

    fn causes(&self) -> &'static [&'static str] {
        &[
            "a new connection per request, closed by this side: N per second stand at 60 N in TIME_WAIT",
            "a small net.ipv4.tcp_max_tw_buckets: the default follows the memory of the host",
        ]
    }

    fn failures(&self) -> &'static [Failure] {
        const FAILURES: &[Failure] = &[Failure::terminal(Signal::TimeWaitOverflow)];
        FAILURES
    }

    fn context(&self) -> &'static [Signal] {
        &[Signal::TimeWaitEntered, Signal::TimeWaitExited]
    }

    fn resource(&self) -> Option<Resource> {
        Some(Resource::TimeWait)
    }

    fn log_topic(&self) -> Option<LogTopic> {
        Some(LogTopic::TimeWaitOverflow)
    }

    fn because(&self, case: &Case) -> String {
        let limit = case.usage.and_then(|usage| usage.limit).map_or_else(String::new, |limit| {
            format!(" ({} allowed by net.ipv4.tcp_max_tw_buckets)", number(limit as f64))
        });
        let place = case.place.netns.map_or_else(String::new, |netns| format!(" of netns {netns}"));
        format!(
            "the TIME_WAIT table{place} was full{limit}: {} connections were closed without TIME_WAIT",
            number(case.count(Signal::TimeWaitOverflow) as f64)
        )
    }

    fn verify(&self, place: &HitSubject) -> Vec<String> {
        vec![
            in_namespace(place, "nstat -az TcpExtTCPTimeWaitOverflow"),
            format!(
                "{}; {}",
                in_namespace(place, "grep TCP: /proc/net/sockstat"),
                in_namespace(place, "sysctl net.ipv4.tcp_max_tw_buckets")
            ),
        ]
    }

    fn remedy(&self, _place: &HitSubject, _usage: Option<&HitUsage>) -> Vec<String> {
        vec![
            "keep connections alive and pool them, or let the other side close first".into(),
            "raise net.ipv4.tcp_max_tw_buckets (for example 262144; an entry takes about 250 bytes)".into(),
        ]
    }
}

//! A listener's accept queue is full.
//!
//! Kernel: `sk_acceptq_is_full` (include/net/sock.h) in `tcp_conn_request` and `tcp_v4_syn_recv_sock`. It
//! compares with `>`: a limit of 128 admits 129.

use observer_common::Signal;

use super::{Case, Exposure, Failure, FaultLine, Layer, in_namespace, number, port_filter};
use crate::core::{
    chain::{Edge, Mechanism},
    frame::Resource,
    verdict::{HitSubject, HitUsage, Kind},
};

pub struct AcceptQueueOverflow;

impl FaultLine for AcceptQueueOverflow {
    fn id(&self) -> &'static str {
        "accept_queue_overflow"
    }

    fn title(&self) -> &'static str {
        "accept queue full"
    }

    fn kind(&self) -> Kind {
        Kind::Resource
    }

    fn layer(&self) -> Layer {
        Layer::Sockets
    }

    fn what(&self) -> &'static str {
        "Connections whose handshake is complete wait in the listener's accept queue until the service calls \
         accept(). When the queue is full the kernel drops new SYNs and final ACKs without a word: the client \
         sees no refusal but a connect that takes 1, 3, 7 seconds or times out, while the CPU may be idle. (Only \
         with net.ipv4.tcp_abort_on_overflow=1 does it send a reset.) SYN cookies do not help once this queue \
         is full."
    }

    fn causes(&self) -> &'static [&'static str] {
        &[
            "the service accepts more slowly than connections arrive: too few workers, a blocked event loop, a lock",
            "the backlog argument of listen() is small (128 in older runtimes, 511 in nginx), or net.core.somaxconn is",
            "the service cannot accept at all: out of descriptors, throttled, stopped",
        ]
    }

    fn failures(&self) -> &'static [Failure] {
        const FAILURES: &[Failure] = &[
            Failure::refused_connection(Signal::AcceptOverflowSyn),
            Failure::refused_connection(Signal::AcceptOverflowAck),
            Failure::refused_connection(Signal::ListenOverflow)
                .instead_of(&[Signal::AcceptOverflowSyn, Signal::AcceptOverflowAck]),
        ];
        FAILURES
    }

    fn context(&self) -> &'static [Signal] {
        &[Signal::ListenDrop, Signal::SynArrival, Signal::ConnectionAccepted]
    }

    fn exposure(&self) -> Exposure {
        Exposure::Connections
    }

    fn resource(&self) -> Option<Resource> {
        Some(Resource::AcceptQueue)
    }

    fn caused_by(&self) -> &'static [Edge] {
        const LAG_NS: u64 = 60_000_000_000;
        &[
            Edge { cause: "fd_saturation", mechanism: Mechanism::AcceptStalled, max_lag_ns: LAG_NS },
            Edge { cause: "cpu_throttling", mechanism: Mechanism::ServiceThrottled, max_lag_ns: LAG_NS },
        ]
    }

    fn because(&self, case: &Case) -> String {
        let queue = match case.place.listener {
            Some(listener) => format!("the accept queue of {listener} was full"),
            None => "an accept queue was full".to_owned(),
        };
        let limit = case.usage.and_then(|usage| {
            let set_by = usage.limit_set_by.as_deref().map(|by| format!(", set by {}", with_article(by)));
            Some(format!(" ({}/{}{})", usage.used, usage.limit?, set_by.unwrap_or_default()))
        });
        let rates = match (case.accepted_per_s, case.arrived_per_s) {
            (Some(accepted), Some(arrived)) if arrived > accepted => {
                format!(": {} accepts {}/s, {}/s arrived", case.who(), number(accepted), number(arrived))
            }
            _ => format!(": {} does not accept as fast as connections arrive", case.who()),
        };
        format!("{queue}{}{rates}", limit.unwrap_or_default())
    }

    fn verify(&self, place: &HitSubject) -> Vec<String> {
        let filter = port_filter(place);
        vec![
            format!(
                "{}   # on a listener Recv-Q is the depth and Send-Q the limit",
                in_namespace(place, &format!("ss -lntm 'sport = {filter}'"))
            ),
            format!(
                "{}   # TcpExtListenOverflows rises with every drop",
                in_namespace(place, "nstat -az TcpExtListenOverflows TcpExtListenDrops")
            ),
        ]
    }

    fn remedy(&self, _place: &HitSubject, usage: Option<&HitUsage>) -> Vec<String> {
        let limit = match usage.and_then(|usage| usage.limit_set_by.as_deref()) {
            Some(set_by) if set_by.contains("somaxconn") => {
                "raise net.core.somaxconn (10240 to 65535) and restart the service: it cuts off the larger backlog that \
                 the service asked for"
            }
            Some(_) => {
                "raise the backlog argument of listen() in the service (nginx: `listen 80 backlog=4096`; Java: \
                 acceptCount; Node: server.listen(port, host, backlog)); net.core.somaxconn alone changes nothing \
                 while the argument is the lower of the two. If it was raised after the service began to listen, \
                 restarting the service may be enough: the limit is that of the time of listen()"
            }
            None => {
                "raise the backlog argument of listen() in the service (nginx: `listen 80 backlog=4096`; Java: \
                 acceptCount; Node: server.listen(port, host, backlog)) and net.core.somaxconn, and restart the \
                 service: the lower of the two holds"
            }
        };
        vec![
            "accept faster: more workers or accept threads, SO_REUSEPORT, no blocking work in the accept loop".into(),
            limit.into(),
            "let clients keep connections alive, so that fewer arrive".into(),
        ]
    }
}

fn with_article(set_by: &str) -> String {
    if set_by.ends_with("argument") { format!("the {set_by}") } else { set_by.to_owned() }
}

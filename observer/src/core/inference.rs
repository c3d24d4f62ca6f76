//! What counters imply where no probe tells.
//!
//! - The kernel counts overflows per network namespace and drops per listener: together they say which
//!   listener overflowed.
//! - A process whose descriptors stand at its limit while its accept queue is not drained was refused one.

use std::collections::{BTreeMap, VecDeque};

use observer_common::Signal;

use super::{
    frame::{Resource, Tier, UsageSample},
    ledger::{Bracket, Increment, Ledger},
    subject::Subject,
};

/// How long a drop waits for the namespace's counter to tell its kind, and the other way round: the
/// two are read one after the other, each at its own pace.
const MATCH_NS: u64 = 500_000_000;
/// A process that serves nobody must stand at its limit this long to be taken for refused.
const STANDSTILL_NS: u64 = 300_000_000;
/// As much is remembered of what was implied.
const LATELY: usize = 256;

/// Which signals have to be inferred because no probe counts them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Missing {
    /// Accept-queue overflows per listener.
    pub accept_overflow: bool,
    /// SYN-queue drops per listener.
    pub syn_queue_drop: bool,
    /// Refused descriptors.
    pub descriptor_limit: bool,
    /// Refused files for want of room in the host's table.
    pub file_table: bool,
}

/// Keeps what is not matched yet.
#[derive(Debug, Default)]
pub struct Inference {
    missing: Missing,
    /// Per namespace and kind of drop: counted by the kernel, not yet given to a listener.
    kinds: BTreeMap<(u32, Signal), VecDeque<Increment>>,
    /// Per listener: dropped, kind not yet known.
    drops: BTreeMap<Subject, VecDeque<Increment>>,
    /// Per process: since when it stands at its limit, and whether that was reported.
    at_limit: BTreeMap<u32, AtLimit>,
    file_table_reported: bool,
    /// What was implied lately.
    lately: VecDeque<Increment>,
}

#[derive(Debug)]
struct AtLimit {
    reached: UsageSample,
    /// Since when connections are seen to wait that it does not accept.
    waiting_since_ns: Option<u64>,
    reported: bool,
}

impl Inference {
    /// Infers only what is missing.
    pub fn new(missing: Missing) -> Self {
        Self { missing, ..Self::default() }
    }

    /// Another run began at an instant; returns what was implied since. Who stood at a limit before, and was
    /// reported, is not reported again before leaving it, unless it serves and connections wait for it anew.
    pub fn start_anew(&mut self, at_ns: u64, ledger: &Ledger) -> Vec<Increment> {
        let since = |increment: &Increment| increment.first.lo_ns >= at_ns;
        self.kinds.values_mut().chain(self.drops.values_mut()).for_each(|waiting| waiting.retain(since));
        for (pid, at_limit) in &mut self.at_limit {
            at_limit.start_anew(at_ns, serves(ledger, *pid));
        }
        std::mem::take(&mut self.lately).into_iter().filter(since).collect()
    }

    /// What the increments of this tick, and the usages now in the ledger, imply.
    pub fn infer(&mut self, ledger: &Ledger, increments: &[Increment], now_ns: u64) -> Vec<Increment> {
        let mut implied = Vec::new();
        increments.iter().for_each(|increment| self.sort(increment));
        self.match_drops(ledger, &mut implied);
        self.give_up(now_ns, &mut implied);
        if self.missing.descriptor_limit {
            self.descriptors(ledger, now_ns, &mut implied);
        }
        if self.missing.file_table {
            self.file_table(ledger, &mut implied);
        }
        self.lately.extend(implied.iter().cloned());
        self.lately.drain(..self.lately.len().saturating_sub(LATELY));
        implied
    }

    fn sort(&mut self, increment: &Increment) {
        let Some(netns) = increment.subject.netns else { return };
        let of_namespace = increment.subject.listener.is_none();
        let wanted = match increment.signal {
            Signal::ListenOverflow => self.missing.accept_overflow,
            Signal::SynQueueDrop => self.missing.syn_queue_drop,
            Signal::ListenDrop => self.missing.accept_overflow || self.missing.syn_queue_drop,
            _ => false,
        };
        match increment.signal {
            Signal::ListenDrop if wanted && !of_namespace => {
                self.drops.entry(increment.subject.clone()).or_default().push_back(increment.clone());
            }
            Signal::ListenOverflow | Signal::SynQueueDrop if wanted && of_namespace => {
                self.kinds.entry((netns, increment.signal)).or_default().push_back(increment.clone());
            }
            _ => {}
        }
    }

    /// Gives each drop the kind that its namespace counted, to listeners whose queue is full first.
    fn match_drops(&mut self, ledger: &Ledger, implied: &mut Vec<Increment>) {
        let mut listeners: Vec<_> = self.drops.iter_mut().collect();
        listeners.sort_by_key(|(listener, _)| !is_full(ledger, listener));
        for (listener, drops) in listeners {
            let Some(netns) = listener.netns else { continue };
            while let Some(drop) = drops.front_mut() {
                let Some(kind) = kind_of_drop(&self.kinds, ledger, netns, listener) else { break };
                let Some(counted) = self.kinds.get_mut(&(netns, kind)) else { break };
                let Some(front) = counted.front_mut() else { break };
                let events = drop.events.min(front.events);
                implied.push(Increment { signal: kind, events, ..drop.clone() });
                drop.events -= events;
                front.events -= events;
                if front.events == 0 {
                    counted.pop_front();
                }
                if drop.events == 0 {
                    drops.pop_front();
                }
            }
        }
    }

    /// A count that no listener explains stays with its namespace; a drop of no known kind was of
    /// another one (no route, no memory, or the second of the two that one final ACK counts as).
    fn give_up(&mut self, now_ns: u64, implied: &mut Vec<Increment>) {
        let expired = |increment: &Increment| now_ns.saturating_sub(increment.last_ns) > MATCH_NS;
        for counted in self.kinds.values_mut() {
            while counted.front().is_some_and(expired) {
                implied.extend(counted.pop_front());
            }
        }
        for drops in self.drops.values_mut() {
            while drops.front().is_some_and(expired) {
                drops.pop_front();
            }
        }
    }

    fn descriptors(&mut self, ledger: &Ledger, now_ns: u64, implied: &mut Vec<Increment>) {
        let usages = ledger.usages.range((Resource::Descriptors, Subject::HOST)..);
        for ((_, subject), usage) in usages.take_while(|((of, _), _)| *of == Resource::Descriptors) {
            let Some(pid) = subject.pid else { continue };
            if usage.last.limit.is_none_or(|limit| usage.last.used < limit) {
                let left = self.at_limit.remove(&pid);
                implied.extend(left.and_then(|state| state.on_leaving(ledger, pid)));
                continue;
            }
            let state = self.at_limit.entry(pid).or_insert_with(|| AtLimit::new(usage.last.clone()));
            if state.reported {
                continue;
            }
            if let Some(hi_ns) = state.standstill(ledger, pid, now_ns) {
                state.reported = true;
                implied.push(state.refusal(ledger, pid, hi_ns));
            }
        }
    }

    /// The host's file table at its limit refuses everyone but root.
    fn file_table(&mut self, ledger: &Ledger, implied: &mut Vec<Increment>) {
        let Some(usage) = ledger.usages.get(&(Resource::FileTable, Subject::HOST)) else { return };
        let full = usage.last.limit.is_some_and(|limit| usage.last.used >= limit);
        if full && !self.file_table_reported {
            implied.push(Increment {
                signal: Signal::FileTableFull,
                tier: Tier::Counter,
                subject: Subject::HOST,
                generator: false,
                events: 1,
                first: Bracket { lo_ns: usage.last.since_ns, hi_ns: usage.last.read_ns },
                last_ns: usage.last.read_ns,
            });
        }
        self.file_table_reported = full;
    }
}

/// The kind that a listener's next drop has: what its namespace counted; if that is both, what its
/// own queue says.
fn kind_of_drop(
    kinds: &BTreeMap<(u32, Signal), VecDeque<Increment>>,
    ledger: &Ledger,
    netns: u32,
    listener: &Subject,
) -> Option<Signal> {
    let counted = |signal| kinds.get(&(netns, signal)).is_some_and(|queue| !queue.is_empty());
    match (counted(Signal::ListenOverflow), counted(Signal::SynQueueDrop)) {
        (true, false) => Some(Signal::ListenOverflow),
        (false, true) => Some(Signal::SynQueueDrop),
        (false, false) => None,
        (true, true) => {
            Some(if is_full(ledger, listener) { Signal::ListenOverflow } else { Signal::SynQueueDrop })
        }
    }
}

/// Whether a listener's accept queue takes no more.
fn is_full(ledger: &Ledger, listener: &Subject) -> bool {
    let queue = ledger.usages.get(&(Resource::AcceptQueue, listener.clone()));
    queue.is_some_and(|queue| queue.last.limit.is_some_and(|limit| queue.last.used > limit))
}

impl AtLimit {
    fn new(reached: UsageSample) -> Self {
        Self { reached, waiting_since_ns: None, reported: false }
    }

    /// Another run began at an instant.
    fn start_anew(&mut self, at_ns: u64, serves: bool) {
        self.waiting_since_ns = None;
        if serves && self.reported && self.reached.since_ns < at_ns {
            self.reported = false;
            self.reached.since_ns = self.reached.since_ns.max(at_ns);
            self.reached.read_ns = self.reached.read_ns.max(at_ns);
        }
    }

    /// The instant by which a process at its limit was refused: when connections began to wait that
    /// it still had not accepted a tick later, or, for one that serves nobody, when it has stood
    /// still for a while.
    fn standstill(&mut self, ledger: &Ledger, pid: u32, now_ns: u64) -> Option<u64> {
        if !serves(ledger, pid) {
            let stood_ns = now_ns.saturating_sub(self.reached.read_ns);
            return (stood_ns >= STANDSTILL_NS).then_some(now_ns);
        }
        let waiting = waiting_since(ledger, pid).map(|seen_ns| seen_ns.max(self.reached.read_ns));
        self.waiting_since_ns = waiting.map(|seen_ns| self.waiting_since_ns.unwrap_or(seen_ns));
        self.waiting_since_ns.filter(|since_ns| now_ns > *since_ns)
    }

    /// A process that closes something leaves its limit; connections that waited meanwhile, and wait
    /// still, were not accepted all the same.
    fn on_leaving(self, ledger: &Ledger, pid: u32) -> Option<Increment> {
        let hi_ns =
            self.waiting_since_ns.filter(|_| !self.reported && waiting_since(ledger, pid).is_some())?;
        Some(self.refusal(ledger, pid, hi_ns))
    }

    fn refusal(&self, ledger: &Ledger, pid: u32, hi_ns: u64) -> Increment {
        Increment {
            signal: Signal::DescriptorLimit,
            tier: Tier::Counter,
            subject: Subject::process(pid),
            generator: ledger.processes.get(&pid).is_some_and(|process| process.generator),
            events: 1,
            first: Bracket { lo_ns: self.reached.since_ns, hi_ns },
            last_ns: hi_ns,
        }
    }
}

/// Whether a process has a listener.
fn serves(ledger: &Ledger, pid: u32) -> bool {
    ledger.owners.values().any(|pids| pids.contains(&pid))
}

/// When connections were first seen to wait for a process that serves, if any do now.
fn waiting_since(ledger: &Ledger, pid: u32) -> Option<u64> {
    let served = ledger.owners.iter().filter(|(_, pids)| pids.contains(&pid));
    served
        .filter_map(|((netns, listener), _)| {
            let queue = (Resource::AcceptQueue, Subject::listener(*netns, *listener));
            ledger.usages.get(&queue).filter(|queue| queue.last.used > 0)
        })
        .map(|queue| queue.last.read_ns)
        .min()
}

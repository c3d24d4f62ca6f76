//! Reading what the probes counted.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    sync::atomic,
};

use aya::maps::{Map, MapData, MapError, PerCpuArray, RingBuf};
use observer_common::{Cell, Event, Key, News, Signal, SubjectKind, key_flags};

use super::{
    Kernel, KernelError,
    by_cpu::{self, ByCpu},
    cells::{self, Cells},
    hot::Hot,
    reasons::Reasons,
};
use crate::{
    core::{
        frame::{Frame, Loss, SignalSample, SourceStatus, Tier},
        subject::{Controller, Subject},
    },
    sources::{Clock, Pace, Stopwatch},
};

/// Reads the maps of a loaded [`Kernel`] and keeps what it last read, so that a frame holds only
/// what changed.
pub struct Drain {
    failures: Counted,
    loads: Counted,
    lost: PerCpuArray<MapData, [u64; Signal::COUNT]>,
    events_lost: PerCpuArray<MapData, u64>,
    events: RingBuf<MapData>,
    tiers: HashMap<u16, SignalSource>,
    reasons: Reasons,
    losses: HashMap<String, u64>,
    /// Descriptors of the attached programs, by their hooks.
    programs: BTreeMap<String, Vec<i32>>,
    /// Samples of the latest tick.
    latest: usize,
    /// Ticks since all losses were last looked at on purpose.
    ticks: u64,
}

/// Ticks between two looks at what the probes lost, which they hardly ever do.
const LOST_TICKS: u64 = 10;
/// Ticks between two looks at what the kernel skipped: it takes a file per program.
const RECURSION_TICKS: u64 = 50;

/// The share of a CPU that reading one map may take, one in so many: with thousands of subjects on many CPUs it is read
/// more rarely than at every tick.
const SHARE: u64 = 20;

/// A map of cells, and what it last said.
struct Counted {
    cells: Cells,
    /// Where some of it is counted beside the cells.
    hot: Option<Hot>,
    news: ByCpu<News>,
    /// As of the last read of the cells that was whole.
    news_read: Option<News>,
    known: HashMap<Key, Known>,
    read_ns: Option<u64>,
    pace: Pace,
}

/// What is known of a key.
#[derive(Clone, Copy)]
struct Known {
    /// As the map has it, without what was counted in a slot.
    cell: Cell,
    /// What was handed over, of both together.
    told: u64,
}

impl Counted {
    fn of(kernel: &mut Kernel, name: &'static str, news: by_cpu::Spec) -> Result<Self, KernelError> {
        let map = kernel.ebpf.take_map(name);
        let cells = match map {
            Some(Map::PerCpuHashMap(map)) => Cells::new(map).map_err(MapError::IoError),
            _ => Err(MapError::InvalidName { name: name.to_owned() }),
        };
        let cells = cells.map_err(|source| KernelError::Map { name, source })?;
        let pace = Pace::every_ms(0).at_most_one_in(SHARE);
        let (news, known) = (ByCpu::take(kernel, news)?, HashMap::new());
        Ok(Self { cells, hot: None, news, news_read: None, known, read_ns: None, pace })
    }

    /// Hands over every cell that changed since the last read, with the instants of that and of this read. The
    /// first read has none before it.
    fn changed(&mut self, clock: Clock<'_>, mut take: impl FnMut(&Key, &Cell, Read)) -> io::Result<()> {
        // To read a few costs little, and to ask what it did costs as much.
        let watch = self.cells.are_many(self.known.len()).then(|| Stopwatch::start(clock));
        let at_ns = watch.map_or_else(clock, Stopwatch::started_ns);
        let read = Read { at_ns, since_ns: self.read_ns };
        if !self.pace.is_due(read.at_ns) {
            return Ok(());
        }
        let outcome = self.read(|key, cell| take(key, cell, read));
        if outcome.is_ok() {
            self.read_ns = Some(read.at_ns);
        }
        if let Some(watch) = watch {
            self.pace.ran_at(read.at_ns, watch.cost(clock).of_cpu());
        }
        outcome
    }

    /// Reads as little as shows all that is new.
    fn read(&mut self, mut take: impl FnMut(&Key, &Cell)) -> io::Result<()> {
        let Self { cells, hot, known, .. } = self;
        // Before the cells: what is added meanwhile is news for the next read.
        let mut news = News::default();
        self.news.read(0).for_each(|of_cpu| news.merge(&of_cpu));
        atomic::fence(atomic::Ordering::Acquire);
        if let Some(hot) = hot {
            hot.read();
        }
        let mut told = |hot: &mut Option<Hot>, known: &mut Known, key: &Key| {
            let in_slot = hot.as_ref().map_or(0, |hot| hot.count(key));
            let count = known.cell.count + in_slot;
            let before = std::mem::replace(&mut known.told, count);
            if before != count {
                take(key, &Cell { count, ..known.cell });
                if let Some(hot) = hot {
                    hot.note(key, count - before);
                }
            }
        };
        match self.news_read {
            Some(before) if before == news => {
                for key in hot.as_mut().map(Hot::take_moved).unwrap_or_default() {
                    if let Some(known) = known.get_mut(&key) {
                        told(hot, known, &key);
                    }
                }
            }
            Some(before) if before.made == news.made && known.len() < cells::MANY => {
                for (key, known) in known.iter_mut() {
                    if let Some(cell) = cells.read_one(key)? {
                        known.cell = cell;
                    }
                    told(hot, known, key);
                }
            }
            _ => cells.read(|key, cell| {
                if cell.count > 0 {
                    let known = known.entry(*key).or_insert(Known { cell: *cell, told: 0 });
                    known.cell = *cell;
                    told(hot, known, key);
                }
            })?,
        }
        self.news_read = Some(news);
        Ok(())
    }
}

/// The instants of a read of a map and of the one before it.
#[derive(Clone, Copy)]
struct Read {
    at_ns: u64,
    since_ns: Option<u64>,
}

/// How a probed signal is read.
#[derive(Clone, Copy)]
struct SignalSource {
    tier: Tier,
    /// No trampoline counts it: the cells marked as fallback are the ones to read.
    fallback: bool,
}

impl Drain {
    /// Takes the maps of a loaded kernel side.
    pub fn new(kernel: &mut Kernel) -> Result<Self, KernelError> {
        let tiers = Signal::ALL
            .iter()
            .map(|signal| {
                let source =
                    SignalSource { tier: kernel.tier(*signal), fallback: kernel.reads_fallback(*signal) };
                (*signal as u16, source)
            })
            .collect();
        let programs = program_fds(kernel);
        Ok(Self {
            failures: Counted::of(kernel, "FAILURES", by_cpu::FAILURES_NEWS)?,
            loads: Counted {
                hot: Some(Hot::new(kernel)?),
                ..Counted::of(kernel, "LOADS", by_cpu::LOADS_NEWS)?
            },
            lost: take(kernel, "LOST")?,
            events_lost: take(kernel, "EVENTS_LOST")?,
            events: take(kernel, "EVENTS")?,
            tiers,
            reasons: kernel.reasons.clone(),
            losses: HashMap::new(),
            programs,
            latest: 0,
            ticks: 0,
        })
    }

    /// A descriptor that becomes readable when a failure occurs at a new subject.
    pub fn events_fd(&self) -> io::Result<OwnedFd> {
        self.events.as_fd().try_clone_to_owned()
    }

    /// Takes the waiting events.
    pub fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(item) = self.events.next() {
            if let Some(event) = event(&item) {
                events.push(event);
            }
        }
        events
    }

    /// Makes the next tick look at what was lost, because something begins or ends.
    pub fn look_at_losses(&mut self) {
        self.ticks = 0;
    }

    /// Makes the next tick look at everything, because it is the last one.
    pub fn look_at_everything(&mut self) {
        self.look_at_losses();
        for counted in [&mut self.failures, &mut self.loads] {
            counted.pace = Pace::every_ms(0);
            // Whatever the news say: an interrupted program may have put back what another one added to them.
            counted.news_read = None;
        }
    }

    /// Adds every cell that changed since the last call. `clock` is CLOCK_MONOTONIC in nanoseconds.
    pub fn tick(&mut self, clock: Clock<'_>, frame: &mut Frame) {
        let began = clock();
        let error = self.cells(clock, frame).err().map(|error| error.to_string());
        self.losses(frame);
        frame.sources.push(SourceStatus { source: "probes".into(), duration_ns: clock() - began, error });
    }

    fn cells(&mut self, clock: Clock<'_>, frame: &mut Frame) -> io::Result<()> {
        let Self { failures, loads, tiers, reasons, latest, .. } = self;
        let signals = &mut frame.signals;
        // Room for as many as usual, at once.
        signals.reserve(*latest);
        let mut take = |key: &Key, cell: &Cell, read: Read| {
            let Some(source) = tiers.get(&key.signal) else { return };
            if key.flags & key_flags::FALLBACK != 0 && !source.fallback {
                return;
            }
            let sample = sample(key, cell, source.tier, read);
            signals.extend(
                sample
                    .map(|sample| SignalSample { reason: reasons.name(sample.signal, key.reason), ..sample }),
            );
        };
        let outcome = failures.changed(clock, &mut take).and(loads.changed(clock, &mut take));
        // The map's order is the kernel's hash order; ours is the key's, so that runs compare.
        *latest = signals.len();
        signals.sort_by(|a, b| (a.signal, &a.subject, &a.reason).cmp(&(b.signal, &b.subject, &b.reason)));
        outcome
    }

    fn losses(&mut self, frame: &mut Frame) {
        let ticks = self.ticks;
        self.ticks += 1;
        if !ticks.is_multiple_of(LOST_TICKS) {
            return;
        }
        let mut now: Vec<(String, u64)> = Vec::new();
        if let Ok(per_cpu) = self.lost.get(&0, 0) {
            let lost = |signal: Signal| per_cpu.iter().map(|lost| lost[usize::from(signal as u16)]).sum();
            let lost =
                Signal::ALL.iter().map(|signal| (*signal, lost(*signal))).filter(|(_, count)| *count != 0);
            now.extend(lost.map(|(signal, count)| (format!("map_full:{}", signal.name()), count)));
        }
        let ring: u64 = self.events_lost.get(&0, 0).map_or(0, |values| values.iter().sum());
        now.push(("ring_full".to_owned(), ring));
        if ticks.is_multiple_of(RECURSION_TICKS) {
            let misses = |programs: &Vec<i32>| programs.iter().map(|fd| recursion_misses(*fd)).sum();
            now.extend(self.programs.iter().map(|(hook, fds)| (format!("recursion:{hook}"), misses(fds))));
        }
        for (reason, count) in now {
            if count != 0 && self.losses.insert(reason.clone(), count) != Some(count) {
                frame.losses.push(Loss { reason, count });
            }
        }
    }
}

fn sample(key: &Key, cell: &Cell, tier: Tier, read: Read) -> Option<SignalSample> {
    let signal = Signal::from_number(key.signal)?;
    let nonzero = |value: u32| (value != 0).then_some(u64::from(value));
    // Before the first read it had counted nothing until just before its first occurrence.
    let before_first = || cell.first_ns.min(read.at_ns).saturating_sub(1);
    Some(SignalSample {
        signal,
        tier,
        subject: subject(key, signal.subject_kind()),
        reason: None,
        generator: key.flags & key_flags::GENERATOR != 0,
        count: cell.count,
        first_ns: Some(cell.first_ns),
        last_ns: signal.is_timed().then_some(cell.last_ns),
        peak: nonzero(cell.peak),
        limit: nonzero(cell.limit),
        read_ns: read.at_ns,
        since_ns: read.since_ns.unwrap_or_else(before_first),
    })
}

fn subject(key: &Key, kind: SubjectKind) -> Subject {
    let address = SocketAddr::new(unmapped(key.address_bytes()), key.port);
    let accepted = key.flags & key_flags::ACCEPTED != 0;
    // Where very many addresses are knocked at, the probe tells of the namespace as a whole.
    let is_of_all = key.port == 0 && key.signal == Signal::SynRefused as u16;
    let at_listener = match kind {
        SubjectKind::Listener => !is_of_all,
        SubjectKind::Peer => accepted,
        _ => false,
    };
    // Neither has port 0 where the probe knew it; a bind to port 0 has no address that matters.
    let at_destination = matches!(kind, SubjectKind::Destination | SubjectKind::Peer) && key.port != 0;
    Subject {
        netns: (key.netns != 0).then_some(key.netns),
        listener: at_listener.then_some(address),
        destination: (at_destination && !at_listener).then_some(address),
        source: None,
        cgroup: (key.cgroup != 0).then_some(key.cgroup),
        controller: match kind {
            SubjectKind::CpuCgroup => Some(Controller::Cpu),
            SubjectKind::MemoryCgroup => Some(Controller::Memory),
            _ => None,
        },
        pid: (key.pid != 0).then_some(key.pid),
    }
}

/// IPv4 where it was mapped into IPv6.
fn unmapped(address: [u8; 16]) -> IpAddr {
    let v6 = Ipv6Addr::from(address);
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

fn event(bytes: &[u8]) -> Option<Event> {
    if bytes.len() < size_of::<Event>() {
        return None;
    }
    // SAFETY: the record is at least as long as the type, and any bit pattern is a valid `Event`;
    // the read does not need alignment.
    Some(unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast::<Event>()) })
}

pub(super) fn take<M: TryFrom<aya::maps::Map, Error = MapError>>(
    kernel: &mut Kernel,
    name: &'static str,
) -> Result<M, KernelError> {
    kernel
        .ebpf
        .take_map(name)
        .ok_or_else(|| MapError::InvalidName { name: name.to_owned() })
        .and_then(M::try_from)
        .map_err(|source| KernelError::Map { name, source })
}

/// Descriptors of the attached programs, by their hooks. They stay open as long as the [`Kernel`] lives.
fn program_fds(kernel: &Kernel) -> BTreeMap<String, Vec<i32>> {
    let mut by_hook: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for probe in kernel.attached().iter().filter(|attached| attached.refused.is_none()).map(|a| &a.probe) {
        let fd = kernel.ebpf.program(probe.program).and_then(|program| program.fd().ok());
        by_hook.entry(probe.hook.describe()).or_default().extend(fd.map(|fd| fd.as_fd().as_raw_fd()));
    }
    by_hook
}

/// How often the kernel skipped a program because it was already running on that CPU (5.12 and
/// later tell; before, it is not known and nothing is added).
fn recursion_misses(fd: i32) -> u64 {
    std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))
        .ok()
        .and_then(|text| {
            text.lines().find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_syns_that_are_not_told_apart_are_the_namespaces() {
        let at = |signal: Signal, port: u16| {
            let key = Key { netns: 7, signal: signal as u16, port, ..Key::ZERO };
            subject(&key, signal.subject_kind())
        };
        assert_eq!(at(Signal::SynRefused, 0), Subject::namespace(7));
        let listener = "[::]:80".parse().expect("an address");
        assert_eq!(at(Signal::SynRefused, 80), Subject::listener(7, listener));
    }
}

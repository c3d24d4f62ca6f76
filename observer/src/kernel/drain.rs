//! Reading what the probes counted.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use aya::maps::{MapData, MapError, PerCpuArray, PerCpuHashMap, RingBuf};
use observer_common::{Cell, Event, Key, Signal, SubjectKind, key_flags};

use super::{Kernel, KernelError, reasons::Reasons};
use crate::core::{
    frame::{Frame, Loss, SignalSample, SourceStatus, Tier},
    subject::{Controller, Subject},
};

/// Reads the maps of a loaded [`Kernel`] and keeps what it last read, so that a frame holds only
/// what changed.
pub struct Drain {
    cells: [PerCpuHashMap<MapData, Key, Cell>; 2],
    lost: PerCpuArray<MapData, u64>,
    events_lost: PerCpuArray<MapData, u64>,
    events: RingBuf<MapData>,
    tiers: HashMap<u16, SignalSource>,
    reasons: Reasons,
    seen: HashMap<Key, u64>,
    losses: HashMap<String, u64>,
    read_ns: Option<u64>,
    /// Descriptors of the attached programs, by their hooks.
    programs: BTreeMap<String, Vec<i32>>,
    /// Until the next look at what the kernel skipped.
    ticks_to_look: u64,
}

/// Ticks between two looks at what the kernel skipped: it takes a file per program.
const RECURSION_TICKS: u64 = 10;

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
            cells: [take(kernel, "FAILURES")?, take(kernel, "LOADS")?],
            lost: take(kernel, "LOST")?,
            events_lost: take(kernel, "EVENTS_LOST")?,
            events: take(kernel, "EVENTS")?,
            tiers,
            reasons: kernel.reasons.clone(),
            seen: HashMap::new(),
            losses: HashMap::new(),
            read_ns: None,
            programs,
            ticks_to_look: 0,
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

    /// Makes the next tick look at everything, because it is the last one.
    pub fn look_at_everything(&mut self) {
        self.ticks_to_look = 0;
    }

    /// Adds every cell that changed since the last call. `clock` is CLOCK_MONOTONIC in nanoseconds.
    pub fn tick(&mut self, clock: &dyn Fn() -> u64, frame: &mut Frame) {
        let began = clock();
        let error = self.cells(began, frame).err().map(|error| error.to_string());
        self.read_ns = Some(began);
        self.losses(frame);
        frame.sources.push(SourceStatus { source: "probes".into(), duration_ns: clock() - began, error });
    }

    fn cells(&mut self, began: u64, frame: &mut Frame) -> Result<(), MapError> {
        for entry in self.cells.iter().flat_map(PerCpuHashMap::iter) {
            let (key, values) = entry?;
            let mut total = Cell::default();
            values.iter().for_each(|cell| total.merge(cell));
            if total.count == 0 || self.seen.insert(key, total.count) == Some(total.count) {
                continue;
            }
            let Some(source) = self.tiers.get(&key.signal) else { continue };
            if key.flags & key_flags::FALLBACK != 0 && !source.fallback {
                continue;
            }
            // Before the first read it had counted nothing until just before its first occurrence.
            let before_first = || total.first_ns.min(began).saturating_sub(1);
            let since_ns = self.read_ns.unwrap_or_else(before_first);
            let sample = sample(&key, &total, source.tier, began, since_ns);
            frame.signals.extend(sample.map(|sample| SignalSample {
                reason: self.reasons.name(sample.signal, key.reason),
                ..sample
            }));
        }
        // The map's order is the kernel's hash order; ours is the key's, so that runs compare.
        frame
            .signals
            .sort_by(|a, b| (a.signal, &a.subject, &a.reason).cmp(&(b.signal, &b.subject, &b.reason)));
        Ok(())
    }

    fn losses(&mut self, frame: &mut Frame) {
        let mut now: Vec<(String, u64)> = Vec::new();
        for signal in Signal::ALL {
            let count = self.lost.get(&(*signal as u32), 0).map_or(0, |values| values.iter().sum());
            now.push((format!("map_full:{}", signal.name()), count));
        }
        let ring: u64 = self.events_lost.get(&0, 0).map_or(0, |values| values.iter().sum());
        now.push(("ring_full".to_owned(), ring));
        if self.ticks_to_look == 0 {
            let misses = |programs: &Vec<i32>| programs.iter().map(|fd| recursion_misses(*fd)).sum();
            now.extend(self.programs.iter().map(|(hook, fds)| (format!("recursion:{hook}"), misses(fds))));
            self.ticks_to_look = RECURSION_TICKS;
        }
        self.ticks_to_look -= 1;
        for (reason, count) in now {
            if count != 0 && self.losses.insert(reason.clone(), count) != Some(count) {
                frame.losses.push(Loss { reason, count });
            }
        }
    }
}

fn sample(key: &Key, cell: &Cell, tier: Tier, read_ns: u64, since_ns: u64) -> Option<SignalSample> {
    let signal = Signal::from_number(key.signal)?;
    let nonzero = |value: u32| (value != 0).then_some(u64::from(value));
    Some(SignalSample {
        signal,
        tier,
        subject: subject(key, signal.subject_kind()),
        reason: None,
        generator: key.flags & key_flags::GENERATOR != 0,
        count: cell.count,
        first_ns: Some(cell.first_ns),
        last_ns: Some(cell.last_ns),
        peak: nonzero(cell.peak),
        limit: nonzero(cell.limit),
        read_ns,
        since_ns,
    })
}

fn subject(key: &Key, kind: SubjectKind) -> Subject {
    let address = SocketAddr::new(unmapped(key.address), key.port);
    let accepted = key.flags & key_flags::ACCEPTED != 0;
    let at_listener = kind == SubjectKind::Listener || (kind == SubjectKind::Peer && accepted);
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

fn take<M: TryFrom<aya::maps::Map, Error = MapError>>(
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

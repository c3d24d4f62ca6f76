//! One hit: its subject in words, evidence, usage, load and sentence.

use std::{borrow::Cow, net::SocketAddr};

use observer_common::Signal;

use super::{real_ns, seconds};
use crate::core::{
    engine::{Engine, Watch},
    frame::Resource,
    ledger::{Bracket, Series, Usage},
    lines::{Case, FaultLine, LINES},
    scope::{Scope, container_id, is_below},
    subject::{Role, Subject},
    time::rfc3339,
    verdict::{Evidence, Hit, HitSubject, HitUsage, LogEntry, Phase, Spell},
};

const SECOND_NS: u64 = 1_000_000_000;

pub(super) fn hit(
    engine: &Engine,
    scope: &Scope,
    watch: &Watch,
    at: Bracket,
    role: Role,
    phases: &[Phase],
    start_ns: u64,
) -> Hit {
    let line = LINES[watch.line];
    let place = place(engine, line, &watch.subject);
    let usage = usage(engine, line, &watch.subject);
    let evidence = evidence(engine, line, watch, at, start_ns);
    let onset_s = seconds(start_ns, at.hi_ns);
    let (arrived_per_s, accepted_per_s) = rates(engine, &watch.subject, at);
    let case = Case {
        place: &place,
        usage: usage.as_ref(),
        evidence: &evidence,
        arrived_per_s,
        accepted_per_s,
        inferred: watch.inferred,
        subject: &watch.subject,
        ledger: &engine.ledger,
    };
    Hit {
        fault_line: line.id().to_owned(),
        role,
        onset_s,
        onset: rfc3339(real_ns(engine, at.hi_ns)),
        onset_lo_s: seconds(start_ns, at.lo_ns),
        onset_hi_s: onset_s,
        phase: phases
            .iter()
            .find(|phase| phase.start_s <= onset_s && onset_s < phase.end_s)
            // A counter may tell of the last moment only after it.
            .or_else(|| phases.last().filter(|last| onset_s >= last.end_s))
            .map(|phase| phase.name.clone()),
        load: engine.load.mean(scope, at.hi_ns.saturating_sub(SECOND_NS).max(start_ns), at.hi_ns),
        kind: line.kind(),
        because: line.because(&case),
        verify: line.verify(&place),
        remedy: line.remedy(&place, usage.as_ref()),
        subject: place,
        spells: spells(engine, watch, start_ns),
        evidence,
        log: log(engine, line, start_ns),
        usage,
        confidence: None,
        explained_by: None,
    }
}

fn rates(engine: &Engine, subject: &Subject, at: Bracket) -> (Option<f64>, Option<f64>) {
    if subject.listener.is_none() {
        return (None, None);
    }
    let to_ns = (at.hi_ns + SECOND_NS).min(engine.times.end_ns.unwrap_or(engine.times.last_ns)).max(at.hi_ns);
    (
        engine.load.arrived_per_s(subject, at.hi_ns, to_ns),
        engine.load.accepted_per_s(subject, at.hi_ns, to_ns),
    )
}

/// The subject in the contract's form, with what the facts add to it.
fn place(engine: &Engine, line: &dyn FaultLine, subject: &Subject) -> HitSubject {
    let failed_pid = || {
        let series = |signal| engine.ledger.series.get(&(signal, subject.clone()));
        line.failures().iter().find_map(|failure| series(failure.signal)?.pid)
    };
    let pid = subject.pid.or_else(failed_pid).or_else(|| owner(engine, subject.netns?, subject.listener?));
    let mut found = describe(engine, subject);
    if pid != found.pid {
        let process = describe(engine, &Subject { pid, ..Subject::HOST });
        found.pid = pid;
        found.comm = process.comm;
        found.cgroup = found.cgroup.or(process.cgroup);
        found.container = found.container.or(process.container);
        found.netns = found.netns.or(process.netns);
    }
    // A bind to port 0 has no listener worth naming.
    found.listener = found.listener.filter(|listener| listener.port() != 0);
    found
}

/// The owner of a listener that is named: one that still lives, a worker rather than the master that opened it for them,
/// the first of several.
fn owner(engine: &Engine, netns: u32, listener: SocketAddr) -> Option<u32> {
    let ledger = &engine.ledger;
    let owners = ledger.owners.get(&(netns, listener))?;
    // Nothing lives without a descriptor.
    let has_ended = |pid: u32| {
        let descriptors = ledger.usages.get(&(Resource::Descriptors, Subject::process(pid)));
        descriptors.is_some_and(|usage| usage.last.used == 0)
    };
    let parent = |pid: &u32| ledger.processes.get(pid).map(|process| process.parent);
    let is_master = |pid: u32| owners.iter().any(|other| parent(other) == Some(pid));
    owners.iter().copied().min_by_key(|pid| (has_ended(*pid), is_master(*pid)))
}

/// A subject in the contract's form.
pub(in crate::core) fn describe(engine: &Engine, subject: &Subject) -> HitSubject {
    let ledger = &engine.ledger;
    let process = subject.pid.and_then(|pid| ledger.processes.get(&pid));
    let cgroup_id = subject
        .cgroup
        .or_else(|| ledger.cgroups.get(subject).copied())
        .or_else(|| process.and_then(|process| process.cgroup));
    let cgroup = cgroup_id.and_then(|id| ledger.cgroup_paths.get(&(subject.controller, id))).cloned();
    HitSubject {
        listener: subject.listener,
        destination: subject.destination,
        source: subject.source,
        netns: subject.netns.or_else(|| process.and_then(|process| process.netns)),
        container: cgroup.as_deref().and_then(container_id).map(str::to_owned),
        cgroup,
        pid: subject.pid,
        comm: process.map(|process| process.comm.clone()),
        device: None,
    }
}

fn spells(engine: &Engine, watch: &Watch, start_ns: u64) -> Vec<Spell> {
    let intervals = watch.spells.intervals();
    intervals
        .iter()
        .enumerate()
        .map(|(index, interval)| {
            let lasts = index + 1 == intervals.len() && watch.spells.is_active(engine.times.last_ns);
            Spell {
                onset_s: seconds(start_ns, interval.onset_ns),
                end_s: (!lasts).then(|| seconds(start_ns, interval.last_ns)),
                count: interval.count,
            }
        })
        .collect()
}

fn evidence(
    engine: &Engine,
    line: &dyn FaultLine,
    watch: &Watch,
    at: Bracket,
    start_ns: u64,
) -> Vec<Evidence> {
    let failures = line.failures().iter().map(|failure| failure.signal);
    failures
        .chain(line.context().iter().copied())
        .filter_map(|signal| {
            let series = series(engine, signal, &watch.subject)?;
            // An inferred failure has no count of its own.
            (series.in_run > 0 && !(watch.inferred && watch.subject.listener.is_none()))
                .then(|| entry(engine, signal, &series, at, start_ns))
        })
        .collect()
}

/// The counts at the subject itself; where there are none, what belongs to it all the same.
fn series<'a>(engine: &'a Engine, signal: Signal, subject: &Subject) -> Option<Cow<'a, Series>> {
    let ledger = &engine.ledger;
    let of = |subject: Subject| ledger.series.get(&(signal, subject)).map(Cow::Borrowed);
    let netns = subject.netns;
    match signal {
        // A namespace as a whole: everything in it.
        _ if *subject == Subject::namespace(netns.unwrap_or(0)) => {
            ledger.total_in(signal, netns?).map(Cow::Owned)
        }
        // The kernel's own totals are of the namespace.
        Signal::ListenOverflow | Signal::SegmentsSent | Signal::PacketDropped => {
            of(subject.clone()).or_else(|| of(Subject::namespace(netns?)))
        }
        // What is refused here is refused where the destination is.
        Signal::SynRefused => {
            of(subject.clone()).or_else(|| of(Subject::listener(netns?, subject.destination?)))
        }
        _ => of(subject.clone()),
    }
}

/// As many lines of the kernel's log as a person reads.
const LOG_LINES: usize = 3;

/// What the kernel's log said of a line since the run began.
fn log(engine: &Engine, line: &dyn FaultLine, start_ns: u64) -> Vec<LogEntry> {
    let of_line = engine.ledger.log.iter().filter(|entry| Some(entry.about) == line.log_topic());
    of_line
        .filter(|entry| entry.at_ns >= start_ns)
        .take(LOG_LINES)
        .map(|entry| LogEntry { at_s: seconds(start_ns, entry.at_ns), text: entry.text.clone() })
        .collect()
}

fn entry(engine: &Engine, signal: Signal, series: &Series, at: Bracket, start_ns: u64) -> Evidence {
    let pre_roll_s = seconds(engine.times.first_ns.unwrap_or(start_ns), start_ns);
    let until_ns = series.last_ns.or(engine.times.end_ns).unwrap_or(engine.times.last_ns);
    // A counter does not tell when it first moved; no failure came before the onset.
    let lasted_s = seconds(series.first_ns.unwrap_or(at.lo_ns), until_ns);
    Evidence {
        signal,
        count: series.in_run,
        first_s: series.first_ns.map(|at_ns| seconds(start_ns, at_ns)),
        last_s: series.last_ns.map(|at_ns| seconds(start_ns, at_ns)),
        rate_per_s: (lasted_s > 0.0).then(|| round(series.in_run as f64 / lasted_s)),
        baseline_per_s: (pre_roll_s > 0.0).then(|| round(series.in_pre_roll as f64 / pre_roll_s)),
        reasons: (!series.reasons.is_empty()).then(|| series.reasons.clone()),
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// The resource that ran out: from the usages, or from the levels that the probes saw at the failures.
fn usage(engine: &Engine, line: &dyn FaultLine, subject: &Subject) -> Option<HitUsage> {
    let resource = line.resource()?;
    let sampled = sampled(engine, resource, subject);
    let from_probe = line
        .failures()
        .iter()
        .filter_map(|failure| engine.ledger.series.get(&(failure.signal, subject.clone())))
        .filter_map(|series| Some((series.peak?, series.limit?)))
        .max();
    let (used, limit) = match (sampled.map(|usage| (usage.peak.used, usage.peak.limit)), from_probe) {
        // A use is held against the limit of its own moment.
        (Some((used, limit)), Some((peak, at_failure))) if limit == Some(at_failure) => {
            (used.max(peak), limit)
        }
        (_, Some((peak, at_failure))) => (peak, Some(at_failure)),
        (Some((used, limit)), None) => (used, limit),
        (None, None) => return None,
    };
    Some(HitUsage {
        resource: resource.name().to_owned(),
        used,
        limit,
        peak_ratio: limit.filter(|limit| *limit > 0).map(|limit| ratio(used, limit)),
        limit_set_by: sampled.and_then(|usage| usage.set_by(limit)),
    })
}

fn sampled<'a>(engine: &'a Engine, resource: Resource, subject: &Subject) -> Option<&'a Usage> {
    let usages = &engine.ledger.usages;
    match resource {
        // Ports are sampled per source address as well; the fullest one is what ran out.
        Resource::EphemeralPorts => usages
            .iter()
            .filter(|((of, at), _)| {
                *of == resource && at.netns == subject.netns && at.destination == subject.destination
            })
            .map(|(_, usage)| usage)
            .max_by_key(|usage| usage.peak.used),
        Resource::Memory => above(engine, subject)
            .filter_map(|at| usages.get(&(resource, at)))
            .filter(|usage| usage.peak.limit.is_some())
            .max_by_key(|usage| {
                usage.peak.limit.map(|limit| u128::from(usage.peak.used) * 10_000 / u128::from(limit.max(1)))
            }),
        Resource::Conntrack | Resource::TimeWait => {
            usages.get(&(resource, Subject::namespace(subject.netns?)))
        }
        Resource::Descriptors if subject.pid.is_none() => usages.get(&(Resource::FileTable, Subject::HOST)),
        _ => usages.get(&(resource, subject.clone())),
    }
}

/// A cgroup and those above it, whose limits hold for it as well.
fn above<'a>(engine: &'a Engine, subject: &'a Subject) -> impl Iterator<Item = Subject> + 'a {
    let path = |id: u64| engine.ledger.cgroup_paths.get(&(subject.controller, id));
    let own = subject.cgroup.and_then(path);
    let of_controller =
        engine.ledger.cgroup_paths.iter().filter(|((controller, _), _)| *controller == subject.controller);
    let is_above = move |path: &str| own.is_some_and(|own| is_below(own, path));
    let ancestors = of_controller.filter(move |(_, path)| is_above(path)).map(|((_, id), _)| *id);
    subject.cgroup.into_iter().chain(ancestors).map(|id| Subject {
        cgroup: Some(id),
        controller: subject.controller,
        ..Subject::HOST
    })
}

/// With four digits, which is more than any of these means.
pub(super) fn ratio(used: u64, limit: u64) -> f64 {
    (used as f64 / limit as f64 * 10_000.0).round() / 10_000.0
}

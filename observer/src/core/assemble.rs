//! From onsets to the verdict: first, co-first, elsewhere, chain, ruled out.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    chain::{self, Onset},
    engine::{Engine, Watch},
    frame::{PhaseSource, Resource},
    ledger::Bracket,
    lines::{self, FaultLine, LINES},
    phase,
    scope::Scope,
    subject::{Role, Subject},
    time::rfc3339,
    verdict::{Clock, Coverage, Hit, Kind, Limit, Link, Note, Outcome, OwnCost, Phase, Run, SCHEMA, Verdict},
};

pub(super) mod case;
pub(super) mod headroom;

/// A hit with what ranks it.
struct Ranked<'a> {
    watch: &'a Watch,
    at: Bracket,
    role: Role,
    hit: Hit,
    /// Whether something came of it.
    has_effect: bool,
}

/// Seconds with microseconds, which is what an f64 of a long run still holds.
pub(super) fn seconds(from_ns: u64, at_ns: u64) -> f64 {
    let micros = (i128::from(at_ns) - i128::from(from_ns)) / 1_000;
    micros as f64 / 1e6
}

pub(super) fn verdict(engine: &Engine, cost: Option<OwnCost>) -> Verdict {
    let scope = Scope::of(&engine.ledger, &engine.header);
    let start_ns = engine.times.start_ns.or(engine.times.first_ns).unwrap_or(0);
    let phases = phases(engine, &scope, start_ns);
    let mut ranked = ranked(engine, &scope, &phases, start_ns);
    let chain = link(engine, &mut ranked, start_ns);
    ranked.retain(|r| !LINES[r.watch.line].needs_effect() || r.has_effect);
    ranked.sort_by_key(rank);
    let (in_scope, elsewhere): (Vec<_>, Vec<_>) = ranked.into_iter().partition(|r| r.role != Role::Bystander);
    let first = in_scope.iter().position(|r| may_be_first(&r.hit, &in_scope));
    let co_first = first.map(|index| co_first(&in_scope, index)).unwrap_or_default();
    let first = first.map(|index| in_scope[index].hit.clone());
    let mut hits: Vec<Hit> = in_scope.into_iter().map(|r| r.hit).collect();
    hits.sort_by(|a, b| a.onset_s.total_cmp(&b.onset_s));
    let elsewhere: Vec<Hit> = elsewhere.into_iter().map(|r| r.hit).collect();
    let pre_existing = pre_existing(engine, &scope, start_ns);
    let not_measurable = not_measurable(engine, &scope, &elsewhere);
    Verdict {
        schema: SCHEMA.to_owned(),
        observer_version: env!("CARGO_PKG_VERSION").to_owned(),
        outcome: outcome(engine, first.is_some(), &pre_existing, &not_measurable),
        ruled_out: ruled_out(engine, hits.iter().chain(&pre_existing), &not_measurable),
        run: run(engine, &scope, start_ns),
        coverage: coverage(engine, cost),
        phases,
        first,
        co_first,
        hits,
        elsewhere,
        pre_existing,
        chain,
        not_measurable,
        headroom: headroom::closest(engine, &scope),
        latency: Vec::new(),
    }
}

/// Explained hits after unexplained ones, then by the latest instant the onset can have, then by the
/// catalogue's order.
fn rank(ranked: &Ranked) -> (bool, u64, usize, Subject) {
    (ranked.hit.explained_by.is_some(), ranked.at.hi_ns, ranked.watch.line, ranked.watch.subject.clone())
}

/// Pressure comes before a refusal only if it explains it, and symptoms come first only when nothing else
/// was hit.
fn may_be_first(hit: &Hit, all: &[Ranked]) -> bool {
    let mut others = all.iter().map(|other| &other.hit);
    match hit.kind {
        Kind::Resource => true,
        Kind::Pressure => !others.any(|other| other.kind == Kind::Resource && other.explained_by.is_none()),
        Kind::Symptom => others.all(|other| other.kind == Kind::Symptom),
    }
}

/// Hits whose onsets cannot be told apart from the first one's and that nothing explains.
fn co_first(in_scope: &[Ranked], first: usize) -> Vec<Hit> {
    let at = in_scope[first].at;
    in_scope
        .iter()
        .enumerate()
        .filter(|(index, other)| {
            *index != first
                && other.hit.explained_by.is_none()
                && other.hit.kind == in_scope[first].hit.kind
                && other.hit.kind != Kind::Symptom
                && other.at.lo_ns <= at.hi_ns
                && at.lo_ns <= other.at.hi_ns
        })
        .map(|(_, other)| other.hit.clone())
        .collect()
}

fn ranked<'a>(engine: &'a Engine, scope: &Scope, phases: &[Phase], start_ns: u64) -> Vec<Ranked<'a>> {
    engine
        .watches
        .values()
        .filter(|watch| is_told(engine, watch))
        .filter_map(|watch| {
            let at = onset_in_load(engine, watch)?;
            let role = role(engine, scope, watch);
            let hit = case::hit(engine, scope, watch, at, role, phases, start_ns);
            Some(Ranked { watch, at, role, hit, has_effect: false })
        })
        .collect()
}

/// The onset, unless it came after the end of the load. When nobody says that a load ends, that is known only
/// later, and what came in between is its teardown.
pub(super) fn onset_in_load(engine: &Engine, watch: &Watch) -> Option<Bracket> {
    watch.onset.filter(|at| engine.counts_at(at.lo_ns, LINES[watch.line].outlasts_load()))
}

/// Whether the user wants to hear of it, and it still means something now that more is known.
pub(super) fn is_told(engine: &Engine, watch: &Watch) -> bool {
    let line = LINES[watch.line];
    !is_ignored(engine, line) && line.stands(&engine.ledger, &watch.subject)
}

pub(super) fn is_ignored(engine: &Engine, line: &dyn FaultLine) -> bool {
    engine.header.ignore.iter().any(|id| id == line.id())
}

/// A failure in a process's own context is that process's; any other is its subject's.
pub(super) fn role(engine: &Engine, scope: &Scope, watch: &Watch) -> Role {
    let series: Vec<_> = LINES[watch.line]
        .failures()
        .iter()
        .filter_map(|failure| engine.ledger.series.get(&(failure.signal, watch.subject.clone())))
        .collect();
    let generator = series.iter().any(|series| series.generator);
    let pid = series.iter().find_map(|series| series.pid);
    if LINES[watch.line].is_of_host(&engine.ledger, &watch.subject, pid) {
        return Role::Path;
    }
    scope.role(&watch.subject, generator, pid)
}

/// Finds the edges, and marks what they explain.
fn link(engine: &Engine, ranked: &mut [Ranked], start_ns: u64) -> Vec<Link> {
    let mut links = Vec::new();
    for effect in 0..ranked.len() {
        for edge in LINES[ranked[effect].watch.line].caused_by() {
            for cause in 0..ranked.len() {
                let found = chain::links(
                    edge,
                    &onset(&ranked[cause]),
                    &onset(&ranked[effect]),
                    &engine.ledger,
                    &engine.load,
                );
                let Some(mechanism) = found else { continue };
                ranked[cause].has_effect = true;
                ranked[effect].hit.explained_by.get_or_insert_with(|| edge.cause.to_owned());
                // What led to what elsewhere is no part of the test's chain.
                if ranked[effect].role == Role::Bystander {
                    continue;
                }
                links.push(Link {
                    cause: edge.cause.to_owned(),
                    effect: LINES[ranked[effect].watch.line].id().to_owned(),
                    lag_s: seconds(start_ns, ranked[effect].at.hi_ns)
                        - seconds(start_ns, ranked[cause].at.hi_ns),
                    mechanism,
                });
            }
        }
    }
    links
}

fn onset<'a>(ranked: &'a Ranked) -> Onset<'a> {
    let watch = ranked.watch;
    let last_ns = watch.spells.intervals().last().map_or(ranked.at.hi_ns, |spell| spell.last_ns);
    Onset { line: LINES[watch.line].id(), subject: &watch.subject, at: ranked.at, last_ns }
}

/// What was active in the pre-roll and did not rise enough to be a hit.
fn pre_existing(engine: &Engine, scope: &Scope, start_ns: u64) -> Vec<Hit> {
    engine
        .watches
        .values()
        .filter(|watch| watch.is_pre_existing() && is_told(engine, watch))
        .filter(|watch| !LINES[watch.line].needs_effect())
        .map(|watch| {
            let at = Bracket { lo_ns: engine.times.first_ns.unwrap_or(start_ns), hi_ns: start_ns };
            case::hit(engine, scope, watch, at, role(engine, scope, watch), &[], start_ns)
        })
        .collect()
}

fn outcome(engine: &Engine, hit: bool, pre_existing: &[Hit], not_measurable: &[Note]) -> Outcome {
    // What was so before and went on in the run is no hit of the run's, and not clear either.
    let went_on = pre_existing.iter().any(|hit| hit.role != Role::Bystander && !hit.spells.is_empty());
    let blind = |note: &Note| lines::by_id(&note.fault_line).is_some_and(|line| !line.optional());
    // A count that was lost for want of room may have been a failure.
    let lost = engine.ledger.losses().keys().any(|reason| reason.starts_with("map_full"));
    if hit {
        Outcome::Hit
    } else if lost || went_on || not_measurable.iter().any(blind) {
        Outcome::Inconclusive
    } else {
        Outcome::Clear
    }
}

fn not_measurable(engine: &Engine, scope: &Scope, elsewhere: &[Hit]) -> Vec<Note> {
    LINES
        .iter()
        .filter(|line| !is_ignored(engine, **line))
        .filter_map(|line| {
            let why = lines::not_measurable(*line, &engine.header.coverage)
                .or_else(|| failing_source(engine, *line))
                .or_else(|| missing_target(scope, *line))
                .or_else(|| unclear_scope(scope, *line, elsewhere))?;
            Some(Note { fault_line: line.id().to_owned(), why })
        })
        .collect()
}

/// Nothing can be said of the listeners of a target that was never there.
fn missing_target(scope: &Scope, line: &dyn FaultLine) -> Option<String> {
    let of_listener = matches!(line.resource(), Some(Resource::AcceptQueue | Resource::SynQueue));
    let target = scope.unmatched().filter(|_| of_listener)?;
    Some(format!("nothing that listens answers to --target {target}"))
}

/// A listener that was hit may be the one that the command reached through address translation.
fn unclear_scope(scope: &Scope, line: &dyn FaultLine, elsewhere: &[Hit]) -> Option<String> {
    let hit = elsewhere.iter().find(|hit| hit.fault_line == line.id() && hit.subject.listener.is_some())?;
    let (listener, to) = (hit.subject.listener?, scope.unanswered()?);
    Some(format!(
        "{listener} was hit, and it is not known whether the command's connections to {to} lead there: name what is \
         under test with --target"
    ))
}

/// A line cannot be judged when what it rests on could not be read.
fn failing_source(engine: &Engine, line: &dyn FaultLine) -> Option<String> {
    let on_probes =
        line.failures().iter().any(|f| super::engine::is_probed(&engine.header.coverage, f.signal));
    let source = match line.resource()? {
        _ if on_probes => "probes",
        Resource::AcceptQueue | Resource::SynQueue => "netstat",
        Resource::Descriptors => "descriptors",
        Resource::Conntrack => "conntrack",
        _ => return None,
    };
    engine.ledger.failing.get(source).cloned()
}

fn ruled_out<'a>(
    engine: &Engine,
    hits: impl Iterator<Item = &'a Hit>,
    not_measurable: &'a [Note],
) -> Vec<Note> {
    let listed: BTreeSet<&str> = hits
        .map(|hit| hit.fault_line.as_str())
        .chain(not_measurable.iter().map(|note| note.fault_line.as_str()))
        .collect();
    LINES
        .iter()
        .filter(|line| !is_ignored(engine, **line) && !listed.contains(line.id()))
        .map(|line| Note { fault_line: line.id().to_owned(), why: headroom::why_not(engine, *line) })
        .collect()
}

/// The limits that matter: the host's, the namespaces', and those of the processes under test. (A test
/// of many short processes has thousands.)
fn limits(engine: &Engine, scope: &Scope) -> Vec<Limit> {
    let pids = scope.target_pids();
    let pid_of = |place: &str| place.strip_prefix("pid ")?.split(' ').next()?.parse::<u32>().ok();
    let matters = |limit: &&Limit| pid_of(&limit.place).is_none_or(|pid| pids.contains(&pid));
    engine.ledger.limits.values().filter(matters).cloned().collect()
}

fn run(engine: &Engine, scope: &Scope, start_ns: u64) -> Run {
    let header = &engine.header;
    let real = |at_ns: u64| real_ns(engine, at_ns);
    let end_ns = engine.times.end_ns.unwrap_or(engine.times.last_ns);
    Run {
        id: header.id.clone(),
        started: rfc3339(real(start_ns)),
        ended: rfc3339(real(end_ns)),
        host: header.host.clone(),
        kernel: header.kernel.clone(),
        command: (!header.command.is_empty()).then(|| header.command.clone()),
        exit_status: engine.exit_status,
        clock: Clock { mono_ns: start_ns, real_ns: real(start_ns) },
        pre_roll_s: seconds(engine.times.first_ns.unwrap_or(start_ns), start_ns),
        limits: limits(engine, scope),
    }
}

/// The wall clock at an instant of the monotonic one.
pub(super) fn real_ns(engine: &Engine, at_ns: u64) -> u64 {
    u64::try_from(i128::from(at_ns) + engine.times.real_offset_ns).unwrap_or(0)
}

fn coverage(engine: &Engine, cost: Option<OwnCost>) -> Coverage {
    let probed = |series: &&super::ledger::Series| series.tier.is_probe();
    Coverage {
        signals: engine.header.coverage.clone(),
        events_seen: engine.ledger.series.values().filter(probed).map(|series| series.in_run).sum(),
        events_lost: losses(engine),
        ticks_late: engine.ticks_late,
        observer: cost,
    }
}

/// What is known to be missing: what the kernel side lost or skipped, and what its counters say was there.
fn losses(engine: &Engine) -> BTreeMap<String, u64> {
    let mut losses = engine.ledger.losses();
    let unseen: Vec<_> = engine.audit.losses(&losses).collect();
    losses.extend(unseen.into_iter().map(|(loss, unseen)| (loss.to_owned(), unseen)));
    losses
}

/// The user's marks where there are any, else the load's own course.
fn phases(engine: &Engine, scope: &Scope, start_ns: u64) -> Vec<Phase> {
    let end_ns = engine.times.last_ns.max(start_ns);
    let (spans, source) = match engine.phase_marks.first() {
        Some(mark) => (marked(engine, end_ns), mark.source),
        None => {
            let window = phase::Window { start_ns, end_ns, load_end_ns: engine.times.end_ns };
            let levels = engine.load.in_scope(scope, start_ns, end_ns, window.step_ns());
            (phase::segment(&levels, &window), PhaseSource::Auto)
        }
    };
    spans
        .into_iter()
        .map(|span| Phase {
            name: span.name,
            source,
            start_s: seconds(start_ns, span.start_ns),
            end_s: seconds(start_ns, span.end_ns.min(end_ns)),
            load: engine.load.mean(scope, span.start_ns, span.end_ns.min(end_ns)),
        })
        .collect()
}

fn marked(engine: &Engine, end_ns: u64) -> Vec<phase::Span> {
    let marks = &engine.phase_marks;
    let ends = marks.iter().skip(1).map(|mark| mark.at_ns).chain([end_ns]);
    marks
        .iter()
        .zip(ends)
        .map(|(mark, end_ns)| phase::Span { name: mark.name.clone(), start_ns: mark.at_ns, end_ns })
        .collect()
}

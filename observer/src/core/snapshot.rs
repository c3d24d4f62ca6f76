//! How things stand at one instant: what a dashboard draws and a scrape reads, between two verdicts.

use observer_common::Signal;

use super::{
    assemble::{self, headroom},
    detect::QUIET_NS,
    engine::{Engine, Watch},
    frame::Resource,
    lines::{self, FaultLine, LINES},
    scope::Scope,
    subject::{Role, Subject},
    verdict::{Headroom, Load},
};

/// From this share of its limit on, a resource is under pressure.
pub const PRESSED_RATIO: f64 = 0.8;
/// The load is that of the last second.
const SECOND_NS: u64 = 1_000_000_000;

/// How a fault line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It cannot be judged on this kernel.
    NotMeasurable,
    /// The user does not want to hear of it.
    Ignored,
    /// Nothing.
    Clear,
    /// Close to its limit, strained, or failing too rarely to matter.
    Pressured,
    /// It was hit, and has been quiet for ten seconds.
    Passed,
    /// It is hit.
    Hit,
}

/// One fault line now.
#[derive(Clone, Debug, PartialEq)]
pub struct LineNow {
    /// How it stands.
    pub state: State,
    /// Failures in scope since the run began.
    pub failures: u64,
    /// Whatever strains it without a failure, since the run began.
    pub strain: u64,
    /// The resource behind it that is closest to its limit now, in scope; `peak_used` is its use now.
    pub closest: Option<Headroom>,
}

/// Everything now.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// CLOCK_MONOTONIC of the latest frame.
    pub at_ns: u64,
    /// CLOCK_REALTIME of the same instant.
    pub real_ns: u64,
    /// When the run began, on CLOCK_MONOTONIC; `None` in the pre-roll.
    pub start_ns: Option<u64>,
    /// When its load ended.
    pub end_ns: Option<u64>,
    /// The load of the last second.
    pub load: Load,
    /// One per fault line, in the order of [`LINES`].
    pub lines: Vec<LineNow>,
    /// In use of each resource that was seen, on the whole host.
    pub in_use: Vec<(Resource, u64)>,
}

impl Snapshot {
    /// How the engine sees things after its latest frame.
    pub fn of(engine: &Engine) -> Self {
        let scope = Scope::of(&engine.ledger, &engine.header);
        let times = engine.times;
        let from_ns = times.last_ns.saturating_sub(SECOND_NS).max(times.first_ns.unwrap_or(0));
        Self {
            at_ns: times.last_ns,
            real_ns: assemble::real_ns(engine, times.last_ns),
            start_ns: times.start_ns,
            end_ns: times.end_ns,
            load: engine.load.mean(&scope, from_ns, times.last_ns),
            lines: LINES
                .iter()
                .enumerate()
                .map(|(index, line)| line_now(engine, &scope, index, *line))
                .collect(),
            in_use: in_use(engine),
        }
    }

    /// How many of a resource are in use on the whole host; `None` where that was never seen.
    pub fn in_use(&self, resource: Resource) -> Option<u64> {
        self.in_use.iter().find(|(of, _)| *of == resource).map(|(_, used)| *used)
    }
}

fn line_now(engine: &Engine, scope: &Scope, index: usize, line: &dyn FaultLine) -> LineNow {
    let watches: Vec<&Watch> = engine
        .watches
        .range((index, Subject::HOST)..)
        .take_while(|((of, _), _)| *of == index)
        .map(|(_, watch)| watch)
        .filter(|watch| assemble::is_told(engine, watch))
        .filter(|watch| assemble::role(engine, scope, watch) != Role::Bystander)
        .collect();
    let closest =
        line.resource().and_then(|resource| headroom::now(engine, scope, resource, 1).into_iter().next());
    let strained = is_strained(engine, scope, index);
    LineNow {
        state: state(engine, line, &watches, closest.as_ref(), strained),
        failures: watches.iter().flat_map(|watch| watch.spells.intervals()).map(|spell| spell.count).sum(),
        strain: line.strain().iter().map(|signal| in_scope(engine, scope, *signal)).sum(),
        closest,
    }
}

fn state(
    engine: &Engine,
    line: &dyn FaultLine,
    watches: &[&Watch],
    closest: Option<&Headroom>,
    strained: bool,
) -> State {
    let now_ns = engine.times.last_ns;
    let active = |watch: &&&Watch| watch.spells.is_active(now_ns);
    // What is harmless by itself is a hit only in a verdict, which knows what came of it.
    let mut hit = watches
        .iter()
        .filter(|watch| assemble::onset_in_load(engine, watch).is_some() && !line.needs_effect());
    let is_pressed = strained
        || watches.iter().any(|watch| active(&watch))
        || closest.is_some_and(|usage| usage.ratio >= PRESSED_RATIO);
    if assemble::is_ignored(engine, line) {
        State::Ignored
    } else if hit.clone().any(|watch| active(&watch)) {
        State::Hit
    } else if hit.next().is_some() {
        State::Passed
    } else if is_pressed {
        State::Pressured
    } else if lines::not_measurable(line, &engine.header.coverage).is_some() {
        State::NotMeasurable
    } else {
        State::Clear
    }
}

/// Whether something strained a line in scope within the last ten seconds.
fn is_strained(engine: &Engine, scope: &Scope, index: usize) -> bool {
    let of_line = engine.strained.range((index, Subject::HOST)..).take_while(|((of, _), _)| *of == index);
    let mut recent = of_line.filter(|(_, at_ns)| engine.times.last_ns.saturating_sub(**at_ns) < QUIET_NS);
    recent.any(|((_, subject), _)| scope.role(subject, false, None) != Role::Bystander)
}

/// Occurrences of a signal in scope since the run began.
fn in_scope(engine: &Engine, scope: &Scope, signal: Signal) -> u64 {
    let series = engine.ledger.of_signal(signal);
    series
        .filter(|(subject, series)| scope.role(subject, series.generator, series.pid) != Role::Bystander)
        .map(|(_, series)| series.in_run)
        .sum()
}

fn in_use(engine: &Engine) -> Vec<(Resource, u64)> {
    let of = |resource: Resource| {
        let usages = engine.ledger.usages.range((resource, Subject::HOST)..);
        let usages = usages.take_while(|((of, _), _)| *of == resource).map(|(_, usage)| usage.last.used);
        usages.fold(None, |sum: Option<u64>, used| Some(sum.unwrap_or(0).saturating_add(used)))
    };
    Resource::ALL.iter().filter_map(|resource| Some((*resource, of(*resource)?))).collect()
}

//! How things stand, made anew for each scrape: what no longer holds leaves no series behind.

use prometheus::{Counter, Error, Gauge, GaugeVec, Opts, Registry};

use super::{Now, place};
use crate::core::{
    frame::{RunHeader, SourceStatus},
    lines::LINES,
    snapshot::State,
    verdict::Verdict,
};

/// The gauges as a registry that is asked once.
pub(super) fn registry(
    header: &RunHeader,
    sources: &[SourceStatus],
    now: Option<&Now>,
) -> Result<Registry, Error> {
    let to = To(Registry::new());
    about(&to, header)?;
    collectors(&to, sources)?;
    if let Some(now) = now {
        fault_lines(&to, now)?;
        load(&to, now)?;
        closest(&to, now)?;
        own(&to, now)?;
    }
    Ok(to.0)
}

/// Where they are registered.
struct To(Registry);

impl To {
    fn one(&self, name: &str, help: &str, value: f64) -> Result<(), Error> {
        let gauge = Gauge::new(name, help)?;
        gauge.set(value);
        self.0.register(Box::new(gauge))
    }

    /// With a value for each set of label values.
    fn each<L: AsRef<str>>(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        values: impl IntoIterator<Item = (Vec<L>, f64)>,
    ) -> Result<(), Error> {
        let gauges = GaugeVec::new(Opts::new(name, help), labels)?;
        for (of, value) in values {
            let of: Vec<&str> = of.iter().map(AsRef::as_ref).collect();
            gauges.get_metric_with_label_values(&of)?.set(value);
        }
        self.0.register(Box::new(gauges))
    }
}

fn about(to: &To, header: &RunHeader) -> Result<(), Error> {
    to.each(
        "observer_build_info",
        "Which observer this is, and on which kernel; always 1.",
        &["version", "kernel"],
        [(vec![&header.observer_version, &header.kernel], 1.0)],
    )?;
    let tiers = header.coverage.iter();
    to.each(
        "observer_probe_tier",
        "How each signal is had: trampoline, kprobe, tracepoint, counter or absent; always 1.",
        &["signal", "tier"],
        tiers.map(|had| (vec![had.signal.name(), had.tier.name()], 1.0)),
    )
}

fn collectors(to: &To, sources: &[SourceStatus]) -> Result<(), Error> {
    let each = |value: fn(&SourceStatus) -> f64| {
        sources.iter().map(move |status| (vec![status.source.as_str()], value(status)))
    };
    to.each(
        "observer_collector_duration_seconds",
        "How long the slowest of a source's latest reads took.",
        &["collector"],
        each(|status| status.duration_ns as f64 / 1e9),
    )?;
    to.each(
        "observer_collector_success",
        "Whether a source could be read the last time.",
        &["collector"],
        each(|status| f64::from(u8::from(status.error.is_none()))),
    )
}

fn fault_lines(to: &To, now: &Now) -> Result<(), Error> {
    let states = LINES.iter().zip(&now.snapshot.lines);
    to.each(
        "observer_fault_line_state",
        "0 clear, 1 pressured, 2 hit; without a sample where it cannot be measured or is to be ignored.",
        &["fault_line"],
        states.filter_map(|(line, stands)| Some((vec![line.id()], state(stands.state)?))),
    )?;
    to.each(
        "observer_fault_line_onset_timestamp_seconds",
        "When each fault line was first hit in the episode.",
        &["fault_line"],
        LINES.iter().filter_map(|line| Some((vec![line.id()], onset(&now.verdict, line.id())?))),
    )?;
    let first = now.verdict.first.as_ref().map(|first| first.fault_line.as_str());
    to.each(
        "observer_first_fault_line",
        "1 for the fault line that was hit first in the episode, 0 for all others.",
        &["fault_line"],
        LINES.iter().map(|line| (vec![line.id()], f64::from(u8::from(Some(line.id()) == first)))),
    )
}

fn state(state: State) -> Option<f64> {
    match state {
        State::NotMeasurable | State::Ignored => None,
        State::Clear | State::Passed => Some(0.0),
        State::Pressured => Some(1.0),
        State::Hit => Some(2.0),
    }
}

/// The earliest onset of a line, in seconds since 1970.
fn onset(verdict: &Verdict, fault_line: &str) -> Option<f64> {
    let hits = verdict.hits.iter().filter(|hit| hit.fault_line == fault_line);
    let onset_s = hits.map(|hit| hit.onset_s).min_by(f64::total_cmp)?;
    Some(verdict.run.clock.real_ns as f64 / 1e9 + onset_s)
}

fn load(to: &To, now: &Now) -> Result<(), Error> {
    let snapshot = &now.snapshot;
    if let Some(rate) = snapshot.load.connections_per_s {
        let help = "Connections that arrived in scope per second, over the last second.";
        to.one("observer_load_connections_per_second", help, rate)?;
    }
    if let Some(open) = snapshot.load.concurrency {
        to.one("observer_load_open_connections", "Connections open in scope.", open)?;
    }
    let phase = now.verdict.phases.last().filter(|_| now.in_episode);
    to.each(
        "observer_phase",
        "The phase of the load; always 1.",
        &["phase"],
        [(vec![phase.map_or("idle", |phase| phase.name.as_str())], 1.0)],
    )?;
    let under_way = f64::from(u8::from(now.in_episode));
    to.one(
        "observer_episode_under_way",
        "Whether a test is going on, by its load or because someone said so.",
        under_way,
    )?;
    let help = "When the latest episode began, which first and onset are of.";
    to.one("observer_episode_start_timestamp_seconds", help, now.verdict.run.clock.real_ns as f64 / 1e9)
}

fn closest(to: &To, now: &Now) -> Result<(), Error> {
    let labels = [&["resource"][..], &place::LABELS].concat();
    let ratios = now.closest.iter().map(|usage| {
        let place = place::values(&usage.subject);
        (std::iter::once(usage.resource.clone()).chain(place).collect(), usage.ratio)
    });
    to.each::<String>(
        "observer_usage_ratio",
        "In use of a resource against its limit, of those in scope that are closest to it.",
        &labels,
        ratios,
    )?;
    let in_use = now.snapshot.in_use.iter();
    to.each(
        "observer_in_use",
        "In use of each resource on the whole host: connections, ports, descriptors, bytes.",
        &["resource"],
        in_use.map(|(resource, used)| (vec![resource.name()], *used as f64)),
    )
}

fn own(to: &To, now: &Now) -> Result<(), Error> {
    let Some(cost) = &now.cost else { return Ok(()) };
    let cpu = Counter::new("observer_cpu_seconds_total", "User and system time that observer has used.")?;
    cpu.inc_by(cost.cpu_seconds);
    to.0.register(Box::new(cpu))?;
    to.one(
        "observer_peak_resident_memory_bytes",
        "Most memory that observer had resident.",
        cost.peak_rss_bytes as f64,
    )
}

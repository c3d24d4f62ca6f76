//! How close the resources came to their limits.

use super::case::{describe, ratio};
use crate::core::{
    engine::Engine,
    frame::{Resource, Tier},
    ledger::Usage,
    lines::FaultLine,
    scope::Scope,
    subject::{Role, Subject},
    verdict::Headroom,
};

/// As many as a person reads.
const SHOWN: usize = 10;

/// The resources in scope, closest to their limit first.
pub(super) fn closest(engine: &Engine, scope: &Scope) -> Vec<Headroom> {
    let mut all: Vec<Headroom> = engine
        .ledger
        .usages
        .iter()
        .filter(|((_, subject), _)| scope.role(subject, false, None) != Role::Bystander)
        .filter_map(|((resource, subject), usage)| headroom(engine, *resource, subject, usage))
        .collect();
    all.sort_by(|a, b| b.ratio.total_cmp(&a.ratio).then_with(|| a.resource.cmp(&b.resource)));
    all.truncate(SHOWN);
    all
}

/// The subjects in scope that are closest to their limit of a resource now, `most` of them, the closest first;
/// `peak_used` is their use now.
pub(in crate::core) fn now(engine: &Engine, scope: &Scope, resource: Resource, most: usize) -> Vec<Headroom> {
    let of_it = engine.ledger.usages.range((resource, Subject::HOST)..);
    let of_it = of_it.take_while(|((of, _), _)| *of == resource);
    let in_scope = of_it.filter(|((_, subject), _)| scope.role(subject, false, None) != Role::Bystander);
    let mut limited: Vec<_> = in_scope
        .filter_map(|((_, subject), usage)| {
            let (used, limit) = (usage.last.used, usage.last.limit.filter(|limit| *limit > 0)?);
            Some((ratio(used, limit), used, limit, subject, usage))
        })
        .collect();
    limited.sort_by(|a, b| b.0.total_cmp(&a.0));
    limited.truncate(most);
    let told = limited.into_iter().map(|(ratio, used, limit, subject, usage)| Headroom {
        resource: resource.name().to_owned(),
        subject: describe(engine, subject),
        peak_used: used,
        limit,
        ratio,
        forecast_s: forecast_s(usage),
    });
    told.collect()
}

fn headroom(engine: &Engine, resource: Resource, subject: &Subject, usage: &Usage) -> Option<Headroom> {
    let limit = usage.peak.limit.filter(|limit| *limit > 0)?;
    Some(Headroom {
        resource: resource.name().to_owned(),
        subject: describe(engine, subject),
        peak_used: usage.peak.used,
        limit,
        ratio: ratio(usage.peak.used, limit),
        forecast_s: forecast_s(usage),
    })
}

/// Seconds to the limit at the rate of the recent samples.
fn forecast_s(usage: &Usage) -> Option<f64> {
    let (first, last) = (usage.recent.front()?, usage.recent.back()?);
    let grown = last.1.checked_sub(first.1).filter(|grown| *grown > 0)? as f64;
    let took_s = last.0.checked_sub(first.0).filter(|took| *took > 0)? as f64 / 1e9;
    let left = usage.last.limit?.checked_sub(usage.last.used)? as f64;
    Some((left / (grown / took_s) * 10.0).round() / 10.0)
}

/// Why a line that could be seen was not hit.
pub(super) fn why_not(engine: &Engine, line: &dyn FaultLine) -> String {
    let strain: u64 = count(engine, line.strain());
    if strain > 0 {
        let names: Vec<&str> = line.strain().iter().map(|signal| signal.name()).collect();
        return format!("strained but not hit: {} {}, nothing dropped", strain, names.join(", "));
    }
    let signals: Vec<_> = line.failures().iter().map(|failure| failure.signal).collect();
    let failures = count(engine, &signals);
    let peak = line.resource().and_then(|resource| {
        let of_line = engine.ledger.usages.iter().filter(|((of, _), _)| *of == resource);
        of_line
            .filter_map(|(_, usage)| Some((usage.peak.used, usage.peak.limit.filter(|limit| *limit > 0)?)))
            .max_by(|a, b| ratio(a.0, a.1).total_cmp(&ratio(b.0, b.1)))
    });
    let mut seen = match failures {
        0 => "no failure".to_owned(),
        count => format!("{count} failures in the whole host, none of them material in scope"),
    };
    for unseen in signals.iter().filter(|signal| is_absent(engine, **signal)) {
        seen += &format!(", {} could not be seen", unseen.name());
    }
    match peak {
        Some((used, limit)) => format!("{seen}; highest use {used} of {limit}"),
        None => seen,
    }
}

fn is_absent(engine: &Engine, signal: observer_common::Signal) -> bool {
    let coverage = &engine.header.coverage;
    coverage.iter().any(|covered| covered.signal == signal && covered.tier == Tier::Absent)
}

fn count(engine: &Engine, signals: &[observer_common::Signal]) -> u64 {
    let series = signals.iter().flat_map(|signal| engine.ledger.of_signal(*signal));
    series.map(|(_, series)| series.in_run).sum()
}

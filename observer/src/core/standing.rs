//! All that is known at one instant, as it was read: for whoever wants the numbers and not the verdict.

use serde::Serialize;

use super::{
    assemble,
    engine::Engine,
    frame::{Resource, Tier, signal_name},
    time::rfc3339,
    verdict::HitSubject,
};
use observer_common::Signal;

/// As many signals and usages are told at most.
const TOLD: usize = 1_000;

/// Everything that was read, as it read last.
#[derive(Debug, Serialize)]
pub struct Standing {
    schema: &'static str,
    /// CLOCK_MONOTONIC of the latest frame.
    mono_ns: u64,
    /// The same instant: RFC 3339, UTC.
    time: String,
    signals: Vec<SignalNow>,
    usages: Vec<UsageNow>,
    /// How many more signals and usages there are.
    left_out: usize,
}

/// A count as it reads now.
#[derive(Debug, Serialize)]
struct SignalNow {
    #[serde(with = "signal_name")]
    signal: Signal,
    tier: Tier,
    subject: HitSubject,
    reason: Option<String>,
    generator: bool,
    /// Since the boot or the start of the probes: use differences.
    count: u64,
    /// CLOCK_MONOTONIC of the latest occurrence, where a probe saw it.
    last_mono_ns: Option<u64>,
}

/// A use as it reads now.
#[derive(Debug, Serialize)]
struct UsageNow {
    resource: Resource,
    subject: HitSubject,
    used: u64,
    limit: Option<u64>,
    limit_set_by: Option<String>,
}

impl Standing {
    /// What the engine knows after its latest frame, by signal, resource and subject.
    pub fn of(engine: &Engine) -> Self {
        let tier = |signal: Signal| {
            engine
                .header
                .coverage
                .iter()
                .find(|had| had.signal == signal)
                .map_or(Tier::Absent, |had| had.tier)
        };
        let signals = engine.ledger.readings().map(|(cell, count, last_mono_ns)| SignalNow {
            signal: cell.signal,
            tier: if cell.probe { tier(cell.signal) } else { Tier::Counter },
            subject: engine.describe(&cell.subject),
            reason: cell.reason.clone(),
            generator: cell.generator,
            count,
            last_mono_ns,
        });
        let usages = engine.ledger.usages.values().map(|usage| UsageNow {
            resource: usage.last.resource,
            subject: engine.describe(&usage.last.subject),
            used: usage.last.used,
            limit: usage.last.limit,
            limit_set_by: usage.last.limit_set_by.clone(),
        });
        let all = engine.ledger.readings().len() + engine.ledger.usages.len();
        let (signals, usages): (Vec<_>, Vec<_>) = (signals.take(TOLD).collect(), usages.take(TOLD).collect());
        let mono_ns = engine.times.last_ns;
        Self {
            schema: "observer.frame/1",
            mono_ns,
            time: rfc3339(assemble::real_ns(engine, mono_ns)),
            left_out: all - signals.len() - usages.len(),
            signals,
            usages,
        }
    }
}

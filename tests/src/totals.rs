//! What observer counted in a whole run, hit or not: added up from the export of its recording.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{
    stage::Stage,
    verdict::{Subject, Tier, Verdict},
};

/// The counts of a run.
#[derive(Debug, Default)]
pub struct Totals {
    totals: BTreeMap<Counted, Total>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    count: u64,
    /// The highest use of the resource at which it was counted.
    peak: u64,
}

/// What was counted, and where.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Counted {
    signal: String,
    /// A probe's count and a counter of the kernel's may stand side by side.
    tier: Tier,
    netns: Option<u32>,
    /// Of the listener or destination.
    port: Option<u16>,
    generator: bool,
}

/// The rows of an export that matter here.
#[derive(Debug, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum Row {
    Frame {
        missing_before: u64,
    },
    Signal {
        signal: String,
        tier: Tier,
        subject: Box<Subject>,
        generator: bool,
        /// Null where a counter of the kernel's is read for the first time.
        delta: Option<u64>,
        peak: Option<u64>,
    },
    #[serde(other)]
    Other,
}

impl Totals {
    /// Adds up the recording of the run that was observed on this stage; nothing where there is no observer.
    pub fn of(stage: &Stage) -> Result<Option<Self>> {
        let Some(observer) = stage.observer() else { return Ok(None) };
        let mut export = Command::new(observer);
        export.arg("export").arg(stage.recording_path()).args(["--format", "jsonl"]);
        let mut export = export.stdout(Stdio::piped()).spawn().context("cannot start the export")?;
        let rows = BufReader::new(export.stdout.take().context("the export has no output")?);
        let mut totals = Self::default();
        for line in rows.lines() {
            let line = line.context("the export cannot be read")?;
            totals.add(serde_json::from_str(&line).with_context(|| format!("not understood: {line}"))?)?;
        }
        let status = export.wait()?;
        ensure!(status.success(), "the export ended with {status}");
        Ok(Some(totals))
    }

    fn add(&mut self, row: Row) -> Result<()> {
        match row {
            Row::Frame { missing_before } => {
                ensure!(missing_before == 0, "{missing_before} frames are missing from the recording");
            }
            Row::Signal { signal, tier, subject, generator, delta, peak } => {
                let address = subject.listener.as_deref().or(subject.destination.as_deref());
                let port = address.and_then(|it| it.parse::<SocketAddr>().ok()).map(|it| it.port());
                let counted = Counted { signal, tier, netns: subject.netns, port, generator };
                let total = self.totals.entry(counted).or_default();
                total.count += delta.unwrap_or(0);
                total.peak = total.peak.max(peak.unwrap_or(0));
            }
            Row::Other => {}
        }
        Ok(())
    }

    /// How often these signals were counted in a namespace, on the tier that the verdict says they are had on; `None`
    /// where nothing counts one of them.
    pub fn count(&self, signals: &[&str], netns: u32, verdict: &Verdict) -> Option<u64> {
        let of = |signal: &&str| {
            let tier = verdict.tier(signal);
            let rows = || self.rows(signal, tier, netns);
            (tier.is_probe() || rows().next().is_some())
                .then(|| rows().map(|(_, total)| total.count).sum::<u64>())
        };
        signals.iter().map(of).sum()
    }

    /// The same of one signal by the port of the listener or destination.
    pub fn by_port(&self, signal: &str, netns: u32, verdict: &Verdict) -> BTreeMap<u16, u64> {
        let mut ports = BTreeMap::new();
        for (counted, total) in self.rows(signal, verdict.tier(signal), netns) {
            *ports.entry(counted.port.unwrap_or(0)).or_default() += total.count;
        }
        ports
    }

    /// The highest use of the resource at which a signal was counted in a namespace; `None` where no probe counts it.
    pub fn peak(&self, signal: &str, netns: u32, verdict: &Verdict) -> Option<u64> {
        let tier = verdict.tier(signal);
        let peaks = self.rows(signal, tier, netns).map(|(_, total)| total.peak);
        tier.is_probe().then(|| peaks.max().unwrap_or(0))
    }

    /// How often a signal was counted of the observed command's processes.
    pub fn by_generator(&self, signal: &str, netns: u32, verdict: &Verdict) -> u64 {
        let rows = self.rows(signal, verdict.tier(signal), netns);
        rows.filter(|(counted, _)| counted.generator).map(|(_, total)| total.count).sum()
    }

    fn rows<'a>(
        &'a self,
        signal: &'a str,
        tier: Tier,
        netns: u32,
    ) -> impl Iterator<Item = (&'a Counted, Total)> {
        let rows = self.totals.iter().map(|(counted, total)| (counted, *total));
        rows.filter(move |(counted, _)| {
            counted.signal == signal && counted.tier == tier && counted.netns == Some(netns)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, Tier, Totals};

    fn totals(rows: &str) -> Totals {
        let mut totals = Totals::default();
        for line in rows.lines() {
            totals.add(serde_json::from_str::<Row>(line).expect("a row")).expect("whole");
        }
        totals
    }

    const ROWS: &str = r#"{"record":"run","schema":"observer.export/1"}
{"record":"frame","seq":1,"missing_before":0}
{"record":"signal","signal":"a","tier":"tracepoint","subject":{"netns":1,"listener":"127.0.0.1:80"},"generator":true,"delta":2}
{"record":"signal","signal":"a","tier":"tracepoint","subject":{"netns":1,"listener":"[::]:80"},"generator":false,"delta":3}
{"record":"signal","signal":"a","tier":"tracepoint","subject":{"netns":1,"destination":"127.0.0.1:81"},"generator":false,"delta":4}
{"record":"signal","signal":"a","tier":"tracepoint","subject":{"netns":2,"listener":"127.0.0.1:80"},"generator":false,"delta":5}
{"record":"signal","signal":"a","tier":"counter","subject":{"netns":1},"generator":false,"delta":null}
{"record":"signal","signal":"a","tier":"counter","subject":{"netns":1},"generator":false,"delta":6}"#;

    #[test]
    fn what_is_counted_is_added_up_by_tier_and_place() {
        let totals = totals(ROWS);
        let sum = |tier, netns| totals.rows("a", tier, netns).map(|(_, total)| total.count).sum::<u64>();
        assert_eq!((sum(Tier::Tracepoint, 1), sum(Tier::Tracepoint, 2), sum(Tier::Counter, 1)), (9, 5, 6));
        let generator = totals.rows("a", Tier::Tracepoint, 1).filter(|(counted, _)| counted.generator);
        assert_eq!(
            generator.map(|(counted, total)| (counted.port, total.count)).collect::<Vec<_>>(),
            [(Some(80), 2)]
        );
        assert_eq!(totals.rows("b", Tier::Tracepoint, 1).count(), 0);
    }

    #[test]
    fn a_recording_with_a_hole_is_refused() {
        let row = serde_json::from_str(r#"{"record":"frame","missing_before":1}"#).expect("a row");
        assert!(Totals::default().add(row).is_err());
    }
}

//! The verdict as its contract promises it (`observer.verdict/1`), read by somebody who has only the contract.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::clock::Bracket;

/// Name and version of the contract.
const SCHEMA: &str = "observer.verdict/1";

/// Fields that have to be there, even if null.
const VERDICT_FIELDS: &str = "schema observer_version outcome run coverage phases first co_first hits elsewhere \
    pre_existing chain ruled_out not_measurable headroom latency";
const RUN_FIELDS: &str = "id started ended host kernel command exit_status clock pre_roll_s limits";
const HIT_FIELDS: &str = "fault_line role onset_s onset onset_lo_s onset_hi_s phase load kind subject spells \
    evidence usage confidence explained_by because verify remedy";

/// The verdict.
#[derive(Clone, Debug, Deserialize)]
pub struct Verdict {
    schema: String,
    /// The scenario that it is about: the folder that it was read from.
    #[serde(skip)]
    pub scenario: String,
    /// `hit`, `clear` or `inconclusive`.
    pub outcome: String,
    /// The run.
    pub run: Run,
    /// What could be seen.
    pub coverage: Coverage,
    /// The load's phases, in order.
    pub phases: Vec<Phase>,
    /// The first hit.
    pub first: Option<Hit>,
    /// Hits that cannot be told apart from the first.
    pub co_first: Vec<Hit>,
    /// Hits in scope, in onset order.
    pub hits: Vec<Hit>,
    /// Hits of bystanders.
    pub elsewhere: Vec<Hit>,
    /// What was so before the run began.
    pub pre_existing: Vec<Hit>,
    /// How close resources came to their limits.
    pub headroom: Vec<Headroom>,
    /// Causal links.
    pub chain: Vec<Link>,
    /// Fault lines that could not be judged.
    pub not_measurable: Vec<Note>,
}

/// The run.
#[derive(Clone, Debug, Deserialize)]
pub struct Run {
    /// Exit status of the command.
    pub exit_status: Option<i32>,
    /// The instant from which onsets count.
    pub clock: Clock,
}

/// One instant on two clocks.
#[derive(Clone, Debug, Deserialize)]
pub struct Clock {
    /// CLOCK_MONOTONIC.
    pub mono_ns: u64,
}

/// What could be seen.
#[derive(Clone, Debug, Deserialize)]
pub struct Coverage {
    /// Per signal.
    pub signals: Vec<SignalCoverage>,
    /// Occurrences that the probes counted.
    #[serde(default)]
    pub events_seen: u64,
    /// Occurrences that are known to be missing, by reason.
    #[serde(default)]
    pub events_lost: BTreeMap<String, u64>,
}

/// A named interval of the load.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// Seconds since the run's clock.
    pub start_s: f64,
    /// Seconds since the run's clock.
    pub end_s: f64,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:.1}-{:.1} s", self.name, self.start_s, self.end_s)
    }
}

/// How one signal was had.
#[derive(Clone, Debug, Deserialize)]
pub struct SignalCoverage {
    /// Its name.
    pub signal: String,
    /// Its tier.
    pub tier: Tier,
    /// The hooks or files.
    pub source: String,
    /// Why it is not had on its best tier.
    pub why_degraded: Option<String>,
}

/// How a signal is had, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// fentry or fexit.
    Trampoline,
    /// kprobe or kretprobe.
    Kprobe,
    /// A tracepoint.
    Tracepoint,
    /// The kernel's own counters.
    Counter,
    /// Not at all.
    Absent,
}

impl Tier {
    /// Whether it carries the kernel's own nanosecond.
    pub fn is_probe(self) -> bool {
        matches!(self, Self::Trampoline | Self::Kprobe | Self::Tracepoint)
    }

    /// Its name in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trampoline => "trampoline",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
            Self::Counter => "counter",
            Self::Absent => "absent",
        }
    }
}

/// One fault line hit at one subject.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Hit {
    /// Id of the fault line.
    pub fault_line: String,
    /// What the subject is to the test.
    pub role: String,
    /// Seconds since the run's clock.
    pub onset_s: f64,
    /// Not earlier than this.
    pub onset_lo_s: f64,
    /// Not later than this.
    pub onset_hi_s: f64,
    /// In which phase of the load.
    pub phase: Option<String>,
    /// `resource`, `pressure` or `symptom`.
    pub kind: String,
    /// Where.
    pub subject: Subject,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
    /// The fault line that caused it.
    pub explained_by: Option<String>,
    /// Why, in a sentence.
    pub because: String,
    /// How to check by hand.
    pub verify: Vec<String>,
    /// What to change.
    pub remedy: Vec<String>,
}

/// Where a hit was.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Subject {
    /// Own address of the listener.
    pub listener: Option<String>,
    /// Remote address.
    pub destination: Option<String>,
    /// Inode number of the network namespace.
    pub netns: Option<u32>,
    /// Path of the cgroup.
    pub cgroup: Option<String>,
    /// Id of the container that the cgroup belongs to.
    pub container: Option<String>,
    /// Process id.
    pub pid: Option<u32>,
    /// Name of the process.
    pub comm: Option<String>,
}

/// One signal behind a hit.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Evidence {
    /// The signal.
    pub signal: String,
    /// Occurrences.
    pub count: u64,
    /// How many of them had which reason, where the kernel names one.
    pub reasons: Option<BTreeMap<String, u64>>,
}

/// A causal link.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Link {
    /// Cause.
    pub cause: String,
    /// Effect.
    pub effect: String,
    /// How.
    pub mechanism: String,
}

/// How close a resource came to its limit.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Headroom {
    /// Name of the resource.
    pub resource: String,
    /// Where.
    pub subject: Subject,
    /// Highest use seen; of an accept queue, where it was fullest.
    pub peak_used: u64,
    /// The limit.
    pub limit: u64,
    /// The one divided by the other.
    pub ratio: f64,
}

/// A fault line and why.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Note {
    /// Id of the fault line.
    pub fault_line: String,
    /// Why.
    pub why: String,
}

impl Verdict {
    /// Reads a verdict and holds it against the contract.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read(path).with_context(|| format!("observer left no verdict at {}", path.display()))?;
        let mut verdict = Self::parse(&text).with_context(|| format!("the verdict at {}", path.display()))?;
        let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
        verdict.scenario = folder.to_string_lossy().into_owned();
        Ok(verdict)
    }

    /// Parses a verdict and holds it against the contract.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let value: Value = serde_json::from_slice(text).context("is not JSON")?;
        require("", &value, VERDICT_FIELDS)?;
        require("run.", &value["run"], RUN_FIELDS)?;
        for list in ["co_first", "hits", "elsewhere", "pre_existing"] {
            for hit in value[list].as_array().into_iter().flatten() {
                require(&format!("{list}[]."), hit, HIT_FIELDS)?;
            }
        }
        let verdict: Self = serde_json::from_value(value).context("breaks the contract")?;
        ensure!(verdict.schema == SCHEMA, "has schema {:?}, not {SCHEMA:?}", verdict.schema);
        ensure!(
            verdict.first.as_ref().is_none_or(|first| verdict.hits.contains(first)),
            "has a first hit that is not among its hits"
        );
        ensure!(
            (verdict.outcome == "hit") == verdict.first.is_some(),
            "has outcome {:?}, which its first hit contradicts",
            verdict.outcome
        );
        Ok(verdict)
    }

    /// The tier of a signal; absent when coverage does not list it.
    pub fn tier(&self, signal: &str) -> Tier {
        self.covered(signal).map_or(Tier::Absent, |entry| entry.tier)
    }

    /// The hooks or files that a signal is had from.
    pub fn source(&self, signal: &str) -> &str {
        self.covered(signal).map_or("", |entry| &entry.source)
    }

    fn covered(&self, signal: &str) -> Option<&SignalCoverage> {
        self.coverage.signals.iter().find(|entry| entry.signal == signal)
    }

    /// The hit of a fault line in scope.
    pub fn hit(&self, fault_line: &str) -> Option<&Hit> {
        self.hits.iter().find(|hit| hit.fault_line == fault_line)
    }

    /// The onset of a hit on CLOCK_MONOTONIC.
    pub fn onset_ns(&self, hit: &Hit) -> u64 {
        self.absolute_ns(hit.onset_s)
    }

    /// The interval of a hit's onset on CLOCK_MONOTONIC.
    pub fn onset_interval(&self, hit: &Hit) -> Bracket {
        Bracket { from_ns: self.absolute_ns(hit.onset_lo_s), to_ns: self.absolute_ns(hit.onset_hi_s) }
    }

    fn absolute_ns(&self, seconds: f64) -> u64 {
        // Well within range: seconds of a run, in a signed 64-bit nanosecond.
        self.run.clock.mono_ns.saturating_add_signed((seconds * 1e9).round() as i64)
    }

    /// Seconds from the run's clock to an instant on CLOCK_MONOTONIC.
    pub fn since_start_s(&self, at_ns: u64) -> f64 {
        (i128::from(at_ns) - i128::from(self.run.clock.mono_ns)) as f64 / 1e9
    }

    /// One line for a person.
    pub fn summary(&self) -> String {
        let list =
            |hits: &[Hit]| hits.iter().map(|hit| hit.fault_line.as_str()).collect::<Vec<_>>().join(", ");
        let chain: Vec<_> =
            self.chain.iter().map(|link| format!("{} -> {}", link.cause, link.effect)).collect();
        format!(
            "verdict: {}, hits [{}], elsewhere [{}], chain [{}]",
            self.outcome,
            list(&self.hits),
            list(&self.elsewhere),
            chain.join(", ")
        )
    }
}

fn require(place: &str, value: &Value, fields: &str) -> Result<()> {
    for field in fields.split_whitespace() {
        ensure!(value.get(field).is_some(), "lacks the field {place}{field}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Verdict;

    const CLEAR: &str = r#"{"schema":"observer.verdict/1","observer_version":"0","outcome":"clear","run":{"id":"",
        "started":"","ended":"","host":"","kernel":"","command":null,"exit_status":null,
        "clock":{"mono_ns":5,"real_ns":6},"pre_roll_s":2.0,"limits":[]},"coverage":{"signals":[]},"phases":[],
        "first":null,"co_first":[],"hits":[],"elsewhere":[],"pre_existing":[],"chain":[],"ruled_out":[],
        "not_measurable":[],"headroom":[],"latency":[]}"#;

    #[test]
    fn a_verdict_that_breaks_the_contract_is_refused_by_name() {
        Verdict::parse(CLEAR.as_bytes()).expect("this one keeps it");
        let refused = |from: &str, to: &str| {
            format!("{:#}", Verdict::parse(CLEAR.replace(from, to).as_bytes()).expect_err("refused"))
        };
        assert!(refused("\"latency\":[]", "\"x\":0").contains("latency"));
        assert!(refused("\"pre_roll_s\":2.0,", "").contains("run.pre_roll_s"));
        assert!(refused("\"clear\"", "\"hit\"").contains("outcome"));
        assert!(refused("verdict/1", "verdict/2").contains("schema"));
    }

    #[test]
    fn onsets_count_from_the_run_s_clock() {
        let verdict = Verdict::parse(CLEAR.as_bytes()).expect("a verdict");
        assert_eq!(verdict.absolute_ns(1.5), 1_500_000_005);
    }
}

//! Holding a verdict against the truth that a scenario knows.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    clock::Bracket,
    counters::Counter,
    label::Labels,
    stage::Finished,
    verdict::{Hit, Subject, Tier, Verdict},
};

/// How far an onset may be off where the deciding signal carries the kernel's own nanosecond.
const ONSET_TOLERANCE: Duration = Duration::from_millis(50);

/// Pressure and symptoms begin where they rise above what is normal. That may be later than the first event of
/// all, which is the label, by this much.
const RISE: Duration = Duration::from_secs(1);

/// How a scenario ended, when it did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    Ok,
    /// Not to be had on this kernel, and observer said so.
    Skip(String),
}

/// The fault line that a scenario breaks.
#[derive(Clone, Copy, Debug)]
pub struct Expect {
    /// Id of the fault line.
    pub fault_line: &'static str,
    /// What its subject is to the test.
    pub role: &'static str,
    /// The signals that decide its onset.
    pub deciding: &'static [&'static str],
}

/// Where the fault is; what is `None` is not compared.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Port of the listener.
    pub listener_port: Option<u16>,
    /// Port of the destination.
    pub destination_port: Option<u16>,
    /// Inode number of the network namespace.
    pub netns: Option<u32>,
    /// Process id.
    pub pid: Option<u32>,
    /// Name of the process.
    pub comm: Option<String>,
    /// Last part of the cgroup's path.
    pub cgroup: Option<String>,
}

/// A count that several parties know.
#[derive(Clone, Debug, Default)]
pub struct Count {
    /// The signals of observer that add up to it.
    pub signals: &'static [&'static str],
    /// What the kernel's own counter says.
    pub kernel: Option<KernelCount>,
    /// What the application was told.
    pub app: Option<u64>,
    /// Why observer's count differs, where it has to.
    pub explained: Vec<Explained>,
}

/// What one of the kernel's own counters says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelCount {
    /// The kernel's name of it.
    pub counter: &'static str,
    /// How far it rose.
    pub count: u64,
}

/// A difference without residue: the mechanism, and its number from a source of its own.
#[derive(Clone, Copy, Debug)]
pub struct Explained {
    /// The tier on which it is so.
    pub tier: Tier,
    /// How much more observer counts.
    pub excess: i64,
    /// The mechanism.
    pub why: &'static str,
}

impl Count {
    /// A count of these signals that nobody else knows yet.
    pub fn of(signals: &'static [&'static str]) -> Self {
        Self { signals, ..Self::default() }
    }

    /// What a counter of the namespace says.
    pub fn kernel(self, counter: Counter, labels: &Labels) -> Self {
        self.kernel_says(counter.name(), labels.count(counter))
    }

    /// What another counter of the kernel says.
    pub fn kernel_says(self, counter: &'static str, count: u64) -> Self {
        Self { kernel: Some(KernelCount { counter, count }), ..self }
    }

    /// What the application was told.
    pub fn app(self, count: u64) -> Self {
        Self { app: Some(count), ..self }
    }

    /// On this tier observer counts so many more, because of this.
    pub fn explained(mut self, tier: Tier, excess: i64, why: &'static str) -> Self {
        self.explained.push(Explained { tier, excess, why });
        self
    }
}

/// What really happened.
#[derive(Clone, Debug)]
pub struct Truth {
    /// Around the first occurrence.
    pub onset: Bracket,
    /// Where.
    pub place: Place,
    /// How often.
    pub counts: Vec<Count>,
}

impl Expect {
    /// Checks that this fault line was hit, as the truth has it, and before any other.
    pub fn check_first(&self, truth: &Truth, finished: &Finished) -> Result<Ending> {
        truth.print();
        let Some(verdict) = &finished.verdict else { return Ok(Ending::Ok) };
        println!("  {}", verdict.summary());
        if let Some(why) = self.unseen(verdict) {
            ensure!(verdict.first.is_none(), "nothing can see {}, yet something is first", self.fault_line);
            return Ok(Ending::Skip(why));
        }
        ensure!(verdict.outcome == "hit", "outcome is {:?}, not \"hit\"", verdict.outcome);
        match &verdict.first {
            Some(first) if first.fault_line == self.fault_line => self.check_hit(truth, first, verdict)?,
            Some(first) => bail!("first is {}, not {}: {}", first.fault_line, self.fault_line, first.because),
            None => bail!("nothing is first"),
        }
        Ok(Ending::Ok)
    }

    /// The signal behind a hit that carries the kernel's own nanosecond, if there is one.
    fn deciding_probe(&self, hit: &Hit, verdict: &Verdict) -> Option<&'static str> {
        let counted =
            |signal: &str| hit.evidence.iter().any(|entry| entry.signal == signal && entry.count > 0);
        self.deciding.iter().copied().find(|signal| counted(signal) && verdict.tier(signal).is_probe())
    }

    /// Checks one hit against the truth.
    pub fn check_hit(&self, truth: &Truth, hit: &Hit, verdict: &Verdict) -> Result<()> {
        println!("  because: {}", hit.because);
        ensure!(hit.role == self.role, "{} has role {:?}, not {:?}", self.fault_line, hit.role, self.role);
        truth.place.check(&hit.subject)?;
        ensure!(!hit.because.trim().is_empty(), "{} has no because", self.fault_line);
        ensure!(!hit.verify.is_empty(), "{} does not say how to verify it", self.fault_line);
        ensure!(!hit.remedy.is_empty(), "{} does not say what to change", self.fault_line);
        self.check_onset(truth.onset, hit, verdict)?;
        // All are shown before the first that differs is complained of.
        let checked: Vec<_> = truth.counts.iter().map(|count| count.check(hit, verdict)).collect();
        checked.into_iter().collect()
    }

    /// Why this kernel cannot show the fault, if it cannot and observer's coverage owns up to it.
    fn unseen(&self, verdict: &Verdict) -> Option<String> {
        let absent = self.deciding.iter().all(|signal| verdict.tier(signal) == Tier::Absent);
        if !absent || verdict.hit(self.fault_line).is_some() {
            return None;
        }
        let mut reasons = verdict.coverage.signals.iter();
        let entry = reasons.find(|entry| entry.signal == self.deciding[0])?;
        let why = entry.why_degraded.as_deref()?;
        Some(format!("{} cannot be seen here: {why}", entry.signal))
    }

    fn check_onset(&self, label: Bracket, hit: &Hit, verdict: &Verdict) -> Result<()> {
        let probe = self.deciding_probe(hit, verdict);
        let interval = verdict.onset_interval(hit);
        let off = label.distance_ns(verdict.onset_ns(hit));
        println!(
            "  onset {:+.3} ms from the label, interval {:.3} ms wide, {}",
            off as f64 / 1e6,
            interval.width().as_secs_f64() * 1e3,
            probe.map_or("by counter".to_owned(), |signal| format!("by the probe {signal}"))
        );
        let rise = if hit.kind == "resource" { Duration::ZERO } else { RISE };
        let label = Bracket { to_ns: label.to_ns + rise.as_nanos() as u64, ..label };
        if probe.is_some() {
            ensure!(
                u128::from(label.distance_ns(verdict.onset_ns(hit)).unsigned_abs())
                    <= ONSET_TOLERANCE.as_nanos(),
                "the onset of {} is {:+.1} ms off, more than {ONSET_TOLERANCE:?}",
                self.fault_line,
                off as f64 / 1e6
            );
        } else {
            ensure!(
                label.intersects(&interval),
                "the onset interval of {} misses the label: it is [{:+.1}, {:+.1}] ms from it",
                self.fault_line,
                label.distance_ns(interval.from_ns) as f64 / 1e6,
                label.distance_ns(interval.to_ns) as f64 / 1e6
            );
        }
        Ok(())
    }
}

impl Place {
    fn check(&self, subject: &Subject) -> Result<()> {
        let port = |address: &Option<String>| {
            address.as_deref().and_then(|text| text.rsplit_once(':')).and_then(|(_, port)| port.parse().ok())
        };
        same("listener port", self.listener_port, port(&subject.listener))?;
        same("destination port", self.destination_port, port(&subject.destination))?;
        same("netns", self.netns, subject.netns)?;
        same("pid", self.pid, subject.pid)?;
        same("comm", self.comm.clone(), subject.comm.clone())?;
        let last = subject.cgroup.as_deref().and_then(|path| path.rsplit('/').next()).map(str::to_owned);
        same("cgroup", self.cgroup.clone(), last)
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, truth: Option<T>, said: Option<T>) -> Result<()> {
    ensure!(truth.is_none() || truth == said, "the subject's {what} is {said:?}, not {truth:?}");
    Ok(())
}

impl Count {
    fn check(&self, hit: &Hit, verdict: &Verdict) -> Result<()> {
        let hook = self.signals.iter().map(|signal| hook_count(signal, hit, verdict)).sum::<Option<u64>>();
        self.check_total(hook, verdict)
    }

    /// Checks what observer counted of these signals, hit or not, against all others who know it.
    pub fn check_total(&self, hook: Option<u64>, verdict: &Verdict) -> Result<()> {
        // A sum is had no better than the worst of its parts.
        let tier = self.signals.iter().map(|signal| verdict.tier(signal)).max().unwrap_or(Tier::Absent);
        let explained =
            self.explained.iter().find(|explained| explained.tier == tier && explained.excess != 0);
        let missed: u64 = missed(self.signals, verdict);
        let excess = explained.map_or(0, |explained| explained.excess);
        let exact = self.agree(hook, excess, 0);
        let note = explained.map(|explained| explained.why.replace(' ', "_"));
        let note = note.or_else(|| (!exact && missed > 0).then(|| format!("observer_names_{missed}_lost")));
        let note = note.map(|note| format!(" note={note}"));
        println!(
            "count {} {} hook={} {} tier={}{}",
            verdict.scenario,
            self.name(),
            shown(hook),
            self.others(),
            tier.name(),
            note.unwrap_or_default()
        );
        ensure!(
            exact || self.agree(hook, excess, missed),
            "counts of {} differ: hook={} {}, {excess} explained",
            self.name(),
            shown(hook),
            self.others()
        );
        Ok(())
    }

    fn agree(&self, hook: Option<u64>, excess: i64, missed: u64) -> bool {
        agree(hook, excess, missed, self.kernel.map(|kernel| kernel.count), self.app)
    }

    fn name(&self) -> String {
        self.signals.join("+")
    }

    /// What kernel and application say.
    fn others(&self) -> String {
        let kernel = self.kernel.map(|kernel| format!("{}:{}", kernel.counter, kernel.count));
        format!("kernel={} app={}", kernel.unwrap_or_else(|| "-".to_owned()), shown(self.app))
    }
}

/// Whether all who know a count say the same, where observer's is higher by what is explained, and lower by
/// what it says that it missed at most.
fn agree(hook: Option<u64>, excess: i64, missed: u64, kernel: Option<u64>, app: Option<u64>) -> bool {
    let mut others = [kernel, app].into_iter().flatten();
    let expected = hook.map(|hook| hook.checked_add_signed(-excess).unwrap_or(u64::MAX));
    let seen =
        |other: u64| expected.is_none_or(|least| (least..=least.saturating_add(missed)).contains(&other));
    others.all(seen) && kernel.zip(app).is_none_or(|(kernel, app)| kernel == app)
}

/// What observer itself says that it has missed of these signals: the kernel skips a program that is running
/// on a CPU already, and says how often; a map may have no room; and it may count what no probe sees.
pub fn missed(signals: &[&str], verdict: &Verdict) -> u64 {
    let hooks: BTreeSet<&str> = signals.iter().flat_map(|signal| functions(verdict.source(signal))).collect();
    let retransmits = signals.iter().any(|signal| signal.starts_with("retransmit_"));
    let is_theirs = |loss: &str| match loss.split_once(':') {
        Some(("recursion", hook)) => functions(hook).any(|function| hooks.contains(function)),
        Some(("map_full", signal)) => signals.contains(&signal),
        Some(("unseen", "retransmits")) => retransmits,
        Some(("unseen", signal)) => signals.contains(&signal),
        _ => false,
    };
    let lost = &verdict.coverage.events_lost;
    lost.iter().filter(|(reason, _)| is_theirs(reason)).map(|(_, lost)| lost).sum()
}

/// The kernel's functions and tracepoints in what observer says of a signal's source: `fexit a, kretprobe b`.
fn functions(source: &str) -> impl Iterator<Item = &str> {
    source.split(", ").filter_map(|hook| hook.split_once(' ')).map(|(_, function)| function)
}

/// What observer counted: a probe that is attached and not in the evidence counted nothing.
fn hook_count(signal: &str, hit: &Hit, verdict: &Verdict) -> Option<u64> {
    let counted = hit.evidence.iter().find(|entry| entry.signal == signal).map(|entry| entry.count);
    counted.or_else(|| verdict.tier(signal).is_probe().then_some(0))
}

fn shown(count: Option<u64>) -> String {
    count.map_or("-".to_owned(), |count| count.to_string())
}

impl Truth {
    /// Prints it.
    pub fn print(&self) {
        println!(
            "  label {} ns on CLOCK_MONOTONIC, {:.3} ms wide",
            self.onset.from_ns,
            self.onset.width().as_secs_f64() * 1e3
        );
        for count in &self.counts {
            println!("  truth {} {}", count.name(), count.others());
        }
    }
}

/// The hit of `effect` at this place, after checking that `cause` explains it and that the chain says how.
pub fn find_effect<'a>(verdict: &'a Verdict, cause: &str, effect: &str, place: &Place) -> Result<&'a Hit> {
    let hit = verdict
        .hits
        .iter()
        .find(|hit| hit.fault_line == effect && place.check(&hit.subject).is_ok())
        .with_context(|| format!("{effect} is not among the hits"))?;
    ensure!(hit.explained_by.as_deref() == Some(cause), "{effect} is explained by {:?}", hit.explained_by);
    let link = verdict
        .chain
        .iter()
        .find(|link| link.cause == cause && link.effect == effect)
        .with_context(|| format!("the chain does not lead from {cause} to {effect}"))?;
    println!("  chain: {}", link.mechanism);
    ensure!(!link.mechanism.trim().is_empty(), "the chain does not say how {cause} leads to {effect}");
    Ok(hit)
}

/// Checks that nothing was hit, and that observer is sure of it.
pub fn check_clear(finished: &Finished) -> Result<Ending> {
    let Some(verdict) = &finished.verdict else { return Ok(Ending::Ok) };
    println!("  {}", verdict.summary());
    if let Some(hit) = verdict.hits.first() {
        bail!("a healthy run has a hit: {}: {}", hit.fault_line, hit.because);
    }
    ensure!(verdict.outcome == "clear", "outcome is {:?}, not \"clear\"", verdict.outcome);
    Ok(Ending::Ok)
}

#[cfg(test)]
mod tests {
    use super::agree;

    #[test]
    fn counts_agree_up_to_what_is_explained() {
        assert!(agree(Some(5), 0, 0, Some(5), Some(5)));
        assert!(agree(Some(7), 2, 0, Some(5), None));
        assert!(agree(None, 0, 0, Some(5), Some(5)));
        assert!(agree(Some(5), 0, 0, None, None));
        assert!(agree(Some(5), 0, 2, Some(7), Some(7)));
        assert!(!agree(Some(5), 0, 2, Some(8), None));
        assert!(!agree(Some(5), 0, 2, Some(4), None));
        assert!(!agree(Some(5), 2, 0, Some(5), None));
        assert!(!agree(Some(5), 0, 0, Some(5), Some(6)));
        assert!(!agree(None, 0, 0, Some(5), Some(6)));
        assert!(!agree(Some(1), 2, 0, Some(0), None));
    }
}

//! `observer doctor`: what this kernel and these privileges allow, and the headroom before any load.

mod rights;

use std::fmt::{self, Write as _};

use anyhow::Result;
use serde::Serialize;

use self::rights::Rights;
use super::{
    answer,
    clock::{mono_ns, real_ns},
    observation::kernel_release,
};
use crate::{
    cli::{DoctorArgs, DoctorFormat},
    core::frame::{Frame, SignalCoverage, SourceStatus, Tier, UsageSample},
    kernel::{Kernel, Options, load::coverage_without_probes},
    privileges,
    sources::{Collector, CollectorConfig},
};

/// How many refused hooks of one kind are shown.
const HOOKS_SHOWN: usize = 4;
/// How many usages are shown.
const SHOWN: usize = 10;

/// The answer.
#[derive(Serialize)]
struct Findings {
    kernel: String,
    /// Why no probe can be had, when none can.
    no_probes: Option<String>,
    privileges: Rights,
    probes: Probes,
    signals: Vec<SignalCoverage>,
    sources: Vec<SourceStatus>,
    headroom: Vec<UsageSample>,
}

#[derive(Default, Serialize)]
struct Probes {
    /// Milliseconds that loading and attaching all of them took.
    load_ms: f64,
    programs: Vec<ProgramFinding>,
}

#[derive(Serialize)]
struct ProgramFinding {
    program: &'static str,
    hook: String,
    attached: bool,
    /// Why it is not attached.
    why: Option<String>,
    verified_instructions: Option<u32>,
    load_ms: f64,
}

pub(super) fn doctor(args: &DoctorArgs) -> Result<()> {
    let findings = examine();
    match args.format {
        DoctorFormat::Json => answer(&(serde_json::to_string_pretty(&findings)? + "\n")),
        DoctorFormat::Text => answer(&text(&findings)?),
    }
    Ok(())
}

fn examine() -> Findings {
    let held = rights::held();
    let mut frame = Frame { mono_ns: mono_ns(), real_ns: real_ns(), ..Frame::default() };
    Collector::new(CollectorConfig { own_pid: std::process::id(), can_name_probed_pids: false })
        .tick(&mono_ns, &mut frame);
    let mut headroom: Vec<UsageSample> =
        frame.usages.into_iter().filter(|usage| usage.limit.is_some_and(|limit| limit > 0)).collect();
    headroom.sort_by(|a, b| ratio(b).total_cmp(&ratio(a)));
    headroom.truncate(SHOWN);
    let mut kernel = Kernel::load_timed(Options { command: true, ..Options::default() }, &mono_ns);
    let (no_probes, probes, signals) = match &kernel {
        Ok(kernel) => (None, probes(kernel), kernel.coverage()),
        Err(error) => {
            let why = error.to_string();
            let signals = coverage_without_probes(&why);
            (Some(why), Probes::default(), signals)
        }
    };
    // Last, since it is done and not only told.
    let still_reads = || kernel.as_mut().map_or(true, Kernel::is_within_reach);
    let refused = privileges::after_attaching(false, still_reads).err();
    let privileges = Rights::find(&held, &rights::held(), refused);
    Findings {
        kernel: kernel_release(),
        no_probes,
        privileges,
        probes,
        signals,
        sources: frame.sources,
        headroom,
    }
}

fn probes(kernel: &Kernel) -> Probes {
    let programs = kernel
        .attached()
        .iter()
        .map(|attached| ProgramFinding {
            program: attached.probe.program,
            hook: attached.probe.hook.describe(),
            attached: attached.refused.is_none(),
            why: attached.refused.clone(),
            verified_instructions: attached.verified_instructions,
            load_ms: attached.load_ms,
        })
        .collect();
    Probes { load_ms: kernel.load_ms(), programs }
}

fn ratio(usage: &UsageSample) -> f64 {
    usage.limit.map_or(0.0, |limit| usage.used as f64 / limit as f64)
}

fn text(findings: &Findings) -> Result<String, fmt::Error> {
    let mut out = String::new();
    writeln!(out, "kernel {}", findings.kernel)?;
    if let Some(why) = &findings.no_probes {
        writeln!(
            out,
            "no probes: {why}\n  run as root, or with CAP_BPF and CAP_PERFMON, for more than counters"
        )?;
    }
    write!(out, "\n{}", findings.privileges)?;
    probes_text(&mut out, &findings.probes)?;
    writeln!(out, "\nsignals")?;
    for signal in &findings.signals {
        writeln!(out, "  {:22} {:11} {}", signal.signal.name(), signal.tier.name(), signal.source)?;
    }
    let absent = findings.signals.iter().filter(|signal| signal.tier == Tier::Absent).count();
    let counted =
        findings.signals.iter().filter(|s| s.tier == Tier::Counter && s.why_degraded.is_some()).count();
    if absent + counted > 0 {
        writeln!(
            out,
            "  {counted} on counters for want of a probe, {absent} not to be had; the verdict says what that costs"
        )?;
    }
    let failing: Vec<_> =
        findings.sources.iter().filter_map(|s| Some((&s.source, s.error.as_ref()?))).collect();
    if !failing.is_empty() {
        writeln!(out, "\nsources that cannot be read")?;
    }
    for (source, error) in failing {
        writeln!(out, "  {source:20} {error}")?;
    }
    writeln!(out, "\nheadroom now, closest first")?;
    for usage in &findings.headroom {
        let percent = ratio(usage) * 100.0;
        let limit = usage.limit.unwrap_or_default();
        writeln!(
            out,
            "  {:16} {percent:5.1} %  {} of {limit}  {}",
            usage.resource.name(),
            usage.used,
            place(usage)
        )?;
    }
    Ok(out)
}

/// How many are attached, and why the others are not. (The JSON form names each.)
fn probes_text(out: &mut String, probes: &Probes) -> fmt::Result {
    let all = probes.programs.len();
    if all == 0 {
        return Ok(());
    }
    let mut refused: Vec<(&str, Vec<&str>)> = Vec::new();
    for program in &probes.programs {
        let Some(why) = &program.why else { continue };
        match refused.iter_mut().find(|(known, _)| known == why) {
            Some((_, hooks)) => hooks.push(&program.hook),
            None => refused.push((why, vec![&program.hook])),
        }
    }
    let attached = all - refused.iter().map(|(_, hooks)| hooks.len()).sum::<usize>();
    writeln!(out, "\n{attached} of {all} probes attached in {:.0} ms", probes.load_ms)?;
    for (why, hooks) in refused {
        let more = hooks.len().saturating_sub(HOOKS_SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let shown = hooks.iter().take(HOOKS_SHOWN).copied().collect::<Vec<_>>().join(", ");
        writeln!(out, "  refused ({why}): {shown}{more}")?;
    }
    Ok(())
}

fn place(usage: &UsageSample) -> String {
    let subject = &usage.subject;
    let parts = [
        subject.listener.map(|at| at.to_string()),
        subject.source.map(|source| format!("from {source}")),
        subject.destination.map(|to| format!("to {to}")),
        subject.pid.map(|pid| format!("pid {pid}")),
        subject.cgroup.map(|cgroup| format!("cgroup {cgroup}")),
        subject.netns.map(|netns| format!("netns {netns}")),
    ];
    let known: Vec<String> = parts.into_iter().flatten().collect();
    if known.is_empty() { "host".into() } else { known.join(" ") }
}

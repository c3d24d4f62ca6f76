//! Connections that end with a reset: by a service that does not read its requests, which is a fault, and by
//! clients in a hurry, which is not.

use std::fs;

use anyhow::{Context, Result, bail, ensure};

use super::{CONNECTION_RESETS, PORT, Scenario, light_load, listener};
use crate::{
    check::{Count, Ending, Truth, check_clear, missed},
    counters::Counter,
    label::Labeller,
    roles::{Role, load::Load, serve::Serve},
    stage::Stage,
    totals::Totals,
    verdict::{Tier, Verdict},
};

pub const SERVICE: Scenario = Scenario {
    name: "connection_resets",
    about: "a service closes every fourth connection with its request unread; the kernel resets it",
    play: service,
};

pub const CLIENTS: Scenario = Scenario {
    name: "healthy_client_resets",
    about: "clients close with a reset once they have their answer, as load tools do: clear",
    play: clients,
};

const EVERY: u64 = 4;
/// A second's worth.
const RESETS: u64 = 100;
/// The same of those that are no fault.
const ANSWERS: u64 = 300;
/// Why the kernel resets a connection that is closed with data unread, by the name of its enum.
const REASON: &str = "TCP_ABORT_ON_CLOSE";
const BTF: &str = "/sys/kernel/btf/vmlinux";

fn service(stage: &Stage) -> Result<Ending> {
    let service = stage.serve("service", Serve { reset_every: Some(EVERY), ..Serve::on(PORT) })?;
    let labeller = Labeller::start(service.pid)?;
    let mut load = stage.observe(&[], &light_load(&service))?;
    load.wait_for_errno(libc::ECONNRESET, RESETS)?;
    let finished = load.finish()?;
    let labels = labeller.finish();
    let reset = finished.tally.count(libc::ECONNRESET);
    let (closed, all) = (labels.count(Counter::AbortOnClose), labels.count(Counter::OutRsts));
    ensure!(
        closed == reset,
        "the kernel reset {closed} connections at their close, and the clients saw {reset}"
    );
    // On a slow machine what is sent again meets connections that are over, and is answered with a reset as well.
    let stale = all.saturating_sub(closed);
    println!(
        "  truth {closed} connections reset at their close, {stale} resets for what came after the end of one"
    );
    let truth = Truth {
        onset: labels.onset(Counter::OutRsts).context("nothing was reset")?,
        place: listener(&service),
        // Of the whole run, below: the stale ones may be the listener's or nobody's.
        counts: Vec::new(),
    };
    let ending = CONNECTION_RESETS.check_first(&truth, &finished)?;
    let (Some(verdict), Some(totals)) = (&finished.verdict, Totals::of(stage)?) else { return Ok(ending) };
    Count::of(&["reset_sent"])
        .kernel(Counter::OutRsts, &labels)
        .check_total(totals.count(&["reset_sent"], service.netns, verdict), verdict)?;
    check_place(verdict, reset, stale)?;
    check_reasons(verdict, reset, stale)?;
    Ok(ending)
}

/// Checks that the connections were reset by the listener that is named, and at most the stale ones besides.
fn check_place(verdict: &Verdict, reset: u64, stale: u64) -> Result<()> {
    let evidence = verdict.first.iter().flat_map(|hit| &hit.evidence);
    let here: u64 = evidence.filter(|entry| entry.signal == "reset_sent").map(|entry| entry.count).sum();
    let missed = missed(&["reset_sent"], verdict);
    ensure!(
        (reset.saturating_sub(missed)..=reset + stale).contains(&here),
        "{reset} resets were to be the listener's and {stale} at most besides, and {here} are"
    );
    Ok(())
}

/// Checks that the connections were reset for the one reason, and no more than the stale ones for another, where the kernel
/// has reasons.
fn check_reasons(verdict: &Verdict, reset: u64, stale: u64) -> Result<()> {
    let named = fs::read(BTF).is_ok_and(|btf| contains(&btf, REASON.as_bytes()));
    if !named || !verdict.tier("reset_sent").is_probe() {
        println!("  this kernel gives no reasons for resets");
        return Ok(());
    }
    let evidence = verdict.first.iter().flat_map(|hit| &hit.evidence);
    let reasons: Vec<_> = evidence
        .filter(|entry| entry.signal == "reset_sent")
        .filter_map(|entry| entry.reasons.as_ref())
        .collect();
    println!("  reasons: {reasons:?}");
    let [reasons] = reasons[..] else { bail!("the resets were to have reasons, once") };
    let others: u64 = reasons.iter().filter(|(reason, _)| *reason != REASON).map(|(_, count)| count).sum();
    ensure!(
        reasons.get(REASON) == Some(&reset) && others <= stale,
        "{reset} resets were to have the reason {REASON} and {stale} at most another, and have {reasons:?}"
    );
    Ok(())
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

fn clients(stage: &Stage) -> Result<Ending> {
    let service = stage.serve("service", Serve { wait_close: true, threads: 4, ..Serve::on(PORT) })?;
    let labeller = Labeller::start(service.pid)?;
    let mut load = stage.observe(
        &[],
        &Role::Load(Load {
            netns_of: Some(service.pid),
            workers: 4,
            close_by_reset: true,
            ..Load::to(service.address())
        }),
    )?;
    load.wait_for_done(ANSWERS)?;
    let finished = load.finish()?;
    // So the kernel counts what is closed with SO_LINGER 0, and not what a slow machine resets besides.
    let (resets, done) = (labeller.finish().count(Counter::AbortOnData), finished.tally.done);
    println!("  truth {resets} resets, {done} answers");
    ensure!(resets == done, "each client was to reset its connection once");
    if let Some(verdict) = &finished.verdict {
        ensure!(verdict.tier("reset_received") != Tier::Absent, "resets that arrive are not seen here");
    }
    check_clear(&finished)
}

//! What a full accept queue does to patient clients: their SYNs are sent again, or, where the kernel is told
//! to say no (tcp_abort_on_overflow), their connections are reset.

use anyhow::{Context, Result, bail, ensure};

use super::{
    ACCEPT_QUEUE_OVERFLOW, CONNECTION_RESETS, PLENTY, PORT, QUIET, Scenario,
    connect_timeout::{SYN_LOSS, syn_loss_truth},
    listener, overflow_truth,
};
use crate::{
    check::{Count, Ending, Place, Truth, find_effect},
    counters::Counter,
    label::Labeller,
    report::Report,
    roles::{Role, flood::Flood, load::Load, serve::Serve},
    stage::{PATIENCE, Stage},
};

pub const RETRANSMITS: Scenario = Scenario {
    name: "cascade_accept_syn_retransmits",
    about: "patient clients of a full accept queue send their SYNs again: loss, explained by the queue",
    play: retransmits,
};

pub const ABORT: Scenario = Scenario {
    name: "abort_on_overflow",
    about: "tcp_abort_on_overflow: connections that complete into a full accept queue are reset",
    play: abort,
};

/// Sixty a second, who come again after a second, and find a queue that takes twenty a second.
const CLIENTS: u32 = 128;
const RAMP_MS: u64 = 2000;
const BACKLOG: u16 = 8;
const ACCEPT_DELAY_MS: u64 = 50;
const PATIENCE_MS: u64 = 4000;

fn retransmits(stage: &Stage) -> Result<Ending> {
    let options = Serve { backlog: BACKLOG, accept_delay_ms: ACCEPT_DELAY_MS, ..Serve::on(PORT) };
    let mut service = stage.serve("service", options)?;
    let labeller = Labeller::start(service.pid)?;
    let mut load = stage.observe(
        &[],
        &Role::Load(Load {
            netns_of: Some(service.pid),
            workers: CLIENTS,
            ramp_ms: RAMP_MS,
            connect_timeout_ms: PATIENCE_MS,
            ..Load::to(service.address())
        }),
    )?;
    labeller.wait_for(Counter::ListenOverflows, PLENTY, PATIENCE)?;
    load.relent()?;
    service.relent()?;
    load.wait_for_idle()?;
    labeller.wait_quiet(QUIET, PATIENCE)?;
    let finished = load.finish()?;
    let labels = labeller.finish();
    let cause = overflow_truth(&service, &labels)?;
    let place = Place { destination_port: Some(PORT), netns: Some(service.netns), ..Place::default() };
    let mut effect = syn_loss_truth(place, &labels, &finished)?;
    // The kernel counts SYN-ACKs that were sent again in the same place.
    effect.counts = vec![Count::of(&["retransmit_syn"]).app(finished.tally.syn_retransmits)];
    effect.print();

    let ending = ACCEPT_QUEUE_OVERFLOW.check_first(&cause, &finished)?;
    let (Ending::Ok, Some(verdict)) = (&ending, &finished.verdict) else { return Ok(ending) };
    let hit = find_effect(verdict, ACCEPT_QUEUE_OVERFLOW.fault_line, SYN_LOSS.fault_line, &effect.place)?;
    SYN_LOSS.check_hit(&effect, hit, verdict)?;
    Ok(ending)
}

const ABORT_BACKLOG: u16 = 64;
/// The kernel compares with `>`: a limit of 64 admits 65, to either queue.
const ROOM: u32 = ABORT_BACKLOG as u32 + 1;
const ESTABLISHED: u32 = 40;
const HALF_OPEN: u32 = ROOM;
const RESET: u32 = HALF_OPEN - (ROOM - ESTABLISHED);

fn abort(stage: &Stage) -> Result<Ending> {
    let service = stage.serve(
        "service",
        Serve {
            backlog: ABORT_BACKLOG,
            paused: true,
            sysctl: vec!["net/ipv4/tcp_abort_on_overflow=1".into()],
            ..Serve::on(PORT)
        },
    )?;
    let labeller = Labeller::start(service.pid)?;
    let flood = stage.observe(
        &[],
        &Role::Flood(Flood {
            netns_of: Some(service.pid),
            established: ESTABLISHED,
            half_open: HALF_OPEN,
            volleys: 1,
            complete: true,
            ..Flood::to(service.address())
        }),
    )?;
    match flood.report()? {
        Report::Packets { syn_acks, .. } if syn_acks == u64::from(HALF_OPEN) => {}
        other => bail!("{HALF_OPEN} connections were to become half-open, but {other:?}"),
    }
    flood.wait_holding()?;
    let finished = flood.finish()?;
    let labels = labeller.finish();
    let cause = overflow_truth(&service, &labels)?;
    let effect = Truth {
        onset: labels.onset(Counter::EmbryonicRsts).context("nothing was reset")?,
        place: listener(&service),
        counts: vec![Count::of(&["reset_sent"]).kernel(Counter::OutRsts, &labels).app(u64::from(RESET))],
    };
    effect.print();
    ensure!(labels.count(Counter::EmbryonicRsts) == u64::from(RESET), "not all were reset: {labels:?}");

    let ending = ACCEPT_QUEUE_OVERFLOW.check_first(&cause, &finished)?;
    let (Ending::Ok, Some(verdict)) = (&ending, &finished.verdict) else { return Ok(ending) };
    if verdict.hit(CONNECTION_RESETS.fault_line).is_some() {
        let (cause, place) = (ACCEPT_QUEUE_OVERFLOW.fault_line, &effect.place);
        let hit = find_effect(verdict, cause, CONNECTION_RESETS.fault_line, place)?;
        CONNECTION_RESETS.check_hit(&effect, hit, verdict)?;
    }
    Ok(ending)
}

//! Connects that nobody answers: SYNs go to an address that is nobody's, and are dropped without a word.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
};

use anyhow::{Context, Result, ensure};

use super::{CONNECT_TIMEOUT, PACKET_LOSS, PORT, Scenario, packet_loss::loss_onset};
use crate::{
    check::{Count, Ending, Expect, Place, Truth, check_clear, find_effect},
    counters::Counter,
    label::{Labeller, Labels},
    netns,
    roles::{Role, load::Load, serve::Serve},
    stage::{Finished, Service, Stage},
    verdict::Verdict,
};

pub const TIMEOUT: Scenario = Scenario {
    name: "connect_timeout",
    about: "a few connects that nobody answers: some time out in the kernel, others are given up",
    play: timeout,
};

pub const CASCADE: Scenario = Scenario {
    name: "cascade_loss_timeout",
    about: "many connects that nobody answers: their SYNs are lost, so they are given up",
    play: cascade,
};

pub const IMPATIENT: Scenario = Scenario {
    name: "healthy_impatient",
    about: "clients give an address 150 ms before they take the other one: clear",
    play: impatient,
};

/// Together they send fewer further SYNs than make a loss of packets.
const STUBBORN: u32 = 8;
const GIVING_UP: u32 = 8;
/// Each sends one further SYN, after a second. One after the other, so that there is more than one burst.
const MANY: u32 = 60;
const RAMP_MS: u64 = 2000;
const PATIENCE_MS: u64 = 1500;
/// Long before the first SYN is sent again.
const HASTE_MS: u64 = 150;
const ATTEMPTS: u64 = 40;
/// From 6.5 on the kernel adds four attempts to TCP_SYNCNT.
const LINEAR_TIMEOUTS: &str = "net/ipv4/tcp_syn_linear_timeouts";

fn timeout(stage: &Stage) -> Result<Ending> {
    let (service, labels, finished) = call_into_the_void(stage, STUBBORN, GIVING_UP, 0)?;
    let tally = &finished.tally;
    let timed_out = tally.errno(libc::ETIMEDOUT).context("no connect timed out")?;
    ensure!(labels.count(Counter::RetransSegs) < 20, "that is a loss of packets: {labels:?}");
    let truth = Truth {
        onset: tally.first_abandoned.context("no connect was abandoned")?,
        place: void(&service),
        counts: vec![
            Count::of(&["connect_timed_out"]).app(timed_out.count),
            Count::of(&["connect_abandoned"]).app(tally.abandoned),
        ],
    };
    CONNECT_TIMEOUT.check_first(&truth, &finished)
}

fn cascade(stage: &Stage) -> Result<Ending> {
    let (service, labels, finished) = call_into_the_void(stage, 0, MANY, RAMP_MS)?;
    let place = void(&service);
    let cause = syn_loss_truth(place.clone(), &labels, &finished)?;
    let effect = abandoned_truth(place, &finished)?;
    effect.print();
    let ending = SYN_LOSS.check_first(&cause, &finished)?;
    let (Ending::Ok, Some(verdict)) = (&ending, &finished.verdict) else { return Ok(ending) };
    check_abandoned(&effect, verdict)?;
    Ok(ending)
}

fn impatient(stage: &Stage) -> Result<Ending> {
    let service = stage.serve("service", Serve::on(PORT))?;
    route_to_nowhere(&service)?;
    let mut load = stage.observe(
        &[],
        &Role::Load(Load {
            netns_of: Some(service.pid),
            workers: 8,
            first_try: Some(nobody().into()),
            connect_timeout_ms: HASTE_MS,
            ..Load::to(service.address())
        }),
    )?;
    load.wait_for_unconnected(ATTEMPTS)?;
    let finished = load.finish()?;
    let (given_up, done) = (finished.tally.unconnected, finished.tally.done);
    println!("  truth {given_up} connects given up, {done} answers");
    ensure!(finished.tally.abandoned == 0, "a SYN was sent again");
    ensure!(given_up == done, "each answer was to follow a connect that was given up");
    check_clear(&finished)
}

fn call_into_the_void(
    stage: &Stage,
    stubborn: u32,
    giving_up: u32,
    ramp_ms: u64,
) -> Result<(Service, Labels, Finished)> {
    let sysctl: Vec<String> = Path::new("/proc/sys")
        .join(LINEAR_TIMEOUTS)
        .exists()
        .then(|| format!("{LINEAR_TIMEOUTS}=0"))
        .into_iter()
        .collect();
    let service = stage.serve("service", Serve { sysctl, ..Serve::on(PORT) })?;
    route_to_nowhere(&service)?;
    let labeller = Labeller::start(service.pid)?;
    let mut load = stage.observe(
        &[],
        &Role::Load(Load {
            netns_of: Some(service.pid),
            workers: stubborn + giving_up,
            stubborn,
            ramp_ms,
            connect_timeout_ms: PATIENCE_MS,
            requests: Some(1),
            ..Load::to(nobody())
        }),
    )?;
    load.wait_for_errno(libc::ETIMEDOUT, u64::from(stubborn))?;
    load.wait_for_unconnected(u64::from(giving_up))?;
    Ok((service, labeller.finish(), load.finish()?))
}

fn nobody() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from_bits(netns::SPOOFED.to_bits() + 1), PORT)
}

fn route_to_nowhere(service: &Service) -> Result<()> {
    netns::inside(service.pid, netns::route_spoofed)
}

fn void(service: &Service) -> Place {
    Place { destination_port: Some(PORT), netns: Some(service.netns), ..Place::default() }
}

/// Loss that clients see: their SYNs are not answered.
pub const SYN_LOSS: Expect = Expect { role: "path", deciding: &["retransmit_syn"], ..PACKET_LOSS };

/// The truth about SYNs that were lost on the way to `place`.
pub fn syn_loss_truth(place: Place, labels: &Labels, finished: &Finished) -> Result<Truth> {
    let shown = [Counter::SynRetrans, Counter::RetransSegs, Counter::RetransFail];
    let shown = shown.map(|counter| format!("{} {}", counter.name(), labels.count(counter)));
    println!("  truth {}", shown.join(", "));
    Ok(Truth {
        onset: loss_onset(labels)?,
        place,
        counts: vec![
            Count::of(&["retransmit_syn"])
                .kernel(Counter::SynRetrans, labels)
                .app(finished.tally.syn_retransmits),
        ],
    })
}

/// The truth about connects to `place` that were given up.
pub fn abandoned_truth(place: Place, finished: &Finished) -> Result<Truth> {
    Ok(Truth {
        onset: finished.tally.first_abandoned.context("no connect was abandoned")?,
        place,
        counts: vec![Count::of(&["connect_abandoned"]).app(finished.tally.abandoned)],
    })
}

/// Checks that the loss of SYNs explains the connects that were given up.
pub fn check_abandoned(effect: &Truth, verdict: &Verdict) -> Result<()> {
    let hit = find_effect(verdict, SYN_LOSS.fault_line, CONNECT_TIMEOUT.fault_line, &effect.place)?;
    CONNECT_TIMEOUT.check_hit(effect, hit, verdict)
}

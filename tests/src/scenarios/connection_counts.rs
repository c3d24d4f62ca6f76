//! Thousands of short connections to a few busy ports and to very many quiet ones, by the generator and beside it:
//! whichever way a probe counts them, observer's numbers are the kernel's.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

use super::Scenario;
use crate::{
    check::{Count, Ending, check_clear, missed},
    children::Running,
    counters::Counter,
    label::Labeller,
    report::{Order, Report, Tally},
    roles::{
        Role,
        doors::Doors,
        knock::{Knock, Round},
    },
    stage::Stage,
    totals::Totals,
    verdict::Verdict,
};

pub const SCENARIO: Scenario = Scenario {
    name: "connection_counts",
    about: "short connections to three busy ports and two hundred quiet ones: counted as the kernel counts",
    play,
};

const WORKERS: u32 = 2;
const FIRST: u16 = 8000;
const BUSY: u16 = 3;
const QUIET: u16 = 200;
/// Enough at a time that a port's keys are counted in slots before it is over. A key is given one at twenty between two
/// reads,
const OFTEN: u32 = 200;
/// which the others never see.
const SELDOM: u32 = 2;

/// What the observed command does. The busy ports are as busy again after the quiet ones.
const GENERATOR: [Round; 3] = [busy(OFTEN), quiet(SELDOM), busy(OFTEN / 4)];
/// What others do at the same time.
const OTHERS: [Round; 2] = [busy(OFTEN / 4), quiet(SELDOM / 2)];

const fn busy(times: u32) -> Round {
    Round { first: FIRST, ports: BUSY, times }
}

const fn quiet(times: u32) -> Round {
    Round { first: FIRST + BUSY, ports: QUIET, times }
}

fn play(stage: &Stage) -> Result<Ending> {
    let doors = stage.start("service", &Role::Doors(Doors { first: FIRST, ports: BUSY + QUIET }))?;
    let (pid, netns) = match doors.report()? {
        Report::Ready { pid, netns } => (pid, netns),
        other => bail!("the service began with {other:?}"),
    };
    let knock =
        |round: &[Round]| Role::Knock(Knock { netns_of: pid, workers: WORKERS, round: round.to_vec() });
    let labeller = Labeller::start(pid)?;
    let load = stage.observe(&[], &knock(&GENERATOR))?;
    let others = stage.prepare("others", &knock(&OTHERS))?;
    while others.report()? != Report::Holding {}
    load.wait_holding()?;
    let finished = load.finish()?;
    let (others, accepted) = (stop(others)?, stop(doors)?.done);
    let labels = labeller.finish();

    let connects = finished.tally.connected + others.connected;
    let expected = by_port();
    println!("  truth {connects} connects, {accepted} accepted, at {} ports", expected.len());
    let failed = [&finished.tally, &others].map(|tally| &tally.errnos);
    ensure!(connects == expected.values().sum::<u64>(), "not all connects succeeded: {failed:?}");
    let ending = check_clear(&finished)?;
    let (Some(verdict), Some(totals)) = (&finished.verdict, Totals::of(stage)?) else { return Ok(ending) };
    let counts = [
        Count::of(&["connection_accepted"]).kernel(Counter::PassiveOpens, &labels).app(accepted),
        Count::of(&["connect_attempt"]).kernel(Counter::ActiveOpens, &labels).app(connects),
        Count::of(&["connection_opened"]).app(connects),
    ];
    for count in &counts {
        count.check_total(totals.count(count.signals, netns, verdict), verdict)?;
        for signal in count.signals {
            check_places(signal, &totals.by_port(signal, netns, verdict), &expected, verdict)?;
        }
    }
    check_generator(&totals, netns, finished.tally.connected, verdict)?;
    Ok(ending)
}

/// Lets a role end, for its last word.
fn stop(mut role: Running) -> Result<Tally> {
    role.order(Order::Stop)?;
    loop {
        if let Report::Tally(tally) = role.report()? {
            return Ok(tally);
        }
    }
}

/// The connections to each port.
fn by_port() -> BTreeMap<u16, u64> {
    let mut ports = BTreeMap::new();
    for round in GENERATOR.iter().chain(&OTHERS) {
        for port in round.ports() {
            *ports.entry(port).or_default() += u64::from(WORKERS * round.times);
        }
    }
    ports
}

/// Checks that what belongs to one port was not counted at another.
fn check_places(
    signal: &str,
    seen: &BTreeMap<u16, u64>,
    expected: &BTreeMap<u16, u64>,
    verdict: &Verdict,
) -> Result<()> {
    let named = missed(&[signal], verdict);
    for (port, expected) in expected {
        let seen = seen.get(port).copied().unwrap_or(0);
        ensure!(
            (seen..=seen + named).contains(expected),
            "{signal} at port {port}: {seen} were counted of {expected}, and {named} are named as lost"
        );
    }
    ensure!(
        seen.keys().all(|port| expected.contains_key(port)),
        "{signal} was counted at other ports: {seen:?}"
    );
    Ok(())
}

/// Checks that the command's connects are known from those of others.
fn check_generator(totals: &Totals, netns: u32, made: u64, verdict: &Verdict) -> Result<()> {
    let seen = totals.by_generator("connect_attempt", netns, verdict);
    let named = missed(&["connect_attempt"], verdict);
    println!("  {seen} connects by the generator, who made {made}");
    ensure!(
        (seen..=seen + named).contains(&made),
        "{seen} connects are told to be the generator's, who made {made}, and {named} are named as lost"
    );
    Ok(())
}

//! A storm of failures: SYNs dropped at a full accept queue, then SYNs and connects to a port on which nobody
//! listens, as fast as the machine makes them. What observer counted, and what it names as lost, is what the kernel
//! counted.

use std::{fs, net::SocketAddrV4};

use anyhow::{Context, Result, bail, ensure};

use super::{ACCEPT_QUEUE_OVERFLOW, PORT, REST, Scenario, overflow_truth};
use crate::{
    check::{Count, Ending, missed},
    counters::Counter,
    label::Labeller,
    report::Report,
    roles::{Role, serve::Serve, storm::Storm},
    stage::{Observed, PATIENCE, Stage},
    totals::Totals,
};

pub const SCENARIO: Scenario = Scenario {
    name: "event_storm",
    about: "up to 100,000 SYNs dropped at a full queue and 150,000 refused: counted as the kernel counts",
    play,
};

const BACKLOG: u16 = 8;
/// The kernel compares with `>`: a limit of 8 admits 9.
const ROOM: u32 = BACKLOG as u32 + 1;
const CLOSED_PORT: u16 = 8081;
const MOST: u32 = 100_000;
/// An emulated machine makes fewer in this time.
const BURST_MS: u64 = 5000;
/// A line for each CPU; the second column is what its backlog had no room for (`softnet_seq_show`, net/core/net-procfs.c).
const SOFTNET: &str = "/proc/net/softnet_stat";

fn play(stage: &Stage) -> Result<Ending> {
    let mut service = stage.serve("service", Serve { backlog: BACKLOG, paused: true, ..Serve::on(PORT) })?;
    let labeller = Labeller::start(service.pid)?;
    let before = no_room()?;
    let closed = SocketAddrV4::new(*service.address().ip(), CLOSED_PORT);
    let storm = stage.observe(
        &[],
        &Role::Storm(Storm {
            netns_of: service.pid,
            full: service.address(),
            established: ROOM,
            closed,
            most: MOST,
            for_ms: BURST_MS,
        }),
    )?;
    let (dropped, refused) = (sent(&storm)?, sent(&storm)?);
    storm.wait_holding()?;
    labeller.wait_quiet(REST, PATIENCE)?;
    service.relent()?;
    let finished = storm.finish()?;
    service.wait_for_accepted(u64::from(ROOM))?;
    let labels = labeller.finish();
    let never_arrived = no_room()? - before;

    let connects = finished.tally.count(libc::ECONNREFUSED);
    println!(
        "  truth {dropped} SYNs to a full queue, {refused} to a closed port, {connects} connects refused, \
         {never_arrived} for which a CPU had no room"
    );
    ensure!(dropped > 0 && refused > 0 && connects > 0, "there was no storm: {:?}", finished.tally);
    let mut truth = overflow_truth(&service, &labels)?;
    // Of the whole run, not of the hit.
    let overflows = std::mem::take(&mut truth.counts);
    let ending = ACCEPT_QUEUE_OVERFLOW.check_first(&truth, &finished)?;
    let (Some(verdict), Some(totals)) = (&finished.verdict, Totals::of(stage)?) else { return Ok(ending) };
    let at_listener = totals.by_port("listen_drop", service.netns, verdict).get(&PORT).copied();
    let drops =
        Count::of(&["listen_drop"]).kernel(Counter::ListenDrops, &labels).check_total(at_listener, verdict);
    // On a slow machine a SYN is sent, and is lost before it arrives: then only the kernel knows how many did.
    let told = |count: Count, sent| if never_arrived == 0 { count.app(sent) } else { count };
    let others = [
        told(Count::of(&["syn_refused"]), refused + connects),
        // A slow machine may reset one of the established connections as well.
        Count::of(&["syn_refused", "reset_sent"]).kernel(Counter::OutRsts, &labels),
        Count::of(&["connect_refused"]).kernel(Counter::AttemptFails, &labels).app(connects),
    ];
    // All are shown before the first that differs is complained of.
    let checked: Vec<_> = overflows
        .into_iter()
        .map(|count| told(count, dropped))
        .chain(others)
        .map(|count| count.check_total(totals.count(count.signals, service.netns, verdict), verdict))
        .collect();
    println!("  named as lost: {:?}", verdict.coverage.events_lost);
    checked.into_iter().chain([drops]).collect::<Result<()>>()?;
    let refusals = &["syn_refused"];
    let least = (refused + connects).saturating_sub(never_arrived + missed(refusals, verdict));
    let counted = totals.count(refusals, service.netns, verdict);
    ensure!(
        counted.is_none_or(|counted| (least..=refused + connects).contains(&counted)),
        "of {least} to {} refused SYNs, {counted:?} are counted",
        refused + connects
    );
    Ok(ending)
}

/// Packets of the whole host that a CPU had no room for, and so never arrived.
fn no_room() -> Result<u64> {
    let text = fs::read_to_string(SOFTNET).context(SOFTNET)?;
    let of_cpu = |line: &str| {
        let column = line.split_ascii_whitespace().nth(1).with_context(|| format!("{SOFTNET}: {line}"))?;
        u64::from_str_radix(column, 16).with_context(|| format!("{SOFTNET}: {line}"))
    };
    text.lines().map(of_cpu).sum()
}

/// How many SYNs the storm says that it has sent.
fn sent(storm: &Observed) -> Result<u64> {
    match storm.report()? {
        Report::Packets { syns, .. } => Ok(syns),
        other => bail!("SYNs were to be sent, but {other:?}"),
    }
}

//! Segments with data are lost on their way to the clients: by the dozen, or now and then.

use std::{thread, time::Duration};

use anyhow::{Context, Result, ensure};

use super::{PACKET_LOSS, PORT, REST, RETRANSMITS, Scenario, listener};
use crate::{
    check::{Count, Ending, Truth, check_clear},
    clock::Bracket,
    counters::Counter,
    label::{Labeller, Labels},
    roles::{Role, load::Load, serve::Serve},
    stage::{Finished, PATIENCE, Service, Stage},
    verdict::Tier,
};

pub const LOSS: Scenario = Scenario {
    name: "packet_loss",
    about: "one in seven segments with data is lost on the way; they are sent again",
    play: loss,
};

pub const TRICKLE: Scenario = Scenario {
    name: "healthy_trickle_loss",
    about: "one segment in two hundred is lost, as on a good network: clear",
    play: trickle,
};

const LOST_PER_MILLE: u32 = 150;
const TRICKLE_PER_MILLE: u32 = 5;
/// Retransmissions that make a fault beyond doubt.
const ENOUGH: u64 = 200;
/// More than a fault line that looks at numbers alone would put up with.
const A_FEW: u64 = 25;
/// How long it goes on at least: longer than one burst.
const LASTS: Duration = Duration::from_millis(2500);
/// Answers of several segments: so that one that is lost is followed by others, or is the last.
const PIECES: u16 = 10;
pub const CLIENTS: u32 = 16;
/// So few that even an emulated processor keeps up: what it is late with is sent again, too.
const FEW_CLIENTS: u32 = 4;

fn loss(stage: &Stage) -> Result<Ending> {
    let (service, labels, finished) = lose(stage, CLIENTS, LOST_PER_MILLE, ENOUGH)?;
    PACKET_LOSS.check_first(&loss_truth(&service, loss_onset(&labels)?, &labels, &finished)?, &finished)
}

fn trickle(stage: &Stage) -> Result<Ending> {
    let (_service, labels, finished) = lose(stage, FEW_CLIENTS, TRICKLE_PER_MILLE, A_FEW)?;
    let (again, sent) = (labels.count(Counter::RetransSegs), labels.count(Counter::OutSegs));
    println!("  truth {again} of {sent} segments were sent again, {} answers", finished.tally.done);
    ensure!(again * 100 < sent, "this machine is too slow: that is one per cent or more");
    ensure!(finished.tally.errnos.is_empty(), "not healthy: {:?}", finished.tally);
    check_clear(&finished)
}

fn lose(stage: &Stage, clients: u32, per_mille: u32, at_least: u64) -> Result<(Service, Labels, Finished)> {
    let service = stage.serve("service", lossy_service())?;
    let labeller = Labeller::start(service.pid)?;
    let mut load = stage.observe(&[], &lossy_load(&service, clients, per_mille))?;
    load.wait_for_done(1)?;
    thread::sleep(LASTS);
    labeller.wait_for(Counter::RetransSegs, at_least, PATIENCE)?;
    load.relent()?;
    // What is still to be sent again is; a client that were stopped before would reset its connection.
    load.wait_for_idle()?;
    labeller.wait_quiet(REST, PATIENCE)?;
    let finished = load.finish()?;
    Ok((service, labeller.finish(), finished))
}

/// A service whose answers are long enough to lose a part.
pub fn lossy_service() -> Serve {
    Serve { pieces: PIECES, ..Serve::on(PORT) }
}

/// Clients that lose a share of what arrives for them, until they relent.
pub fn lossy_load(service: &Service, workers: u32, lose_per_mille: u32) -> Role {
    Role::Load(Load { netns_of: Some(service.pid), workers, lose_per_mille, ..Load::to(service.address()) })
}

/// The truth about a service whose segments were lost from `onset` on.
pub fn loss_truth(service: &Service, onset: Bracket, labels: &Labels, finished: &Finished) -> Result<Truth> {
    let shown = [
        Counter::FastRetrans,
        Counter::Timeouts,
        Counter::LossProbes,
        Counter::SynRetrans,
        Counter::RetransFail,
        Counter::OutSegs,
    ];
    let shown = shown.map(|counter| format!("{} {}", counter.name(), labels.count(counter)));
    println!("  truth {}, {} retransmits of clients", shown.join(", "), finished.tally.retransmits);
    // The kernel counts both ends of a connection in one place; what clients sent again is not the listener's.
    let of_clients = finished.tally.retransmits.cast_signed();
    let count = Count::of(RETRANSMITS).kernel(Counter::RetransSegs, labels);
    Ok(Truth {
        onset,
        place: listener(service),
        counts: vec![count.explained(Tier::Tracepoint, -of_clients, "less what the clients sent again")],
    })
}

/// Around the first loss: a probe for the loss of the last segment may come earlier, and is not one yet.
pub fn loss_onset(labels: &Labels) -> Result<Bracket> {
    [Counter::SynRetrans, Counter::FastRetrans, Counter::Timeouts]
        .into_iter()
        .filter_map(|counter| labels.onset(counter))
        .min_by_key(|onset| onset.to_ns)
        .context("nothing was lost")
}

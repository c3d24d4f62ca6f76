//! Half-open connections that complete when there is no room left in the accept queue: the kernel drops
//! their final ACKs.
//!
//! The service accepts nothing. Ten real connections wait in its queue; seventeen SYNs from made-up sources
//! are answered, since the queue is not full yet; then all seventeen ACKs arrive, seven fit, ten do not. The
//! same ACKs again and again overflow again and again, and the count of it is known in advance.

use anyhow::{Result, bail, ensure};

use super::{ACCEPT_QUEUE_OVERFLOW, PORT, Scenario, overflow_truth};
use crate::{
    check::{Count, Ending},
    counters::Counter,
    label::Labeller,
    report::Report,
    roles::{Role, flood::Flood, serve::Serve},
    stage::Stage,
    totals::Totals,
};

pub const SCENARIO: Scenario = Scenario {
    name: "accept_overflow_ack",
    about: "half-open connections complete into a full accept queue; final ACKs are dropped",
    play,
};

const BACKLOG: u16 = 16;
const ESTABLISHED: u32 = 10;
/// The kernel compares with `>`: a limit of 16 admits 17, to either queue.
const ROOM: u32 = BACKLOG as u32 + 1;
const HALF_OPEN: u32 = ROOM;
const VOLLEYS: u32 = 6;
/// The ACKs that fit do so in the first volley, and are mere duplicates in the others.
const DROPPED_PER_VOLLEY: u32 = HALF_OPEN - (ROOM - ESTABLISHED);

fn play(stage: &Stage) -> Result<Ending> {
    let service = stage.serve("service", Serve { backlog: BACKLOG, paused: true, ..Serve::on(PORT) })?;
    let labeller = Labeller::start(service.pid)?;
    let flood = stage.observe(
        &[],
        &Role::Flood(Flood {
            netns_of: Some(service.pid),
            established: ESTABLISHED,
            half_open: HALF_OPEN,
            volleys: VOLLEYS,
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
    let mut truth = overflow_truth(&service, &labels)?;
    let dropped = u64::from(VOLLEYS * DROPPED_PER_VOLLEY);
    truth
        .counts
        .push(Count::of(&["accept_overflow_ack"]).kernel(Counter::ListenOverflows, &labels).app(dropped));
    if let (Some(verdict), Some(totals)) = (&finished.verdict, Totals::of(stage)?)
        && let Some(longest) = totals.peak("connection_accepted", service.netns, verdict)
    {
        println!("  the longest accept queue that a connection joined: {longest}");
        ensure!(longest == u64::from(ROOM), "the accept queue has room for {ROOM}");
    }
    ACCEPT_QUEUE_OVERFLOW.check_first(&truth, &finished)
}

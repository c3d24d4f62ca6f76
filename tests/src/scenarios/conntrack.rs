//! The connection tracking table is full: packets of new connections are dropped before the service sees
//! them, so clients send their SYNs again, and give up. And the same beside a test that loses packets for
//! another reason.

use std::{env, fs, net::SocketAddrV4, path::Path, thread, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use super::{
    CONNTRACK_FULL, PACKET_LOSS, PORT, REST, Scenario,
    connect_timeout::{SYN_LOSS, abandoned_truth, check_abandoned, syn_loss_truth},
    file_table_full::OWN_MACHINE,
    packet_loss::{self, loss_onset, loss_truth, lossy_load, lossy_service},
};
use crate::{
    check::{Count, Ending, Expect, Place, Truth, find_effect},
    children::Running,
    cleanup::Guard,
    counters::Counter,
    label::{Labeller, Labels},
    nft,
    report::Report,
    roles::{Role, link::Link, load::Load, serve::Serve},
    stage::{PATIENCE, Service, Stage},
    verdict::Hit,
    veth,
};

pub const FULL: Scenario = Scenario {
    name: "conntrack_full",
    about: "more connections than nf_conntrack_max: SYNs are dropped, sent again, and given up",
    play: full,
};

pub const UNRELATED: Scenario = Scenario {
    name: "negative_conntrack",
    about: "a bystander's connection tracking is full, the test loses packets by itself: no link",
    play: unrelated,
};

const LIMIT: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
/// Entries of closed connections stay for two minutes, so a second fills this.
const ENTRIES: u32 = 48;
/// One after the other, so that not all of them send their SYNs again in one burst.
const CLIENTS: u32 = 48;
const RAMP_MS: u64 = 2000;
/// Long enough to send the SYN again two or three times.
const PATIENCE_MS: u64 = 3500;
const BYSTANDER_PORT: u16 = 9090;
/// Drops that make a fault beyond doubt.
const DROPS: u64 = 100;
/// Retransmissions that make a fault beyond doubt, and how long they go on at least.
const LOSSES: u64 = 150;
const LASTS: Duration = Duration::from_millis(2500);
/// Beyond doubt from the first moment on, among all that is not lost.
const LOST_PER_MILLE: u32 = 250;
/// Answers that show the run has begun.
const UNDER_WAY: u64 = 20;

fn full(stage: &Stage) -> Result<Ending> {
    if let Some(skip) = missing() {
        return Ok(skip);
    }
    let tracked = Tracked::start(stage, PORT)?;
    let limit = limit_entries(ENTRIES)?;
    let mut load = stage.observe(&[], &tracked.load())?;
    load.wait_for_unconnected(u64::from(CLIENTS))?;
    load.relent()?;
    drop(limit);
    load.wait_for_idle()?;
    let finished = load.finish()?;
    let (service, clients) = (tracked.labeller.finish(), tracked.client_labeller.finish());
    let place = Place { destination_port: Some(PORT), ..Place::default() };
    let cause = drop_truth(&tracked.service, &service)?;
    let effect = syn_loss_truth(place.clone(), &clients, &finished)?;
    let last = abandoned_truth(place, &finished)?;
    effect.print();
    last.print();

    let ending = CONNTRACK_FULL.check_first(&cause, &finished)?;
    let (Ending::Ok, Some(verdict)) = (&ending, &finished.verdict) else { return Ok(ending) };
    let hit = find_effect(verdict, CONNTRACK_FULL.fault_line, SYN_LOSS.fault_line, &effect.place)?;
    SYN_LOSS.check_hit(&effect, hit, verdict)?;
    check_abandoned(&last, verdict)?;
    Ok(ending)
}

fn unrelated(stage: &Stage) -> Result<Ending> {
    if let Some(skip) = missing() {
        return Ok(skip);
    }
    let service = stage.serve("service", lossy_service())?;
    let tracked = Tracked::start(stage, BYSTANDER_PORT)?;
    let labeller = Labeller::start(service.pid)?;
    let Role::Load(lossy) = lossy_load(&service, packet_loss::CLIENTS, LOST_PER_MILLE) else {
        bail!("not a load")
    };
    let mut load = stage.observe(&[], &Role::Load(Load { lose_on_order: true, ..lossy }))?;
    load.wait_for_done(UNDER_WAY)?;
    let limit = limit_entries(ENTRIES)?;
    let other_load = stage.start("bystander-load", &tracked.load())?;
    tracked.labeller.wait_for(Counter::ConntrackDrop, DROPS, PATIENCE)?;
    // What a slow machine sent again before is not the loss.
    let losses = Labeller::start(service.pid)?;
    load.resume()?;
    thread::sleep(LASTS);
    labeller.wait_for(Counter::RetransSegs, LOSSES, PATIENCE)?;
    load.relent()?;
    // Left alone it would fill the table as it was before, too, and go on after the run.
    drop(other_load);
    drop(limit);
    load.wait_for_idle()?;
    labeller.wait_quiet(REST, PATIENCE)?;
    tracked.labeller.wait_quiet(REST, PATIENCE)?;
    let finished = load.finish()?;
    let labels = tracked.labeller.finish();
    let drops = drop_truth(&tracked.service, &labels)?;
    let loss = loss_truth(&service, loss_onset(&losses.finish())?, &labeller.finish(), &finished)?;
    ensure!(drops.onset.to_ns < loss.onset.from_ns, "the faults came in the wrong order");
    drops.print();

    let ending = PACKET_LOSS.check_first(&loss, &finished)?;
    let (Ending::Ok, Some(verdict)) = (&ending, &finished.verdict) else { return Ok(ending) };
    ensure!(verdict.chain.is_empty(), "the chain links what is not linked: {:?}", verdict.chain);
    ensure!(verdict.hit(CONNTRACK_FULL.fault_line).is_none(), "the bystander's table is in scope");
    let ours = |hit: &&Hit| {
        hit.fault_line == CONNTRACK_FULL.fault_line && hit.subject.netns == Some(tracked.service.netns)
    };
    let hit = verdict.elsewhere.iter().find(ours).context("elsewhere does not list the bystander's table")?;
    Expect { role: "bystander", ..CONNTRACK_FULL }.check_hit(&drops, hit, verdict)?;
    Ok(ending)
}

/// Why this cannot be provoked here, if it cannot.
pub fn missing() -> Option<Ending> {
    if env::var_os(OWN_MACHINE).is_none() {
        let why = "net.netfilter.nf_conntrack_max is the whole host's; needs a machine of its own";
        return Some(Ending::Skip(why.into()));
    }
    nft::can_track_connections().err().map(|error| Ending::Skip(format!("{error:#}")))
}

/// A service whose connections are tracked, and a namespace for its clients on the other side of a link:
/// what the table has no room for is lost on the way, as in a network.
struct Tracked {
    service: Service,
    clients: Running,
    labeller: Labeller,
    client_labeller: Labeller,
}

impl Tracked {
    fn start(stage: &Stage, port: u16) -> Result<Self> {
        let service = stage.serve(
            "tracked",
            Serve { anywhere: true, track_connections: true, threads: 4, ..Serve::on(port) },
        )?;
        let clients = stage.start("clients", &Role::Link(Link { to: service.pid }))?;
        match clients.report().context("the link to the service was not made")? {
            Report::Ready { .. } => {}
            other => bail!("the link began with {other:?}"),
        }
        let (labeller, client_labeller) = (Labeller::start(service.pid)?, Labeller::start(clients.pid())?);
        Ok(Self { service, clients, labeller, client_labeller })
    }

    fn load(&self) -> Role {
        Role::Load(Load {
            netns_of: Some(self.clients.pid()),
            workers: CLIENTS,
            ramp_ms: RAMP_MS,
            connect_timeout_ms: PATIENCE_MS,
            ..Load::to(SocketAddrV4::new(veth::FAR, self.service.port))
        })
    }
}

/// Limits the host's tables to so many entries each, until the guard goes.
pub fn limit_entries(entries: u32) -> Result<Guard> {
    let guard = Guard::setting(Path::new(LIMIT))?;
    fs::write(LIMIT, entries.to_string()).with_context(|| format!("cannot set {LIMIT}"))?;
    Ok(guard)
}

fn drop_truth(service: &Service, labels: &Labels) -> Result<Truth> {
    Ok(Truth {
        onset: labels.onset(Counter::ConntrackDrop).context("no packet was dropped")?,
        place: Place { netns: Some(service.netns), ..Place::default() },
        counts: vec![
            Count::of(&["conntrack_drop"]).kernel(Counter::ConntrackDrop, labels),
            Count::of(&["conntrack_early_drop"]).kernel(Counter::ConntrackEarlyDrop, labels),
        ],
    })
}

//! The scenarios: what each provokes, and what observer has to say about it.

mod accept_overflow_ack;
mod accept_overflow_syn;
mod background_throttling;
mod cascade_fd_accept;
mod cascade_throttle_accept;
mod cgroups_apart;
mod connect_timeout;
mod connection_counts;
mod connection_refused;
mod connection_resets;
mod conntrack;
mod container_id;
mod cpu_throttling;
mod ctrl_c;
mod determinism;
mod elsewhere;
mod event_storm;
mod exit_status;
mod fd_saturation;
mod file_table_full;
mod healthy_churn;
mod healthy_connections;
mod healthy_conntrack;
mod healthy_decoys;
mod healthy_steady;
mod lab_killed;
mod live_dashboard;
mod memory_pressure_harmless;
mod negative_fd_accept;
mod negative_throttle_accept;
mod nginx_cascade;
mod no_capabilities;
mod nothing_left_behind;
mod oom_after_load;
mod oom_elsewhere;
mod oom_global;
mod oom_kill;
mod overflow_effects;
mod packet_loss;
mod phases;
mod port_collision;
mod port_exhaustion;
mod privileges;
mod privileges_service;
mod privileges_sudo;
mod prometheus;
mod syn_queue;
mod time_wait;

use std::{ops::RangeInclusive, time::Duration};

use anyhow::{Context, Result};

use crate::{
    check::{Count, Ending, Expect, Place, Truth},
    clock::Bracket,
    counters::Counter,
    label::{Labeller, Labels},
    report::Tally,
    roles::{Role, load::Load, serve::Serve},
    stage::{Finished, Observed, PATIENCE, Service, Stage},
};

/// One fault, or one promise of `observer run`.
#[derive(Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it provokes, in a line.
    pub about: &'static str,
    /// Plays it and checks it.
    pub play: fn(&Stage) -> Result<Ending>,
}

/// All of them, in the order in which they are run.
pub const ALL: &[Scenario] = &[
    accept_overflow_syn::SCENARIO,
    accept_overflow_ack::SCENARIO,
    syn_queue::DROP,
    syn_queue::COOKIES,
    port_exhaustion::CONNECT,
    port_exhaustion::BIND,
    port_collision::SCENARIO,
    fd_saturation::SERVICE,
    fd_saturation::GENERATOR,
    file_table_full::SCENARIO,
    cascade_fd_accept::SCENARIO,
    nginx_cascade::SCENARIO,
    negative_fd_accept::SCENARIO,
    elsewhere::SCENARIO,
    healthy_steady::SCENARIO,
    healthy_decoys::SCENARIO,
    phases::RAMP,
    phases::STEP,
    phases::SPIKE,
    cgroups_apart::SCENARIO,
    exit_status::SCENARIO,
    ctrl_c::SCENARIO,
    no_capabilities::CLEAR,
    no_capabilities::HIT,
    privileges::SCENARIO,
    privileges::LIVE,
    privileges::WITHOUT_SYS_ADMIN,
    privileges_service::SCENARIO,
    privileges_sudo::SCENARIO,
    determinism::SCENARIO,
    oom_kill::SCENARIO,
    oom_after_load::SCENARIO,
    oom_elsewhere::SCENARIO,
    oom_global::SCENARIO,
    cpu_throttling::SCENARIO,
    cascade_throttle_accept::SCENARIO,
    negative_throttle_accept::SCENARIO,
    background_throttling::SCENARIO,
    memory_pressure_harmless::SCENARIO,
    healthy_connections::SCENARIO,
    healthy_churn::SCENARIO,
    connection_counts::SCENARIO,
    event_storm::SCENARIO,
    healthy_conntrack::SCENARIO,
    container_id::SCENARIO,
    nothing_left_behind::SCENARIO,
    lab_killed::SCENARIO,
    live_dashboard::SCENARIO,
    prometheus::PLAIN,
    prometheus::TLS,
    prometheus::MUTUAL_TLS,
    conntrack::FULL,
    conntrack::UNRELATED,
    packet_loss::LOSS,
    packet_loss::TRICKLE,
    connection_resets::SERVICE,
    connection_resets::CLIENTS,
    connection_refused::REFUSED,
    connection_refused::FROM_ELSEWHERE,
    connection_refused::UNREACHABLE,
    connection_refused::FALLBACK,
    connect_timeout::TIMEOUT,
    connect_timeout::CASCADE,
    connect_timeout::IMPATIENT,
    time_wait::OVERFLOW,
    time_wait::CHURN,
    time_wait::PORTS,
    overflow_effects::RETRANSMITS,
    overflow_effects::ABORT,
];

/// Port of the service under test.
const PORT: u16 = 8080;
/// How long nothing may move before a fault counts as over.
const QUIET: Duration = Duration::from_millis(200);
/// The same where something is sent again after at most half a second.
const REST: Duration = Duration::from_millis(600);
/// How long a state is held that has to be seen by counters that are read ten times a second.
const PLATEAU: Duration = Duration::from_millis(600);
/// What counts as eighty per cent of a limit.
const EIGHTY_PER_CENT: RangeInclusive<f64> = 0.75..=0.85;
/// Overflows that make a fault beyond doubt.
const PLENTY: u64 = 200;

const ACCEPT_QUEUE_OVERFLOW: Expect = Expect {
    fault_line: "accept_queue_overflow",
    role: "target",
    deciding: &["accept_overflow_syn", "accept_overflow_ack", "listen_overflow"],
};

const FD_SATURATION: Expect =
    Expect { fault_line: "fd_saturation", role: "target", deciding: &["descriptor_limit"] };

const CONNTRACK_FULL: Expect =
    Expect { fault_line: "conntrack_full", role: "path", deciding: &["conntrack_drop"] };

const PACKET_LOSS: Expect = Expect {
    fault_line: "packet_loss",
    role: "target",
    deciding: &["retransmit_fast", "retransmit_timeout", "segments_retransmitted"],
};

const CONNECTION_RESETS: Expect =
    Expect { fault_line: "connection_resets", role: "target", deciding: &["reset_sent"] };

const CONNECTION_REFUSED: Expect =
    Expect { fault_line: "connection_refused", role: "path", deciding: &["connect_refused"] };

const CONNECT_TIMEOUT: Expect = Expect {
    fault_line: "connect_timeout",
    role: "path",
    deciding: &["connect_abandoned", "connect_timed_out"],
};

const TIME_WAIT_OVERFLOW: Expect =
    Expect { fault_line: "time_wait_overflow", role: "path", deciding: &["time_wait_overflow"] };

/// Together they are what the kernel counts as segments that were sent again.
const RETRANSMITS: &[&str] =
    &["retransmit_syn", "retransmit_syn_ack", "retransmit_fast", "retransmit_timeout", "retransmit_probe"];

/// A service that accepts a hundred connections a second and has room for nine to wait.
fn slow_service() -> Serve {
    Serve { backlog: 8, accept_delay_ms: 10, ..Serve::on(PORT) }
}

/// More clients than that service can take; they give up on a connection after 100 ms, and try again.
fn heavy_load(service: &Service) -> Role {
    Role::Load(Load {
        netns_of: Some(service.pid),
        workers: 32,
        ramp_ms: 300,
        connect_timeout_ms: 100,
        ..Load::to(service.address())
    })
}

/// A load that hurts nobody.
fn light_load(service: &Service) -> Role {
    Role::Load(Load { netns_of: Some(service.pid), workers: 4, ..Load::to(service.address()) })
}

/// Lets the service overflow for a while and then recover, so that the end of the run is quiet and counts
/// taken a little later are the same.
fn overflow_and_relent(service: &mut Service, load: &mut Observed, labeller: &Labeller) -> Result<()> {
    labeller.wait_for(Counter::ListenOverflows, PLENTY, PATIENCE)?;
    load.relent()?;
    service.relent()?;
    labeller.wait_quiet(QUIET, PATIENCE)
}

/// The truth about an accept queue that overflowed.
fn overflow_truth(service: &Service, labels: &Labels) -> Result<Truth> {
    overflow_at(listener(service), labels)
}

fn overflow_at(place: Place, labels: &Labels) -> Result<Truth> {
    let overflows = |signals| Count::of(signals).kernel(Counter::ListenOverflows, labels);
    Ok(Truth {
        onset: labels.onset(Counter::ListenOverflows).context("no accept queue overflowed")?,
        place,
        counts: vec![
            overflows(&["accept_overflow_syn", "accept_overflow_ack"]),
            overflows(&["listen_overflow"]),
        ],
    })
}

fn listener(service: &Service) -> Place {
    Place { listener_port: Some(service.port), netns: Some(service.netns), ..Place::default() }
}

/// The truth about a process that ran out of descriptors.
fn descriptor_truth(pid: u32, tally: &Tally) -> Result<Truth> {
    let refused = tally.errno(libc::EMFILE).context("nothing was refused a descriptor")?;
    Ok(Truth {
        onset: refused.first,
        place: Place { pid: Some(pid), ..Place::default() },
        counts: vec![Count::of(&["descriptor_limit"]).app(refused.count)],
    })
}

/// The truth about an errno that the generator was given, which one signal counts.
fn errno_truth(
    finished: &Finished,
    errno: i32,
    place: Place,
    signals: &'static [&'static str],
) -> Result<Truth> {
    let refused = finished.tally.errno(errno).with_context(|| format!("errno {errno} was not provoked"))?;
    let onset: Bracket = refused.first;
    Ok(Truth { onset, place, counts: vec![Count::of(signals).app(refused.count)] })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::ALL;

    #[test]
    fn names_are_unique() {
        let names: HashSet<_> = ALL.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(!names.contains("all"));
    }
}

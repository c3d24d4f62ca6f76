//! What is left of a bulk transfer while every twentieth segment is lost, and whether failures are counted when there
//! are as many as the machine can make.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    Bench, Budget, Plan,
    paired::{Spread, take_turns},
    rivals::Rival,
    served::Served,
};
use crate::{loss::lose, netns, stage::Stage};

pub const BENCH: Bench = Bench {
    name: "storm",
    about: "a bulk transfer with losses, on over off, and failures counted in a flood of them",
    play,
};

/// Share of the segments that are lost.
const LOST_PER_MILLE: u32 = 50;
/// Transfers at the same time: one of them stands still for a fifth of a second now and then.
const TRANSFERS: usize = 8;
const CHUNK: usize = 64 * 1024;
/// A transfer that waits for its turn to send again looks at the clock nevertheless.
const LOOK: Duration = Duration::from_millis(20);
/// Threads that connect to where nobody listens.
const FLOODERS: usize = 2;
/// Nobody listens there in a namespace of one's own.
const CLOSED: u16 = 9;
/// Long enough for the look at what was lost, once a second, and for the scrape after it.
const SETTLED: Duration = Duration::from_millis(1_500);

fn play(stage: &Stage, plan: &Plan) -> Result<()> {
    let mut resent = Vec::new();
    let ratios = take_turns(stage, plan, &[Rival::Nothing, Rival::Observer], None, || {
        let turn = plan.turn;
        let transferred = in_namespace(move || transfers(turn))?;
        resent.push(transferred.resent_per_s);
        Ok(vec![transferred.bytes_per_s])
    })?;
    BENCH.tell("segments sent again", "on and off", "per second", Spread::of(resent), None)?;
    for ratios in ratios {
        for spread in ratios.quantities {
            let what = "bulk bytes/s, one segment in twenty lost";
            BENCH.tell(what, ratios.rival.name(), "on/off", spread, None)?;
        }
    }
    failures(stage, plan)
}

/// What came through in a turn.
struct Transferred {
    bytes_per_s: f64,
    resent_per_s: f64,
}

fn transfers(turn: Duration) -> Result<Transferred> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let to = listener.local_addr()?;
    let begun = Instant::now();
    let deadline = begun + turn;
    let bytes: usize = thread::scope(|scope| {
        let mut receiving = Vec::new();
        for _ in 0..TRANSFERS {
            let sender = TcpStream::connect(to)?;
            let (receiver, _) = listener.accept()?;
            lose(&receiver, LOST_PER_MILLE)?;
            scope.spawn(move || send(sender, deadline));
            receiving.push(scope.spawn(move || receive(receiver, deadline)));
        }
        let received = receiving.into_iter().map(|thread| thread.join().unwrap_or(0));
        anyhow::Ok(received.sum())
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    // The namespace is new, so all that it counts is of this turn.
    let resent = resent()?;
    Ok(Transferred { bytes_per_s: bytes as f64 / seconds, resent_per_s: resent / seconds })
}

fn send(mut sender: TcpStream, deadline: Instant) {
    let chunk = vec![1; CHUNK];
    if sender.set_write_timeout(Some(LOOK)).is_ok() {
        while Instant::now() < deadline {
            // What has no room yet is tried again.
            let _ = sender.write(&chunk);
        }
    }
}

/// Bytes that arrived until the deadline.
fn receive(mut receiver: TcpStream, deadline: Instant) -> usize {
    let (mut chunk, mut bytes) = (vec![0; CHUNK], 0);
    if receiver.set_read_timeout(Some(LOOK)).is_ok() {
        while Instant::now() < deadline {
            bytes += receiver.read(&mut chunk).unwrap_or(0);
        }
    }
    bytes
}

/// Segments sent again in the namespace of this thread so far.
fn resent() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp")?;
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("Tcp: ")).map(str::split_whitespace);
    let (names, numbers) = rows.next().zip(rows.next()).context("the kernel counts nothing of TCP")?;
    let found = names.zip(numbers).find(|(name, _)| *name == "RetransSegs");
    Ok(found.context("the kernel does not count what is sent again")?.1.parse()?)
}

/// Floods of connects to where nobody listens: every one is a failure, and a reset.
fn failures(stage: &Stage, plan: &Plan) -> Result<()> {
    let observer = Served::start(stage)?;
    let counted = || observer.signal("connect_refused");
    let lost = || observer.sum("observer_events_lost_total{");
    let (mut rates, mut refused_in_all) = (Vec::new(), 0.0);
    let (counted_before, lost_before) = (counted()?, lost()?);
    for _ in 0..plan.rounds {
        let turn = plan.turn;
        let refused = in_namespace(move || flood(turn))?;
        rates.push(refused / turn.as_secs_f64());
        refused_in_all += refused;
    }
    thread::sleep(SETTLED);
    let (counted, lost) = (counted()? - counted_before, lost()? - lost_before);
    let with = "a flood of connects";
    BENCH.tell("refused connects", with, "per second", Spread::of(rates), None)?;
    let share = counted / refused_in_all;
    BENCH.tell("refused connects that are counted", with, "of all", share, Some(Budget::AtLeast(1.0)))?;
    BENCH.tell("events known to be lost", with, "in all", lost, Some(Budget::AtMost(0.0)))
}

/// How many connects were refused in a turn.
fn flood(turn: Duration) -> Result<f64> {
    let deadline = Instant::now() + turn;
    let refuse = || {
        let mut refused = 0_u64;
        while Instant::now() < deadline {
            let error = TcpStream::connect((Ipv4Addr::LOCALHOST, CLOSED)).err();
            refused += u64::from(error.and_then(|error| error.raw_os_error()) == Some(libc::ECONNREFUSED));
        }
        refused
    };
    let refused: u64 = thread::scope(|scope| {
        let flooders: Vec<_> = (0..FLOODERS).map(|_| scope.spawn(refuse)).collect();
        flooders.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
    });
    Ok(refused as f64)
}

/// Does something in a new network namespace, which ends with it. What it starts is there as well.
fn in_namespace<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let thread = thread::spawn(move || {
        netns::create()?;
        netns::loopback_up()?;
        work()
    });
    thread.join().unwrap_or_else(|_| bail!("a thread of process {} died", process::id()))
}

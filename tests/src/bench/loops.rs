//! What is left of two loops that have nothing to do with connections: a system call, and a bulk transfer.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::unistd::getppid;

use super::{Bench, Budget, Plan, paired::take_turns, rivals::Rival};
use crate::stage::Stage;

pub const BENCH: Bench =
    Bench { name: "loops", about: "a getppid loop and a bulk transfer over loopback, on over off", play };

/// Calls between two looks at the clock.
const CALLS: u64 = 1_000;
const CHUNK: usize = 64 * 1024;

fn play(stage: &Stage, plan: &Plan) -> Result<()> {
    let ratios = take_turns(stage, plan, &[Rival::Nothing, Rival::Observer], None, || {
        Ok(vec![calls_per_s(plan.turn / 2), bulk_bytes_per_s(plan.turn / 2)?])
    })?;
    for ratios in ratios {
        // More calls, and not less time, are counted: the budget is its inverse.
        let budget = (ratios.rival == Rival::Observer).then_some(Budget::AtLeast(1.0 / 1.01));
        let quantities = [("getppid calls/s", budget), ("bulk bytes/s", None)];
        for ((what, budget), spread) in quantities.into_iter().zip(ratios.quantities) {
            BENCH.tell(what, ratios.rival.name(), "on/off", spread, budget)?;
        }
    }
    Ok(())
}

/// Calls of getppid per second.
pub fn calls_per_s(length: Duration) -> f64 {
    let (begun, mut calls) = (Instant::now(), 0);
    while begun.elapsed() < length {
        for _ in 0..CALLS {
            std::hint::black_box(getppid());
        }
        calls += CALLS;
    }
    calls as f64 / begun.elapsed().as_secs_f64()
}

fn bulk_bytes_per_s(length: Duration) -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (mut receiver, _) = listener.accept()?;
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut chunk = vec![0; CHUNK];
            while receiver.read(&mut chunk).is_ok_and(|bytes| bytes > 0) {}
        });
        let chunk = vec![1; CHUNK];
        let (begun, mut bytes) = (Instant::now(), 0_usize);
        while begun.elapsed() < length {
            sender.write_all(&chunk)?;
            bytes += chunk.len();
        }
        let rate = bytes as f64 / begun.elapsed().as_secs_f64();
        drop(sender);
        Ok(rate)
    })
}

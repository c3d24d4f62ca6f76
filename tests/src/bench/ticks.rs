//! How long a tick takes, and how many come late, when nothing goes on and under load.
//!
//! Of its looks observer tells the slowest of ten seconds. How the others went is read off the scheduler's account of
//! the thread that looks: looks are a tenth of a second apart and take a fraction of it, so between two of them its
//! time stands still.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};

use super::{
    Bench, Budget, Plan, crowds,
    served::Served,
    web::{Load, Web},
};
use crate::stage::Stage;

pub const BENCH: Bench =
    Bench { name: "ticks", about: "duration of ticks and how many come late, idle and under load", play };

/// Late ticks against all.
pub const LATE: Budget = Budget::AtMost(0.001);
/// Time between two looks at the account, and how many of them have to find it unmoved between two ticks. Who waits for a
/// CPU is charged when he has got one, so within a tick it may stand still as well.
const PERIOD: Duration = Duration::from_millis(5);
const REST: u32 = 8;
const SOCKETS: u32 = 100_000;
/// The slowest look is told of that often.
const TOLD_EVERY: Duration = Duration::from_secs(10);

fn play(stage: &Stage, plan: &Plan) -> Result<()> {
    let web = Web::start(stage)?;
    let observer = Served::start(stage)?;
    let length = (plan.turn * u32::try_from(plan.rounds)?).max(TOLD_EVERY);
    let idle = || {
        thread::sleep(length);
        Ok(())
    };
    measure(&observer, "idle", idle)?;
    measure(&observer, Load::ConnectionPerRequest.name(), || {
        let begun = Instant::now();
        while begun.elapsed() < length {
            web.turn(Load::ConnectionPerRequest, plan)?;
        }
        Ok(())
    })?;
    let _crowd = crowds::sockets(stage, SOCKETS, None)?;
    thread::sleep(crowds::SETTLING);
    measure(&observer, "idle, 100,000 sockets", idle)
}

fn measure(observer: &Served, when: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = observer.ticks()?;
    let took_ms = ticks_ms(observer.pid(), work)?;
    let late = observer.ticks()?.late_since(before);
    // It has been told within the last ten seconds, and says what the ten before were like.
    let slowest = observer.sum("observer_collector_duration_seconds{collector=\"looks\"}")?;
    BENCH.tell_quantiles("a tick, on a CPU or waiting for one", when, "ms", took_ms, None)?;
    BENCH.tell(
        "the slowest tick of ten seconds, by observer's own clock",
        when,
        "ms",
        slowest * 1e3,
        None,
    )?;
    BENCH.tell("late ticks", when, "of all", late, Some(LATE))
}

/// How long each tick took while `work` was done.
fn ticks_ms(thread: u32, work: impl FnOnce() -> Result<()>) -> Result<Vec<f64>> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(thread, &over));
        let worked = work();
        over.store(true, Ordering::Relaxed);
        let ticks = watcher.join().map_err(|_| anyhow!("whoever watched the ticks died"))??;
        worked.map(|()| ticks)
    })
}

fn watch(thread: u32, over: &AtomicBool) -> Result<Vec<f64>> {
    let mut bursts = Bursts::beginning_at(scheduled_ns(thread)?);
    while !over.load(Ordering::Relaxed) {
        thread::sleep(PERIOD);
        bursts.enter(scheduled_ns(thread)?);
    }
    Ok(bursts.ended_ns.into_iter().map(|ns| ns as f64 / 1e6).collect())
}

/// Time that a thread has been on a CPU or has waited for one: the first two numbers of its schedstat.
fn scheduled_ns(thread: u32) -> Result<u64> {
    let path = format!("/proc/{thread}/task/{thread}/schedstat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let numbers = text.split_whitespace().take(2).map(str::parse::<u64>);
    numbers.sum::<Result<u64, _>>().with_context(|| format!("{path} holds {text:?}"))
}

/// An account that moves and then stands still for a while, which is one burst.
struct Bursts {
    latest_ns: u64,
    /// Looks since it moved.
    still: u32,
    /// The burst that goes on; none before the first rest, since what goes on then is of unknown beginning.
    going_on_ns: Option<u64>,
    ended_ns: Vec<u64>,
}

impl Bursts {
    fn beginning_at(account_ns: u64) -> Self {
        Self { latest_ns: account_ns, still: 0, going_on_ns: None, ended_ns: Vec::new() }
    }

    fn enter(&mut self, account_ns: u64) {
        let moved_ns = account_ns.saturating_sub(self.latest_ns);
        self.latest_ns = account_ns;
        if moved_ns > 0 {
            self.still = 0;
            if let Some(burst) = &mut self.going_on_ns {
                *burst += moved_ns;
            }
            return;
        }
        self.still += 1;
        if self.still == REST {
            let ended = self.going_on_ns.replace(0);
            self.ended_ns.extend(ended.filter(|burst| *burst > 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bursts, REST};

    #[test]
    fn a_burst_lies_between_two_rests() {
        let mut bursts = Bursts::beginning_at(100);
        let rest = |at: u64| vec![at; REST as usize];
        // It waits for a CPU in the middle of the second, which is accounted for when it has got one.
        for account_ns in
            [vec![101, 102], rest(102), vec![103, 105], rest(105), vec![106, 106, 109], rest(109)]
        {
            account_ns.into_iter().for_each(|account_ns| bursts.enter(account_ns));
        }
        bursts.enter(110);
        // What went on at the beginning and at the end is of unknown length.
        assert_eq!(bursts.ended_ns, [3, 4]);
    }
}

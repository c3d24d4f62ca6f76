//! The places where the lab runs: this host, and virtual machines with kernels from old to new.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::accuracy;
use crate::build;
use crate::doctor;
use crate::kernels;
use crate::lab;
use crate::packages;
use crate::place::Place;
use crate::process;
use crate::progress::{stage, step};
use crate::prometheus;
use crate::results::{Outcome, Tally};
use crate::setup;
use crate::tree::Tree;

/// How many machines run at the same time. Each of them is one busy thread, and the lab measures times: three would
/// disturb each other even where there are processors for them.
const MACHINES: usize = 2;

/// Which part of the matrix runs.
pub struct Plan<'a> {
    /// The kernels of the virtual machines.
    pub kernels: Vec<&'static str>,
    /// Leave the virtual machines out.
    pub no_vm: bool,
    /// Leave this host out.
    pub no_host: bool,
    /// Only the scenarios whose name contains this.
    pub filter: Option<&'a str>,
}

impl Plan<'_> {
    /// Runs the lab everywhere, first on the host. It needs static binaries: the same ones run at all places.
    pub fn run(&self, tree: &Tree, tally: &Tally) {
        if let Err(error) = stage("set-up: static binaries", || setup::static_binaries(tree)) {
            tally.record(&Place::Host.name(), "lab", skipped(&error));
            return self.skip_machines(tally, &skipped(&error));
        }
        if !tally.stage("build", "static binaries", || build::static_binaries(tree)) {
            return;
        }
        match lab::scenarios(tree, self.filter) {
            Ok(none) if none.is_empty() => step("no scenario of the lab has such a name"),
            Ok(scenarios) => {
                if !self.no_host {
                    self.on_host(tree, &scenarios, tally);
                }
                self.in_machines(tree, &scenarios, tally);
            }
            Err(error) => tally.record("build", "lab", Outcome::Failed(format!("{error:#}"))),
        }
    }

    fn on_host(&self, tree: &Tree, scenarios: &[String], tally: &Tally) {
        if process::is_root() {
            if let Err(error) = stage("set-up: Prometheus", || prometheus::ensure(tree)) {
                step(format!("its scenarios cannot run: {error:#}"));
            }
            self.at(Place::Host, tree, scenarios, tally);
        } else {
            let reason = "it needs root: run cargo xtask as root".to_owned();
            tally.record(&Place::Host.name(), "lab", Outcome::Skipped(reason));
        }
    }

    fn in_machines(&self, tree: &Tree, scenarios: &[String], tally: &Tally) {
        if self.no_vm {
            return self.skip_machines(tally, &Outcome::Skipped("--no-vm was given".to_owned()));
        }
        if let Err(error) = stage("set-up: virtual machines", || packages::ensure(packages::VIRTUAL_MACHINE))
        {
            return self.skip_machines(tally, &skipped(&error));
        }
        let fetched = |kernel: &&'static str| match kernels::ensure(tree, kernel) {
            Ok(_) => true,
            Err(error) => {
                tally.record(&Place::Machine(kernel).name(), "lab", skipped(&error));
                false
            }
        };
        let ready: Vec<_> = self.kernels.iter().copied().filter(fetched).collect();
        at_the_same_time(&ready, machines_at_once(), |kernel| {
            self.at(Place::Machine(kernel), tree, scenarios, tally);
        });
    }

    /// Runs everything at one place. What only a part of the lab gives is not kept.
    fn at(&self, place: Place, tree: &Tree, scenarios: &[String], tally: &Tally) {
        let name = place.name();
        if self.filter.is_some() {
            tally.stage(&name, "lab", || lab::run(tree, place, scenarios, tally).map(drop));
            return;
        }
        tally.stage(&name, "doctor", || {
            accuracy::forget(tree, place)?;
            accuracy::keep_load(tree, place, &doctor::run(tree, place)?)?;
            tally.record(&name, "doctor", Outcome::Passed);
            Ok(())
        });
        tally.stage(&name, "lab", || {
            accuracy::keep_counts(tree, place, &lab::run(tree, place, scenarios, tally)?)
        });
    }

    fn skip_machines(&self, tally: &Tally, outcome: &Outcome) {
        for kernel in &self.kernels {
            tally.record(&Place::Machine(kernel).name(), "lab", outcome.clone());
        }
    }
}

/// An error as the reason of a skip: on one line.
pub fn skipped(error: &anyhow::Error) -> Outcome {
    let reason = format!("{error:#}");
    Outcome::Skipped(reason.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Two processors for each: a machine that has to wait for one is late with everything, and tests that look at
/// time begin to see the host's load.
fn machines_at_once() -> usize {
    (thread::available_parallelism().map_or(1, NonZero::get) / 2).clamp(1, MACHINES)
}

/// Works on all items, on some of them at the same time, and begins them in their order.
fn at_the_same_time<T: Copy + Send + Sync>(items: &[T], workers: usize, work: impl Fn(T) + Sync) {
    let queue = Mutex::new(items.iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(item) = next() {
                    work(*item);
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn two_work_at_the_same_time_and_every_item_is_worked_on_once() {
        let meeting = Barrier::new(2);
        let sum = AtomicUsize::new(0);
        at_the_same_time(&[1, 2, 4, 8], 2, |item| {
            // Nobody passes alone.
            meeting.wait();
            sum.fetch_add(item, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 15);
    }

    #[test]
    fn a_reason_is_one_line() {
        let error = anyhow::anyhow!("E: no such suite\nE: sorry").context("kernel 5.10 could not be fetched");
        let reason = "kernel 5.10 could not be fetched: E: no such suite E: sorry".to_owned();
        assert_eq!(skipped(&error), Outcome::Skipped(reason));
    }
}

//! How much of a CPU looking may take. Above that the looks are further apart: what the kernel counts is not lost by
//! that, only told less exactly.

use super::clock::mono_ns;
use crate::{
    core::frame::SourceStatus,
    sources::{Pace, Stopwatch},
};

/// The looks are that far apart when they cost little.
const TICK_NS: u64 = 100_000_000;

/// The cost of looking, and when the next look may be.
pub(super) struct Effort {
    pace: Pace,
    share: u64,
    took_ns: u64,
    /// Whether the latest look was so dear that a tick has to be left out.
    steps_down: bool,
}

impl Effort {
    /// At most one in `share` of a CPU.
    pub(super) const fn at_most_one_in(share: u64) -> Self {
        Self { pace: Pace::every_ms(0).at_most_one_in(share), share, took_ns: 0, steps_down: false }
    }

    /// Whether it is time to look again, as far as the cost goes.
    pub(super) fn allows_look(&self) -> bool {
        self.pace.is_due(mono_ns())
    }

    /// A look begins.
    pub(super) fn begins() -> Stopwatch {
        Stopwatch::start(&mono_ns)
    }

    /// It is over. Only its CPU time counts: on a machine that is busy with the test it waits for its turn as well.
    pub(super) fn ended(&mut self, watch: Stopwatch) {
        let cost = watch.cost(&mono_ns);
        self.took_ns = cost.wall_ns();
        self.steps_down = cost.cpu_ns().saturating_mul(self.share) > TICK_NS;
        self.pace.ran_at(watch.started_ns(), cost.of_cpu());
    }

    /// How the latest look went, as a source of its own.
    pub(super) fn status(&self) -> SourceStatus {
        let error = || {
            let percent = 100.0 / self.share as f64;
            format!(
                "there are fewer than ten looks a second: they would take more than {percent} % of a CPU (--max-cpu)"
            )
        };
        SourceStatus { source: "looks".into(), duration_ns: self.took_ns, error: self.steps_down.then(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_is_too_dear_puts_off_the_next_and_says_so() {
        let mut effort = Effort::at_most_one_in(1_000_000);
        assert!(effort.allows_look() && effort.status().error.is_none());
        let watch = Effort::begins();
        // A millisecond of CPU time and more, for each of which a thousand seconds have to pass.
        let mut sum = 0_u64;
        while watch.cost(&mono_ns).cpu_ns() < 1_000_000 {
            sum = std::hint::black_box(sum + 1);
        }
        effort.ended(watch);
        assert!(!effort.allows_look());
        let error = effort.status().error.expect("it steps down");
        assert!(error.contains("more than 0.0001 % of a CPU"), "{error}");
    }
}

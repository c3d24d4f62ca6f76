//! Counts over time, in bins of 100 ms, and wider ones the longer ago: what is kept is bounded.

use std::collections::VecDeque;

use super::BIN_NS;
use crate::core::ledger::Increment;

/// Time between two reads from which on what happened in between is spread over it.
const SELDOM_NS: u64 = 2 * BIN_NS;
/// Bins that it is spread over, at most.
const SPREAD_BINS: u64 = 100;

/// What a stream counted, and when.
#[derive(Debug, Default)]
pub struct Bins {
    /// Those in which something happened, oldest first; they do not overlap.
    spans: VecDeque<Span>,
    /// In all bins, and in those that were forgotten.
    total: u64,
}

/// One bin, or several neighbours that became one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    /// The first bin: CLOCK_MONOTONIC in units of [`BIN_NS`].
    from: u64,
    /// The first bin after it.
    to: u64,
    count: u64,
}

impl Span {
    /// What of it falls before a bin, as if it had come evenly.
    fn before(&self, bin: u64) -> u64 {
        let width = u128::from(self.to - self.from);
        let part = u128::from(bin.clamp(self.from, self.to) - self.from);
        (u128::from(self.count) * part / width) as u64
    }

    fn between(&self, from: u64, to: u64) -> u64 {
        self.before(to) - self.before(from)
    }
}

impl Bins {
    /// Enters what happened between two reads: in the bin of its last occurrence, or evenly where the reads
    /// are seldom. A counter that is read once a second did not move at the instant of the read.
    pub fn enter(&mut self, increment: &Increment) {
        let last = increment.last_ns / BIN_NS;
        let seldom = increment.last_ns.saturating_sub(increment.first.lo_ns) > SELDOM_NS;
        let first = (increment.first.lo_ns / BIN_NS + 1).max(last.saturating_sub(SPREAD_BINS));
        let first = if seldom { first } else { last };
        let spread = Span { from: first, to: last + 1, count: increment.events };
        for bin in first..=last {
            self.add(bin, spread.between(bin, bin + 1));
        }
        self.total = self.total.saturating_add(increment.events);
    }

    /// Adds what was counted before there were any bins.
    pub fn take_over(&mut self, count: u64) {
        self.total = self.total.saturating_add(count);
    }

    /// All that was ever counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    fn add(&mut self, bin: u64, count: u64) {
        if count == 0 {
            return;
        }
        // Nearly always the last one, or after it.
        let at = match self.spans.back() {
            Some(last) if bin < last.to => self.spans.partition_point(|span| span.to <= bin),
            _ => self.spans.len(),
        };
        match self.spans.get_mut(at) {
            Some(span) if span.from <= bin => span.count = span.count.saturating_add(count),
            _ => {
                // Left to itself it would take twice of what it needs.
                if self.spans.len() == self.spans.capacity() {
                    self.spans.reserve_exact(8 + self.spans.len() / 4);
                }
                self.spans.insert(at, Span { from: bin, to: bin + 1, count });
            }
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// What was counted before a bin.
    pub fn before(&self, bin: u64) -> u64 {
        let since: u64 = self.overlapping(bin, u64::MAX).map(|span| span.between(bin, span.to)).sum();
        self.total.saturating_sub(since)
    }

    /// What was counted from one bin to another, which is not part of it.
    pub fn between(&self, from: u64, to: u64) -> u64 {
        self.overlapping(from, to).map(|span| span.between(from, to)).sum()
    }

    /// Adds what was counted in equal steps of `width` bins to `steps`.
    pub fn add_to_steps(&self, from: u64, width: u64, steps: &mut [u64]) {
        for span in self.overlapping(from, from + width * steps.len() as u64) {
            let first = span.from.max(from) - from;
            for step in first / width..(span.to - from).div_ceil(width).min(steps.len() as u64) {
                let begins = from + step * width;
                steps[step as usize] += span.between(begins, begins + width);
            }
        }
    }

    fn overlapping(&self, from: u64, to: u64) -> impl Iterator<Item = &Span> {
        let first = self.spans.partition_point(|span| span.to <= from);
        self.spans.range(first..).take_while(move |span| span.from < to)
    }

    /// Forgets the course before a bin; the total stays.
    pub fn forget_before(&mut self, bin: u64) {
        let gone = self.spans.partition_point(|span| span.to <= bin);
        self.spans.drain(..gone);
        if let Some(span) = self.spans.front_mut().filter(|span| span.from < bin) {
            *span = Span { from: bin, to: span.to, count: span.between(bin, span.to) };
        }
    }

    /// Makes neighbours of the older half one, until there are at most so many. Those that `is_kept` stay as
    /// they are, and pauses stay pauses, as long as that suffices.
    pub fn thin(&mut self, at_most: usize, is_kept: impl Fn(u64) -> bool) {
        while self.spans.len() > at_most.max(4) {
            let enough = self.spans.len() * 7 / 8;
            self.merge_older_half(|one, next| {
                let pause = next.from - one.to;
                pause <= next.to - one.from - pause && !is_kept(one.from) && !is_kept(next.to - 1)
            });
            if self.spans.len() > enough {
                self.merge_older_half(|_, _| true);
            }
        }
    }

    /// Makes one of each pair in the older half that may be one, where they are: a copy would take as much again.
    fn merge_older_half(&mut self, may: impl Fn(&Span, &Span) -> bool) {
        let older = self.spans.len() / 2;
        let spans = self.spans.make_contiguous();
        let (mut read, mut written) = (0, 0);
        while read < older {
            let one = spans[read];
            let next = spans[..older].get(read + 1).filter(|next| may(&one, next));
            read += 1 + usize::from(next.is_some());
            spans[written] = next.map_or(one, |next| Span {
                to: next.to,
                count: one.count.saturating_add(next.count),
                ..one
            });
            written += 1;
        }
        spans.copy_within(older.., written);
        self.spans.truncate(self.spans.len() - (older - written));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::{frame::Tier, ledger::Bracket, subject::Subject};
    use observer_common::Signal;

    fn counted(bin: u64, events: u64) -> Increment {
        let at_ns = bin * BIN_NS;
        Increment {
            signal: Signal::ConnectAttempt,
            subject: Subject::HOST,
            tier: Tier::Trampoline,
            generator: false,
            events,
            first: Bracket { lo_ns: at_ns, hi_ns: at_ns },
            last_ns: at_ns,
        }
    }

    fn bins(counts: &[(u64, u64)]) -> Bins {
        let mut bins = Bins::default();
        counts.iter().for_each(|(bin, events)| bins.enter(&counted(*bin, *events)));
        bins
    }

    #[test]
    fn what_was_read_seldom_is_spread_and_not_a_spike() {
        let mut spread = Bins::default();
        let first = Bracket { lo_ns: 10 * BIN_NS, hi_ns: 20 * BIN_NS };
        spread.enter(&Increment { first, last_ns: 20 * BIN_NS, ..counted(20, 101) });
        let mut steps = [0; 12];
        spread.add_to_steps(10, 1, &mut steps);
        assert_eq!(steps, [0, 10, 10, 10, 10, 10, 10, 10, 10, 10, 11, 0]);
    }

    #[test]
    fn the_latest_stay_exact_and_what_is_kept_as_well() {
        let mut bins = bins(&(0..1_000).map(|bin| (bin, bin)).collect::<Vec<_>>());
        bins.thin(300, |bin| (100..120).contains(&bin));
        assert!(bins.spans.len() <= 300, "{}", bins.spans.len());
        assert!((900..1_000).chain(100..120).all(|bin| bins.between(bin, bin + 1) == bin));
        assert_eq!(bins.between(0, 1_000), 499_500);
    }

    #[test]
    fn a_pause_stays_a_pause() {
        let mut bins = bins(&(0..100).chain(10_000..10_100).map(|bin| (bin, 1)).collect::<Vec<_>>());
        bins.thin(120, |_| false);
        assert_eq!((bins.between(0, 100), bins.between(100, 10_000)), (100, 0));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_there_are_never_too_many(
            counts in prop::collection::vec((0..5_000_u64, 0..50_u64), 1..400),
            at_most in 4..100_usize,
            cuts in prop::collection::vec(0..6_000_u64, 0..8),
            width in 1..40_u64,
        ) {
            let mut bins = bins(&counts);
            let total: u64 = counts.iter().map(|(_, events)| events).sum();
            bins.thin(at_most, |bin| bin % 7 == 0);
            prop_assert!(bins.spans.len() <= at_most);
            prop_assert!(bins.spans.iter().zip(bins.spans.iter().skip(1)).all(|(one, next)| one.to <= next.from));
            prop_assert_eq!(bins.between(0, 5_000), total);
            let mut steps = vec![0; 5_000_usize.div_ceil(width as usize)];
            bins.add_to_steps(0, width, &mut steps);
            prop_assert_eq!(steps.iter().sum::<u64>(), total);
            for cut in cuts {
                prop_assert_eq!(bins.before(cut) + bins.between(cut, 5_000.max(cut)), total);
                let (before, since) = (bins.before(cut), bins.between(cut, 6_000));
                bins.forget_before(cut);
                prop_assert_eq!((bins.before(cut), bins.between(cut, 6_000)), (before, since));
            }
        }
    }
}

//! Taking turns: each measurement with something on stands between two with everything off, and only their ratio
//! counts. What else goes on on the machine is in both.

use std::{thread, time::Duration};

use anyhow::Result;

use super::{Bench, Budget, Plan, rivals::Rival};
use crate::stage::Stage;

/// How many standard deviations reach to 95 in 100.
const SURE: f64 = 1.96;

/// The kernel is still at work for a moment when something has ended: it frees programs and maps.
pub const CLEARED: Duration = Duration::from_millis(200);

/// The median of some numbers, and how far it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Between this and `high` the median lies, 95 times in 100, whatever the distribution: by the ranks that a fair coin
    /// allows for. With fewer than six numbers these are the smallest and the largest, which is less sure.
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    /// Of at least one number.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let last = values.len() - 1;
        let median = f64::midpoint(values[last / 2], values[last.div_ceil(2)]);
        let count = values.len() as f64;
        // Counted from 0, and from either end.
        let rank = ((count - SURE * count.sqrt()) / 2.0).round().max(1.0) as usize - 1;
        Self { low: values[rank], median, high: values[last - rank] }
    }
}

/// What one rival's turns gave: of each quantity, the ratio to what there was with everything off.
pub struct Ratios {
    pub rival: Rival,
    pub quantities: Vec<Spread>,
}

/// Has all rivals take turns, with everything off before and after each; the same quantities come from every turn. One that
/// is named several times has as many turns in each round. What looks at one network namespace only looks at the one of
/// the process `inside`.
pub fn take_turns(
    stage: &Stage,
    plan: &Plan,
    rivals: &[Rival],
    inside: Option<u32>,
    mut turn: impl FnMut() -> Result<Vec<f64>>,
) -> Result<Vec<Ratios>> {
    // Those of a rival stand where it is named first.
    let mut ratios: Vec<Vec<Vec<f64>>> = vec![Vec::new(); rivals.len()];
    // The first turn warms up.
    turn()?;
    let mut before = turn()?;
    for _ in 0..plan.rounds {
        for rival in rivals {
            let running = rival.start(stage, inside)?;
            let on = turn()?;
            drop(running);
            thread::sleep(CLEARED);
            let after = turn()?;
            let off = before.iter().zip(&after).map(|(before, after)| f64::midpoint(*before, *after));
            let of_it = rivals.iter().zip(&mut ratios).find(|(other, _)| *other == rival);
            if let Some((_, ratios)) = of_it {
                ratios.push(on.iter().zip(off).map(|(on, off)| on / off).collect());
            }
            before = after;
        }
    }
    let of_each = rivals.iter().zip(ratios).filter(|(_, turns)| !turns.is_empty());
    Ok(of_each.map(|(rival, turns)| Ratios { rival: *rival, quantities: spreads(&turns) }).collect())
}

/// What quick turns gave.
pub struct Quick<'a> {
    /// What was on, by name, with what was left of each quantity.
    things: Vec<(&'a str, Vec<Spread>)>,
}

/// Something that is measured in each turn.
pub struct Quantity {
    pub what: String,
    pub budget: Budget,
}

impl Quick<'_> {
    /// Prints what was left of each quantity. The budgets are those of what was named first.
    pub fn tell(&self, bench: &Bench, quantities: &[Quantity]) -> Result<()> {
        for (at, Quantity { what, budget }) in quantities.iter().enumerate() {
            for (number, (thing, left)) in self.things.iter().enumerate() {
                bench.tell(what, *thing, "on/off", left[at], (number == 0).then_some(*budget))?;
            }
        }
        Ok(())
    }
}

/// Has things, by name, and nothing (what the machine does of itself) take so many turns each, with all off before and after
/// each. `turn` has the one that it is told on, or none, which is to be quick: the more turns, and the closer to one another, the
/// less the machine's noise matters.
pub fn quick_turns<'a, T: Copy>(
    turns: usize,
    things: &[(&'a str, T)],
    mut turn: impl FnMut(Option<T>) -> Result<Vec<f64>>,
) -> Result<Quick<'a>> {
    // The first turn warms up.
    turn(None)?;
    let mut before = turn(None)?;
    let with_nothing = things.iter().map(|(name, thing)| (*name, Some(*thing))).chain([("nothing", None)]);
    let things: Vec<_> = with_nothing.collect();
    let mut ratios: Vec<Vec<Vec<f64>>> = vec![Vec::new(); things.len()];
    for _ in 0..turns {
        for ((_, thing), ratios) in things.iter().zip(&mut ratios) {
            let (during, after) = (turn(*thing)?, turn(None)?);
            let around = before.iter().zip(&after).map(|(before, after)| f64::midpoint(*before, *after));
            ratios.push(during.iter().zip(around).map(|(during, around)| during / around).collect());
            before = after;
        }
    }
    let of_each = things.iter().zip(&ratios).map(|((name, _), turns)| (*name, spreads(turns)));
    Ok(Quick { things: of_each.collect() })
}

/// Of each quantity, what the turns gave.
fn spreads(turns: &[Vec<f64>]) -> Vec<Spread> {
    let quantities = turns.first().map_or(0, Vec::len);
    (0..quantities).map(|at| Spread::of(turns.iter().map(|turn| turn[at]).collect())).collect()
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_more_numbers_the_better_the_median_is_known() {
        let spread = Spread::of(vec![4.0, 1.0, 2.0, 3.0]);
        assert_eq!(spread, Spread { low: 1.0, median: 2.5, high: 4.0 });
        assert_eq!(Spread::of(vec![7.0]), Spread { low: 7.0, median: 7.0, high: 7.0 });
        // The ranks that tables give: 2 and 9 of 10, 10 and 21 of 30, 40 and 61 of 100.
        for (count, low, high) in [(10, 2.0, 9.0), (30, 10.0, 21.0), (100, 40.0, 61.0)] {
            let spread = Spread::of((1..=count).map(f64::from).collect());
            assert_eq!((spread.low, spread.high), (low, high));
        }
    }
}

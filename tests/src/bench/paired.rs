//! Taking turns: each measurement with something on stands between two with everything off, and only their ratio
//! counts. What else goes on on the machine is in both.

use anyhow::Result;

use super::{Plan, rivals::Rival};
use crate::stage::Stage;

/// Median and quartiles of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    /// Of at least one number.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (values.len() - 1) as f64;
            let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Self { low: at(0.25), median: at(0.5), high: at(0.75) }
    }
}

/// What one rival's turns gave: of each quantity, the ratio to what there was with everything off.
pub struct Ratios {
    pub rival: Rival,
    pub quantities: Vec<Spread>,
}

/// Has all rivals take turns, `off` before and after each; the same quantities come from every turn. What looks at one
/// network namespace only looks at the one of the process `inside`.
pub fn take_turns(
    stage: &Stage,
    plan: &Plan,
    rivals: &[Rival],
    inside: Option<u32>,
    mut turn: impl FnMut() -> Result<Vec<f64>>,
) -> Result<Vec<Ratios>> {
    let mut ratios: Vec<Vec<Vec<f64>>> = vec![Vec::new(); rivals.len()];
    // The first turn warms up.
    turn()?;
    let mut before = turn()?;
    for _ in 0..plan.rounds {
        for (rival, ratios) in rivals.iter().zip(&mut ratios) {
            let running = rival.start(stage, inside)?;
            let on = turn()?;
            drop(running);
            let after = turn()?;
            let off = before.iter().zip(&after).map(|(before, after)| f64::midpoint(*before, *after));
            ratios.push(on.iter().zip(off).map(|(on, off)| on / off).collect());
            before = after;
        }
    }
    let spreads = |turns: Vec<Vec<f64>>| {
        let quantities = turns.first().map_or(0, Vec::len);
        (0..quantities).map(|at| Spread::of(turns.iter().map(|turn| turn[at]).collect())).collect()
    };
    Ok(rivals
        .iter()
        .zip(ratios)
        .map(|(rival, turns)| Ratios { rival: *rival, quantities: spreads(turns) })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn quartiles_lie_between_the_values() {
        let spread = Spread::of(vec![4.0, 1.0, 2.0, 3.0]);
        assert_eq!(spread, Spread { low: 1.75, median: 2.5, high: 3.25 });
        assert_eq!(Spread::of(vec![7.0]), Spread { low: 7.0, median: 7.0, high: 7.0 });
    }
}

//! Cuts a course into straight pieces: the fewest that explain it.
//!
//! Dynamic programming over a grid of instants finds where to cut at the least distance from the lines
//! plus a price per free value, as the Bayesian information criterion sets it. It knows of jumps only.
//! Then the outline is improved step by step: cuts move to where they fit best, pieces become level or
//! join without a jump, are merged, or give room to a level piece between two slopes.

use super::{
    course::Course,
    fit::{Distance, Fits},
    outline::{Outline, Piece},
};

/// Instants among which cuts are looked for first: the search takes their square.
const GRID: usize = 300;
/// Rounds in which the outline is improved, at most.
const ROUNDS: usize = 6;
/// Pieces on either side that a change is judged with: it moves two cuts, and their pieces have neighbours.
const NEAR: usize = 4;
/// The longest move of a cut, as a fraction of what is near.
const REACH: usize = 16;

/// Cuts the course; no piece inside it is shorter than `shortest` steps.
pub(super) fn pieces(course: &Course, shortest: usize) -> Vec<Piece> {
    if course.values.is_empty() {
        return Vec::new();
    }
    // How much a step varies depends on its level, which the pieces tell: so there are two passes.
    let rough = Cutter::new(course, &course.surroundings(shortest), shortest);
    let means = means(&rough.outline().pieces(&rough.fits));
    let cutter = Cutter::new(course, &means, shortest);
    cutter.improved(cutter.outline()).pieces(&cutter.fits)
}

/// What the pieces expect of each step.
fn means(pieces: &[Piece]) -> Vec<f64> {
    let along = |piece: &Piece| {
        let (piece, slope) = (*piece, (piece.to - piece.from) / piece.len() as f64);
        (0..piece.len()).map(move |step| piece.from + slope * (step as f64 + 0.5))
    };
    pieces.iter().flat_map(along).collect()
}

/// Rounding, in variances: what is nearer than this to being better is looked at.
const ROUNDING: f64 = 1e-3;

/// The search for the best cuts up to each instant of the grid.
struct Search {
    /// Of each instant so far: cost of the best outline that ends there, and where its last piece begins.
    best: Vec<(f64, usize)>,
    /// Of each instant so far: what a piece that begins there is at least distant from any line. It never falls as
    /// the piece grows, so that most pieces need not be fitted to be known for too dear.
    least: Vec<f64>,
}

impl Default for Search {
    fn default() -> Self {
        Self { best: vec![(0.0, 0)], least: Vec::new() }
    }
}

impl Search {
    /// Goes on to the last instant of the grid.
    fn extend(&mut self, cutter: &Cutter, grid: &[usize]) {
        let Self { best, least } = self;
        let to = grid.len() - 1;
        let cost = |from: usize| {
            let distance = cutter.fits.distance(grid[from], grid[to]);
            (best[from].0 + cutter.line_at(&distance, grid[from], grid[to]).1, distance.of_slope())
        };
        let newest = cutter.fits.distance(grid[to - 1], grid[to]).of_slope();
        least.push(0.0);
        // The last piece mostly begins where it did one instant before.
        let likely = best[to - 1].1;
        let mut found = (cost(likely).0, likely);
        for from in 0..to {
            least[from] += newest;
            let at_least = best[from].0 + least[from] + 2.0 * cutter.price;
            if at_least > found.0 + ROUNDING || !cutter.is_long_enough(grid[from], grid[to]) {
                continue;
            }
            let (cost, distance) = cost(from);
            least[from] = least[from].max(distance);
            if cost < found.0 || cost == found.0 && from < found.1 {
                found = (cost, from);
            }
        }
        best.push(found);
    }
}

struct Cutter {
    fits: Fits,
    shortest: usize,
    /// Price of a free value, in variances.
    price: f64,
}

impl Cutter {
    fn new(course: &Course, means: &[f64], shortest: usize) -> Self {
        let fits = Fits::new(&course.values, &course.variances(means));
        let price = (fits.len() as f64).ln().max(1.0);
        Self { fits, shortest, price }
    }

    /// Whether a stretch is sloped or level at its best, and its distance and price.
    fn best_line(&self, start: usize, end: usize) -> (bool, f64) {
        self.line_at(&self.fits.distance(start, end), start, end)
    }

    /// The same where the distance is known.
    fn line_at(&self, distance: &Distance, start: usize, end: usize) -> (bool, f64) {
        // Where it is cut and its level, or both of its ends.
        let level = distance.of_level() + 2.0 * self.price;
        let sloped = distance.of_slope() + 3.0 * self.price;
        if sloped < level && end - start >= self.shortest { (true, sloped) } else { (false, level) }
    }

    /// The best outline of jumps on the grid.
    fn outline(&self) -> Outline {
        let length = self.fits.len();
        let pitch = length.div_ceil(GRID);
        let grid: Vec<usize> = (0..length).step_by(pitch).chain([length]).collect();
        let mut search = Search::default();
        for to in 1..grid.len() {
            search.extend(self, &grid[..=to]);
        }
        let best = search.best;
        let mut cuts = vec![length];
        let mut at = grid.len() - 1;
        while at > 0 {
            at = best[at].1;
            cuts.push(grid[at]);
        }
        cuts.reverse();
        let sloped: Vec<bool> = cuts.windows(2).map(|pair| self.best_line(pair[0], pair[1]).0).collect();
        Outline { bends: vec![false; sloped.len()], cuts, sloped }
    }

    fn is_long_enough(&self, start: usize, end: usize) -> bool {
        start == 0 || end == self.fits.len() || end - start >= self.shortest
    }

    fn score(&self, outline: &Outline) -> f64 {
        if outline.is_valid(self.shortest, self.fits.len()) {
            outline.score(&self.fits, self.price)
        } else {
            f64::INFINITY
        }
    }

    /// The outline after all changes that make it better.
    fn improved(&self, mut outline: Outline) -> Outline {
        for _ in 0..ROUNDS {
            let mut is_better = false;
            let mut piece = 0;
            while piece < outline.len() {
                is_better |= self.improve_around(&mut outline, piece);
                piece += 1;
            }
            if !is_better {
                break;
            }
        }
        outline
    }

    /// Makes the best change to a piece, if there is one. Only what is near is looked at: a change is
    /// hardly felt beyond, and so the cost grows with the pieces, not with their square.
    fn improve_around(&self, outline: &mut Outline, piece: usize) -> bool {
        let pieces = piece.saturating_sub(NEAR)..(piece + NEAR + 1).min(outline.len());
        let window = outline.window(pieces.clone());
        let (mut best, mut score) = (None, self.score(&window));
        for mut changed in self.changes(&window, piece - pieces.start) {
            let changed_score = self.settle(&mut changed, piece - pieces.start);
            if changed_score < score {
                (best, score) = (Some(changed), changed_score);
            }
        }
        let is_better = best.is_some();
        if let Some(best) = best {
            outline.replace(pieces, best);
        }
        is_better
    }

    /// What could be done about a piece and where it begins.
    fn changes(&self, outline: &Outline, piece: usize) -> Vec<Outline> {
        let changed = |change: &dyn Fn(&mut Outline)| {
            let mut outline = outline.clone();
            change(&mut outline);
            outline
        };
        let mut changes = vec![outline.clone(), changed(&|it| it.sloped[piece] ^= true)];
        if outline.sloped[piece] {
            changes.push(changed(&|it| it.split_by_step(piece)));
        }
        if piece > 0 {
            changes.push(changed(&|it| it.bends[piece] ^= true));
            changes.push(changed(&|it| it.join_by_slope(piece)));
            changes.push(changed(&|it| it.merge(piece - 1, true)));
            changes.push(changed(&|it| {
                it.merge(piece - 1, true);
                it.join_by_slope(piece - 1);
            }));
            changes.push(changed(&|it| it.merge(piece - 1, false)));
            for reach in [self.shortest.div_ceil(2), self.shortest * 2] {
                changes.push(changed(&|it| it.insert_level(piece, reach)));
            }
        }
        changes
    }

    /// Moves the cuts around a piece to where they fit best, and returns the score.
    fn settle(&self, outline: &mut Outline, piece: usize) -> f64 {
        let mut score = self.score(outline);
        let length = outline.cuts[outline.len()] - outline.cuts[0];
        let mut stride = (length / REACH).max(self.shortest).next_power_of_two();
        while stride > 0 {
            let from = piece.saturating_sub(1).max(1);
            for cut in from..outline.len().min(piece + 3) {
                while self.moves(outline, cut, stride, &mut score) {}
            }
            stride /= 2;
        }
        score
    }

    /// Moves a cut by a stride to either side if that is better.
    fn moves(&self, outline: &mut Outline, cut: usize, stride: usize, score: &mut f64) -> bool {
        let at = outline.cuts[cut];
        for to in [at.saturating_sub(stride), at + stride] {
            outline.cuts[cut] = to;
            let moved = self.score(outline);
            if moved < *score {
                *score = moved;
                return true;
            }
        }
        outline.cuts[cut] = at;
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The best cuts up to each instant, every piece fitted.
    fn exhaustive(cutter: &Cutter, grid: &[usize]) -> Vec<(f64, usize)> {
        let mut best = vec![(0.0, 0)];
        for to in 1..grid.len() {
            let possible = (0..to).filter(|from| cutter.is_long_enough(grid[*from], grid[to]));
            let costs = possible.map(|from| (best[from].0 + cutter.best_line(grid[from], grid[to]).1, from));
            best.push(costs.reduce(|a, b| if b.0 < a.0 { b } else { a }).unwrap_or((f64::INFINITY, 0)));
        }
        best
    }

    proptest! {
        #[test]
        fn what_is_not_fitted_would_not_have_been_better(
            levels in prop::collection::vec((0..500_u32, 1..80_usize, 0..30_u32), 1..6),
            shortest in 1..20_usize,
        ) {
            let noisy = |(level, length, noise): (u32, usize, u32)| {
                (0..length).map(move |step| f64::from(level + noise * (step as u32 * 7_919 % 13)))
            };
            let values: Vec<f64> = levels.into_iter().flat_map(noisy).collect();
            let variances: Vec<f64> = values.iter().map(|value| value.max(1.0)).collect();
            let price = (values.len() as f64).ln().max(1.0);
            let cutter = Cutter { fits: Fits::new(&values, &variances), shortest, price };
            let grid: Vec<usize> = (0..=values.len()).collect();
            let mut search = Search::default();
            (1..grid.len()).for_each(|to| search.extend(&cutter, &grid[..=to]));
            prop_assert_eq!(search.best, exhaustive(&cutter, &grid));
        }
    }
}

//! A course as a chain of straight pieces that bend or jump where they meet, and how well it fits.

use std::ops::Range;

use super::fit::Fits;

/// Change along a piece, as a share of its higher end, that makes it a ramp.
const RAMP_RATIO: f64 = 0.2;

/// The chain.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outline {
    /// Where pieces begin and end, in steps.
    pub(super) cuts: Vec<usize>,
    /// Whether each piece may slope.
    pub(super) sloped: Vec<bool>,
    /// Whether each piece begins where the one before ends; else the course jumps. (The first does
    /// not, or where that does not matter.)
    pub(super) bends: Vec<bool>,
}

/// A straight piece of the course.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Piece {
    /// First step.
    pub(super) start: usize,
    /// The step after the last.
    pub(super) end: usize,
    /// Where its line begins.
    pub(super) from: f64,
    /// Where its line ends; the same when it is level.
    pub(super) to: f64,
}

impl Piece {
    /// Mean of the line.
    pub(super) fn mean(&self) -> f64 {
        f64::midpoint(self.from, self.to)
    }

    /// Where the line is higher.
    pub(super) fn top(&self) -> f64 {
        self.from.max(self.to)
    }

    /// Length in steps.
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }
}

/// Whether a load that goes from one rate to the other is a ramp to a reader of the chart.
pub(super) fn is_steep(from: f64, to: f64) -> bool {
    (from - to).abs() >= RAMP_RATIO * from.max(to)
}

impl Outline {
    /// Number of pieces.
    pub(super) fn len(&self) -> usize {
        self.sloped.len()
    }

    /// Puts one piece in the place of two.
    pub(super) fn merge(&mut self, piece: usize, sloped: bool) {
        self.cuts.remove(piece + 1);
        self.sloped.remove(piece + 1);
        self.bends.remove(piece + 1);
        self.sloped[piece] = sloped;
    }

    /// Makes a slope of a piece that goes from the end of the one before to the beginning of the next.
    pub(super) fn join_by_slope(&mut self, piece: usize) {
        self.sloped[piece] = true;
        self.bends[piece] = piece > 0;
        if let Some(bends) = self.bends.get_mut(piece + 1) {
            *bends = true;
        }
    }

    /// Makes two steps of a piece.
    pub(super) fn split_by_step(&mut self, piece: usize) {
        let middle = usize::midpoint(self.cuts[piece], self.cuts[piece + 1]);
        self.cuts.insert(piece + 1, middle);
        self.sloped.splice(piece..=piece, [false, false]);
        self.bends.splice(piece..=piece, [false, false]);
        if let Some(bends) = self.bends.get_mut(piece + 2) {
            *bends &= self.sloped[piece + 2];
        }
    }

    /// Puts a level piece around the beginning of a piece.
    pub(super) fn insert_level(&mut self, piece: usize, reach: usize) {
        let cut = self.cuts[piece];
        self.cuts[piece] = cut.saturating_sub(reach);
        self.cuts.insert(piece + 1, cut + reach);
        self.sloped.insert(piece, false);
        self.bends.insert(piece, true);
    }

    /// Some of the pieces, as an outline of their stretch.
    pub(super) fn window(&self, pieces: Range<usize>) -> Self {
        Self {
            cuts: self.cuts[pieces.start..=pieces.end].to_vec(),
            sloped: self.sloped[pieces.clone()].to_vec(),
            bends: self.bends[pieces].to_vec(),
        }
    }

    /// Puts an outline of the same stretch in the place of some pieces.
    pub(super) fn replace(&mut self, pieces: Range<usize>, by: Self) {
        self.cuts.splice(pieces.start..=pieces.end, by.cuts);
        self.sloped.splice(pieces.clone(), by.sloped);
        self.bends.splice(pieces, by.bends);
    }

    /// Whether no piece is too short. Those at either end of the course may be as short as they like, when
    /// they are level: a tool that starts up, a load that has ended.
    pub(super) fn is_valid(&self, shortest: usize, length: usize) -> bool {
        (0..self.len()).all(|piece| {
            let (start, end) = (self.cuts[piece], self.cuts[piece + 1]);
            let is_whole = start == 0 && end == length;
            let is_at_end = (start == 0 || end == length) && !self.sloped[piece];
            start < end && (is_whole || is_at_end || end - start >= shortest)
        })
    }

    /// Distance from the course, plus the price of what was free to choose.
    pub(super) fn score(&self, fits: &Fits, price: f64) -> f64 {
        let (distance, nodes) = self.solve(fits);
        distance + price * (self.freedom() + self.oddities(&nodes)) as f64
    }

    /// Number of values that were free to choose: where it is cut, and the levels between.
    fn freedom(&self) -> usize {
        let slopes = self.sloped.iter().filter(|sloped| **sloped).count();
        let jumps = self.bends.iter().filter(|bends| !**bends).count();
        slopes + jumps + self.len() - 1
    }

    /// Number of things that nobody tells a load tool to do: slopes that are hardly any, and jumps where
    /// a slope begins or ends.
    fn oddities(&self, nodes: &[f64]) -> usize {
        let is_flat = |(from, to): (usize, usize)| from != to && !is_steep(nodes[from], nodes[to]);
        let flat = self.nodes().into_iter().filter(|ends| is_flat(*ends)).count();
        let is_odd = |piece: &usize| !self.bends[*piece] && (self.sloped[piece - 1] || self.sloped[*piece]);
        flat + (1..self.len()).filter(is_odd).count()
    }

    /// The pieces with their best lines.
    pub(super) fn pieces(&self, fits: &Fits) -> Vec<Piece> {
        let (_, nodes) = self.solve(fits);
        let ends = self.nodes();
        let line = |piece: usize| Piece {
            start: self.cuts[piece],
            end: self.cuts[piece + 1],
            // A load is never negative.
            from: nodes[ends[piece].0].max(0.0),
            to: nodes[ends[piece].1].max(0.0),
        };
        (0..self.len()).map(line).collect()
    }

    /// The nodes between which each piece goes: a level one has one, and a bend is one for both.
    fn nodes(&self) -> Vec<(usize, usize)> {
        let mut node = 0;
        (0..self.len())
            .map(|piece| {
                node += usize::from(piece > 0 && !self.bends[piece]);
                let from = node;
                node += usize::from(self.sloped[piece]);
                (from, node)
            })
            .collect()
    }

    /// The best heights of the nodes and the distance that is left: each node depends on its neighbours
    /// only, so that the equations are solved in one pass down and one up.
    fn solve(&self, fits: &Fits) -> (f64, Vec<f64>) {
        let ends = self.nodes();
        let count = ends.last().map_or(0, |(_, to)| to + 1);
        let (mut own, mut next, mut right) = (vec![0.0; count], vec![0.0; count], vec![0.0; count]);
        let mut square = 0.0;
        for (piece, (from, to)) in ends.into_iter().enumerate() {
            let distance = fits.distance(self.cuts[piece], self.cuts[piece + 1]);
            square += distance.square;
            own[from] += distance.uu;
            own[to] += distance.vv;
            right[from] += distance.u;
            right[to] += distance.v;
            if from == to {
                own[from] += 2.0 * distance.uv;
            } else {
                next[from] = distance.uv;
            }
        }
        let values = right.clone();
        for node in 1..count {
            let share = next[node - 1] / own[node - 1];
            own[node] -= share * next[node - 1];
            right[node] -= share * right[node - 1];
        }
        let mut heights = right;
        for node in (0..count).rev() {
            let beyond = heights.get(node + 1).map_or(0.0, |height| next[node] * height);
            heights[node] = (heights[node] - beyond) / own[node];
        }
        let explained: f64 = heights.iter().zip(&values).map(|(height, value)| height * value).sum();
        ((square - explained).max(0.0), heights)
    }
}

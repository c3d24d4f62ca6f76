//! How something grows, as a picture: powers of ten to the right, what is measured upwards.

use std::fmt::Write as _;

use super::row::{digits, grouped};

/// Of the picture, in pixels, and what is left free around the plot.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 32.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 44.0;
/// Lines across the plot, at most.
const LINES: f64 = 5.0;

/// It looks well in the light and in the dark.
const STYLE: &str = "text{font:12px sans-serif;fill:#57606a}.title{font-weight:bold}.grid{stroke:#d0d7de}\
.line{fill:none;stroke:#0969da;stroke-width:2}.dot{fill:#0969da}.spread{stroke:#0969da}\
@media(prefers-color-scheme:dark){text{fill:#9198a1}.grid{stroke:#3d444d}\
.line,.spread{stroke:#4493f8}.dot{fill:#4493f8}}";

/// A number, its spread, and of how many it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub size: u32,
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// A picture of points in the order of their size.
pub struct Chart<'a> {
    pub title: &'a str,
    /// Of what the points are so many.
    pub across: &'a str,
    points: &'a [Point],
    /// The powers of ten at the left and at the right end. One below the smallest is 0, which has none.
    decades: (f64, f64),
    step: f64,
    highest: f64,
}

impl<'a> Chart<'a> {
    /// Scales it so that all points are in sight; nothing, where there is nothing to see.
    pub fn of(title: &'a str, across: &'a str, points: &'a [Point]) -> Option<Self> {
        let smallest = f64::from(points.iter().map(|point| point.size).filter(|size| *size > 0).min()?);
        let largest = f64::from(points.iter().map(|point| point.size).max()?);
        let most = points.iter().map(|point| point.high).fold(0.0, f64::max);
        let step = round_step(most / LINES);
        let decades = (smallest.log10() - 1.0, largest.log10());
        Some(Self { title, across, points, decades, step, highest: (most / step).ceil() * step })
    }

    /// Draws it.
    pub fn svg(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
             viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n<title>{0}</title>\n<style>{STYLE}</style>\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"20\">{0}</text>\n",
            self.title
        );
        self.draw_grid(&mut svg);
        self.draw_points(&mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn draw_grid(&self, svg: &mut String) {
        let (right, below) = (WIDTH - RIGHT, HEIGHT - BOTTOM + 18.0);
        let lines = (self.highest / self.step).round() as u32;
        for value in (0..=lines).map(|line| f64::from(line) * self.step) {
            let (y, label) = (self.y(value), digits(value));
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 8.0,
                y + 4.0
            );
        }
        for point in self.points {
            let (x, label) = (self.x(point.size), grouped(point.size));
            let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{below}\" text-anchor=\"middle\">{label}</text>");
        }
        let (middle, bottom) = (f64::midpoint(LEFT, right), HEIGHT - 8.0);
        let _ = writeln!(
            svg,
            "<text x=\"{middle}\" y=\"{bottom}\" text-anchor=\"middle\">{}</text>",
            self.across
        );
    }

    fn draw_points(&self, svg: &mut String) {
        let corner = |point: &Point| format!("{:.1},{:.1}", self.x(point.size), self.y(point.value));
        let corners: Vec<String> = self.points.iter().map(corner).collect();
        let _ = writeln!(svg, "<polyline class=\"line\" points=\"{}\"/>", corners.join(" "));
        for point in self.points {
            let (x, y) = (self.x(point.size), self.y(point.value));
            let (low, high) = (self.y(point.low), self.y(point.high));
            let _ = writeln!(
                svg,
                "<path class=\"spread\" d=\"M{x:.1} {low:.1}V{high:.1}\"/>\
                 <circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>"
            );
        }
    }

    fn x(&self, size: u32) -> f64 {
        let (from, to) = self.decades;
        let decade = if size == 0 { from } else { f64::from(size).log10() };
        LEFT + (decade - from) / (to - from) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - value / self.highest * (HEIGHT - TOP - BOTTOM)
    }
}

/// The next number upwards that is 1, 2 or 5 with some zeros; 1 for nothing.
fn round_step(least: f64) -> f64 {
    if least <= 0.0 {
        return 1.0;
    }
    let decade = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|digit| digit * decade);
    steps.into_iter().find(|step| *step >= least).unwrap_or(10.0 * decade)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(size: u32, value: f64) -> Point {
        Point { size, value, low: value - 1.0, high: value + 1.0 }
    }

    #[test]
    fn steps_are_round() {
        assert_eq!([0.0, 0.03, 1.0, 3.0, 730.0].map(round_step), [1.0, 0.05, 1.0, 5.0, 1000.0]);
    }

    #[test]
    fn nothing_lies_one_decade_left_of_the_smallest() {
        let points = [point(0, 4.0), point(10, 5.0), point(1000, 9.0)];
        let chart = Chart::of("CPU time", "sockets", &points).expect("a chart");
        let right = WIDTH - RIGHT;
        assert_eq!([0, 1, 10, 1000].map(|size| chart.x(size).round()), [LEFT, LEFT, 192.0, right]);
        assert_eq!((chart.step, chart.highest), (2.0, 10.0));
        assert_eq!((chart.y(0.0), chart.y(10.0)), (HEIGHT - BOTTOM, TOP));
        let svg = chart.svg();
        assert_eq!(svg.matches("<circle").count(), 3);
        assert!(svg.contains(">1,000</text>") && svg.contains(">sockets</text>"), "{svg}");
        assert!(Chart::of("CPU time", "sockets", &points[..1]).is_none());
    }
}

//! The pictures of how a tick's cost grows: `docs/pictures/growth-*.svg`.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result};

use super::chart::{Chart, Point};
use super::row::Row;
use crate::tree::Tree;

/// The bench whose rows have a size.
pub const BENCH: &str = "growth";
/// What is drawn of it.
const WHAT: &str = "CPU time per tick";
const TITLE: &str = "CPU time per tick, µs";
/// Where the pictures are, below the folder of the document, and where that is.
const PICTURES: &str = "pictures";
const DOCS: &str = "docs";

/// Draws everything that grows; returns the lines that show it in the document.
pub fn draw(tree: &Tree, rows: &[Row]) -> Result<String> {
    let mut shown = String::from("\n");
    for (with, points) in courses(rows) {
        let Some(chart) = Chart::of(TITLE, with, &points) else { continue };
        let file = format!("{PICTURES}/growth-{with}.svg");
        let path = tree.root.join(DOCS).join(&file);
        fs::write(&path, chart.svg()).with_context(|| format!("{} cannot be written", path.display()))?;
        let _ = writeln!(shown, "![{WHAT} over the number of {with}]({file})");
    }
    Ok(shown)
}

/// Of each thing that there was more and more of, the points in the order in which they came.
fn courses(rows: &[Row]) -> Vec<(&str, Vec<Point>)> {
    let of_growth = rows.iter().filter(|row| row.bench == BENCH && row.what == WHAT);
    let mut courses: Vec<(&str, Vec<Point>)> = Vec::new();
    for row in of_growth {
        let Some(size) = row.size else { continue };
        let (low, high) = (row.low.unwrap_or(row.value), row.high.unwrap_or(row.value));
        let point = Point { size, value: row.value, low, high };
        match courses.iter_mut().find(|(with, _)| *with == row.with) {
            Some((_, points)) => points.push(point),
            None => courses.push((&row.with, vec![point])),
        }
    }
    courses
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::row;
    use super::*;

    #[test]
    fn a_course_is_of_one_thing() {
        let of = |with: &str, size: u32, what: &str| {
            row(&format!(r#"{{"bench": "{BENCH}", "what": "{what}", "with": "{with}", "size": {size}}}"#))
        };
        let rows = [
            of("sockets", 0, WHAT),
            of("sockets", 10, WHAT),
            of("sockets", 10, "ratio"),
            of("cgroups", 1, WHAT),
        ];
        let sizes = |points: &[Point]| points.iter().map(|point| point.size).collect::<Vec<_>>();
        let courses: Vec<_> = courses(&rows).iter().map(|(with, points)| (*with, sizes(points))).collect();
        assert_eq!(courses, [("sockets", vec![0, 10]), ("cgroups", vec![1])]);
    }
}

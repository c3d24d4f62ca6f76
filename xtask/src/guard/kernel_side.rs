//! The programs and maps of the kernel side, as observer-guard's `kernel_side` reads them from the built object.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::limits::{Limits, Measure};
use crate::build;
use crate::process;
use crate::tree::Tree;

/// Adds what there is.
pub fn count(tree: &Tree, limits: &mut Limits) -> Result<()> {
    let mut kernel_side = Command::new(tree.static_release("kernel_side"));
    let printed = process::read(kernel_side.arg(build::kernel_side(tree)?))?;
    for line in printed.lines() {
        let (measure, name, value) = parse(line).with_context(|| format!("not understood: {line}"))?;
        limits.add(measure, name, value);
    }
    Ok(())
}

/// Understands `map_bytes LOADS 655360`.
fn parse(line: &str) -> Option<(Measure, &str, u64)> {
    let (measure, rest) = line.split_once(' ')?;
    let (name, value) = rest.rsplit_once(' ')?;
    Some((Measure::named(measure)?, name, value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_measure_a_name_and_a_number() {
        assert_eq!(parse("map_bytes LOADS 655360"), Some((Measure::MapBytes, "LOADS", 655_360)));
        assert_eq!(parse("map_bytes LOADS many"), None);
        assert_eq!(parse("something LOADS 1"), None);
    }
}

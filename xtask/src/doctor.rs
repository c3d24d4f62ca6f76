//! Runs `observer doctor`: that it works is a test, and what it says about the programs is kept.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::accuracy::Load;
use crate::place::Place;
use crate::tree::Tree;

/// Under emulation, with another machine at work, the verifier takes its time.
const LIMIT: Duration = Duration::from_secs(3 * 60);

/// Lets the doctor examine a place, and returns what it printed.
pub fn run(tree: &Tree, place: Place) -> Result<String> {
    let program = place.program(tree, "observer");
    let command = [&program, "doctor", "--format", "json"].map(str::to_owned);
    let mut printed = String::new();
    let status = place.run(tree, &command, LIMIT, |line| {
        printed.push_str(line);
        printed.push('\n');
    })?;
    if status != Some(0) {
        bail!("`observer doctor` ended with status {status:?}: {printed}");
    }
    Load::parse(&printed)?;
    Ok(printed)
}

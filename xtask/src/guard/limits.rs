//! What was counted when it was last accepted, and how much more it may be.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::tree::Tree;

/// Where the committed numbers are, below the root of the repository.
pub const FILE: &str = "tests/guard.toml";

const HEAD: &str = "\
# What `cargo xtask test` holds the engine and the kernel side against: no times, only what can be counted.
# `OBSERVER_BLESS=1 cargo xtask guard` writes this file anew; read the difference before you commit it.

";

/// One table of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Instructions that the engine takes for a recording.
    EngineInstructions,
    /// Instructions of a program in the kernel.
    ProgramInstructions,
    /// Bytes of a map's entries that there are once.
    MapBytes,
    /// Bytes of a map's entries that every CPU has for itself.
    MapBytesPerCpu,
}

impl Measure {
    /// All of them.
    pub const ALL: &[Self] =
        &[Self::EngineInstructions, Self::ProgramInstructions, Self::MapBytes, Self::MapBytesPerCpu];

    /// As the file has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::EngineInstructions => "engine_instructions",
            Self::ProgramInstructions => "program_instructions",
            Self::MapBytes => "map_bytes",
            Self::MapBytesPerCpu => "map_bytes_per_cpu",
        }
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|measure| measure.name() == name)
    }

    /// How many per cent it may grow unnoticed.
    fn margin(self) -> u64 {
        match self {
            Self::EngineInstructions | Self::ProgramInstructions => 5,
            Self::MapBytes | Self::MapBytesPerCpu => 0,
        }
    }
}

/// Numbers by measure and name.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits(BTreeMap<Measure, BTreeMap<String, u64>>);

/// How a measure compares.
#[derive(Debug, Default, PartialEq)]
pub struct Judged {
    /// What grew, appeared or went.
    pub failures: Vec<String>,
    /// What is smaller now.
    pub told: Vec<String>,
}

impl Limits {
    /// Reads the committed ones.
    pub fn read(tree: &Tree) -> Result<Self> {
        let text =
            fs::read_to_string(tree.root.join(FILE)).with_context(|| format!("{FILE} cannot be read"))?;
        toml::from_str(&text).with_context(|| format!("{FILE} is not understood"))
    }

    /// Commits to these.
    pub fn write(&self, tree: &Tree) -> Result<()> {
        let text = format!("{HEAD}{}", toml::to_string(self)?);
        fs::write(tree.root.join(FILE), text).with_context(|| format!("{FILE} cannot be written"))
    }

    /// Adds a number.
    pub fn add(&mut self, measure: Measure, name: &str, value: u64) {
        self.0.entry(measure).or_default().insert(name.to_owned(), value);
    }

    /// Whether anything was counted of this.
    pub fn has(&self, measure: Measure) -> bool {
        self.0.contains_key(&measure)
    }

    /// Holds what was seen of a measure against these.
    pub fn judge(&self, seen: &Self, measure: Measure) -> Judged {
        let none = BTreeMap::new();
        let [committed, seen] = [self, seen].map(|limits| limits.0.get(&measure).unwrap_or(&none));
        let mut judged = Judged::default();
        for (name, now) in seen {
            match committed.get(name) {
                None => judged.failures.push(format!("{name} is new, with {now}")),
                Some(was) if exceeds(*now, *was, measure.margin()) => {
                    judged.failures.push(format!("{name} grew from {was} to {now}"));
                }
                Some(was) if exceeds(*was, *now, measure.margin()) => {
                    judged.told.push(format!("{}: {name} fell from {was} to {now}", measure.name()));
                }
                Some(_) => {}
            }
        }
        let gone = committed.keys().filter(|name| !seen.contains_key(*name));
        judged.failures.extend(gone.map(|name| format!("{name} is gone")));
        judged
    }
}

/// Whether `now` is more than `was` and its margin.
fn exceeds(now: u64, was: u64, per_cent: u64) -> bool {
    u128::from(now) * 100 > u128::from(was) * u128::from(100 + per_cent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(measure: Measure, numbers: &[(&str, u64)]) -> Limits {
        let mut limits = Limits::default();
        numbers.iter().for_each(|(name, value)| limits.add(measure, name, *value));
        limits
    }

    fn judged(measure: Measure, was: &[(&str, u64)], now: &[(&str, u64)]) -> Judged {
        limits(measure, was).judge(&limits(measure, now), measure)
    }

    #[test]
    fn only_what_grows_beyond_the_margin_fails() {
        let measure = Measure::ProgramInstructions;
        assert_eq!(judged(measure, &[("a", 100)], &[("a", 105)]), Judged::default());
        assert_eq!(judged(measure, &[("a", 100)], &[("a", 106)]).failures, ["a grew from 100 to 106"]);
        assert_eq!(judged(measure, &[("a", 106)], &[("a", 100)]).failures, [""; 0]);
    }

    #[test]
    fn memory_has_no_margin_and_less_is_told() {
        let measure = Measure::MapBytes;
        assert_eq!(judged(measure, &[("a", 1000)], &[("a", 1001)]).failures, ["a grew from 1000 to 1001"]);
        let less = judged(measure, &[("a", 1000)], &[("a", 999)]);
        assert_eq!(
            (less.failures.len(), less.told),
            (0, vec!["map_bytes: a fell from 1000 to 999".to_owned()])
        );
    }

    #[test]
    fn what_appears_or_goes_has_to_be_accepted() {
        let judged = judged(Measure::MapBytes, &[("a", 1)], &[("b", 2)]);
        assert_eq!(judged.failures, ["b is new, with 2", "a is gone"]);
    }

    #[test]
    fn measures_are_named_in_the_file_as_here() -> Result<()> {
        for measure in Measure::ALL {
            let text = toml::to_string(&limits(*measure, &[("a b", 1)]))?;
            assert!(text.starts_with(&format!("[{}]", measure.name())), "{text}");
            assert_eq!(toml::from_str::<Limits>(&text)?, limits(*measure, &[("a b", 1)]));
            assert_eq!(Measure::named(measure.name()), Some(*measure));
        }
        Ok(())
    }

    #[test]
    fn every_measure_is_committed() -> Result<()> {
        let committed: Limits = toml::from_str(include_str!("../../../tests/guard.toml"))?;
        assert!(Measure::ALL.iter().all(|measure| committed.has(*measure)));
        Ok(())
    }
}

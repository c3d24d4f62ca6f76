//! The committed list of tests that may be skipped. Any other skip is a failure.

use std::fs;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::tree::Tree;

/// Where the list lies, below the root of the repository.
pub const LIST: &str = "tests/expected-skips.toml";

/// The list.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedSkips {
    #[serde(default)]
    skip: Vec<Entry>,
}

/// Tests that may be skipped, and why. In all three fields `*` stands for any text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(rename = "where")]
    place: String,
    reason: String,
}

impl ExpectedSkips {
    /// Reads the list of the repository.
    pub fn read(tree: &Tree) -> Result<Self> {
        let path = tree.root.join(LIST);
        let text = fs::read_to_string(&path).with_context(|| format!("{LIST} cannot be read"))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let list: Self = toml::from_str(text).with_context(|| format!("{LIST} is not understood"))?;
        for entry in &list.skip {
            if entry.name.is_empty() || entry.place.is_empty() || entry.reason.trim_matches('*').is_empty() {
                bail!("{LIST}: the entry `{}` has to say name, where and reason", entry.name);
            }
        }
        Ok(list)
    }

    /// Whether this test may be skipped there for this reason.
    pub fn allows(&self, place: &str, name: &str, reason: &str) -> bool {
        self.skip.iter().any(|entry| {
            matches(&entry.place, place) && matches(&entry.name, name) && matches(&entry.reason, reason)
        })
    }

    /// Whether an ignored test in the code is on the list.
    pub fn allows_ignored(&self, test: &str, reason: &str) -> bool {
        self.skip.iter().any(|entry| {
            entry.place == "unit" && entry.name.ends_with(test) && matches(&entry.reason, reason)
        })
    }
}

/// Compares with a pattern in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(head) else {
        return false;
    };
    (0..=text.len()).any(|at| text.is_char_boundary(at) && matches(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[[skip]]\nname = \"fentry-*\"\nwhere = \"host\"\nreason = \"no fentry*\"\n";

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(matches("a*c", "abbc") && matches("*", "") && matches("a*", "a") && matches("*ü*", "über"));
        assert!(!matches("a*c", "abb") && !matches("a", "ab") && !matches("", "a"));
    }

    #[test]
    fn name_place_and_reason_have_to_fit() -> Result<()> {
        let list = ExpectedSkips::parse(TEXT)?;
        assert!(list.allows("host", "fentry-accept", "no fentry here"));
        assert!(!list.allows("vm-6.12", "fentry-accept", "no fentry here"));
        assert!(!list.allows("host", "accept", "no fentry here"));
        assert!(!list.allows("host", "fentry-accept", "not root"));
        Ok(())
    }

    #[test]
    fn an_entry_without_reason_is_refused() {
        assert!(ExpectedSkips::parse("[[skip]]\nname = \"a\"\nwhere = \"host\"\nreason = \"*\"\n").is_err());
        assert!(ExpectedSkips::parse("[[skip]]\nname = \"a\"\nwhere = \"host\"\n").is_err());
    }

    #[test]
    fn only_kernels_that_a_mirror_may_have_dropped_may_be_missing() -> Result<()> {
        let list = ExpectedSkips::parse(include_str!("../../tests/expected-skips.toml"))?;
        let missing = |kernel| {
            let reason = format!("kernel {kernel} could not be fetched: no network");
            list.allows(&format!("vm-{kernel}"), "lab", &reason)
        };
        assert!(missing("5.10") && missing("7.x"));
        assert!(!missing("6.1") && !missing("6.12"));
        Ok(())
    }
}

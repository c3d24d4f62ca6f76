//! What a bench prints: a measured number, and the budget that it has to keep.

use anyhow::{Result, ensure};
use serde::Serialize;

use super::{Bench, paired::Spread};

/// One measured number.
#[derive(Debug, Serialize)]
struct Row<'a> {
    bench: &'a str,
    /// What was measured,
    what: &'a str,
    /// and with which observer, at what time, or with so many of which things.
    with: &'a str,
    size: Option<u32>,
    unit: &'a str,
    value: f64,
    /// Between these the median of the turns lies, where there were some: see [`Spread`].
    low: Option<f64>,
    high: Option<f64>,
    budget: Option<Budget>,
}

/// What a number has to be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    AtLeast(f64),
    AtMost(f64),
}

/// What a number was measured with: a name, or so many of something.
#[derive(Clone, Copy, Debug)]
pub struct With<'a> {
    name: &'a str,
    size: Option<u32>,
}

impl<'a> With<'a> {
    /// So many of something.
    pub fn many(size: u32, name: &'a str) -> Self {
        Self { name, size: Some(size) }
    }
}

impl<'a> From<&'a str> for With<'a> {
    fn from(name: &'a str) -> Self {
        Self { name, size: None }
    }
}

/// One number, or the median of several and how far it is known.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    value: f64,
    between: Option<(f64, f64)>,
}

impl From<f64> for Measured {
    fn from(value: f64) -> Self {
        Self { value, between: None }
    }
}

impl From<Spread> for Measured {
    fn from(spread: Spread) -> Self {
        Self { value: spread.median, between: Some((spread.low, spread.high)) }
    }
}

impl Bench {
    /// Prints a number, for people and for the table.
    pub fn tell<'a>(
        &self,
        what: &str,
        with: impl Into<With<'a>>,
        unit: &str,
        measured: impl Into<Measured>,
        budget: Option<Budget>,
    ) -> Result<()> {
        let (With { name: with, size }, measured) = (with.into(), measured.into());
        // JSON has no other numbers, and none of them is a measurement.
        ensure!(measured.value.is_finite(), "{what}, {with}: measured {}", measured.value);
        let (low, high) = measured.between.unzip();
        Row { bench: self.name, what, with, size, unit, value: measured.value, low, high, budget }.print()
    }

    /// Prints the median, and what 99 in 100 keep to.
    pub fn tell_quantiles(
        &self,
        what: &str,
        when: &str,
        unit: &str,
        mut values: Vec<f64>,
        budget: Option<Budget>,
    ) -> Result<()> {
        ensure!(!values.is_empty(), "{what}: nothing was measured");
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
        self.tell(&format!("{what}, p50"), when, unit, at(0.5), None)?;
        self.tell(&format!("{what}, p99"), when, unit, at(0.99), budget)
    }
}

impl Row<'_> {
    fn print(&self) -> Result<()> {
        let size = self.size.map(|size| format!("{size} ")).unwrap_or_default();
        let spread = match (self.low, self.high) {
            (Some(low), Some(high)) => format!(" ({low:.4} to {high:.4})"),
            _ => String::new(),
        };
        let budget = match self.budget {
            Some(Budget::AtLeast(bound)) => format!(", to be at least {bound}"),
            Some(Budget::AtMost(bound)) => format!(", to be at most {bound}"),
            None => String::new(),
        };
        let Self { what, with, value, unit, .. } = self;
        println!("  {what}, {size}{with}: {value:.4} {unit}{spread}{budget}");
        println!("row {}", serde_json::to_string(self)?);
        Ok(())
    }
}

//! A number that the lab measured, and whether it keeps its budget.

use serde::Deserialize;

/// What the lab begins the line of a row with.
const MARK: &str = "row ";

/// A number that the lab measured.
#[derive(Debug, Deserialize)]
pub struct Row {
    pub bench: String,
    pub what: String,
    /// With what it was measured: a name, or so many of something.
    pub with: String,
    pub size: Option<u32>,
    unit: String,
    pub value: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
    budget: Option<Budget>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Budget {
    AtLeast(f64),
    AtMost(f64),
}

impl Budget {
    fn is_kept_by(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

impl Row {
    /// Understands a line of the lab's output, if it is a row.
    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line.strip_prefix(MARK)?).ok()
    }

    /// The same, measured in a virtual machine where a nanosecond is an instruction: a part of the document of its own. The
    /// budgets are for real ones.
    pub fn of_machine(self, kernel: &str) -> Self {
        let bench = format!("{} in virtual machines", self.bench);
        let unit = self.unit.strip_prefix("ns").map(|of_what| format!("instructions{of_what}"));
        let (with, unit) = (format!("{}, Linux {kernel}", self.with), unit.unwrap_or(self.unit));
        Self { bench, with, unit, budget: None, ..self }
    }

    /// With what it was measured, as it is told.
    pub fn told_with(&self) -> String {
        match self.size {
            Some(size) => format!("{} {}", grouped(size), self.with),
            None => self.with.clone(),
        }
    }

    /// Whether the budget is broken beyond what else the machine does: whatever the median may be, it does not keep it.
    pub fn breaks_its_budget(&self) -> bool {
        self.budget.is_some_and(|budget| {
            let best = match budget {
                Budget::AtLeast(_) => self.high,
                Budget::AtMost(_) => self.low,
            };
            !budget.is_kept_by(best.unwrap_or(self.value))
        })
    }

    /// The number with its spread and its unit.
    pub fn measured(&self) -> String {
        let spread = match (self.low, self.high) {
            (Some(low), Some(high)) => format!(" ({} to {})", digits(low), digits(high)),
            _ => String::new(),
        };
        format!("{}{spread} {}", digits(self.value), self.unit)
    }

    /// The budget, and whether it holds; nothing where there is none.
    pub fn told_budget(&self) -> Option<String> {
        let budget = self.budget?;
        let worst = match budget {
            Budget::AtLeast(_) => self.low,
            Budget::AtMost(_) => self.high,
        };
        let holds = if budget.is_kept_by(worst.unwrap_or(self.value)) {
            "holds"
        } else if self.breaks_its_budget() {
            "**does not hold**"
        } else if budget.is_kept_by(self.value) {
            "may hold, too noisy to tell"
        } else {
            "may not hold, too noisy to tell"
        };
        let (word, bound) = match budget {
            Budget::AtLeast(bound) => ("at least", bound),
            Budget::AtMost(bound) => ("at most", bound),
        };
        Some(format!("{word} {}: {holds}", digits(bound)))
    }
}

/// As many digits as mean something.
pub fn digits(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => {
            let text = format!("{value:.4}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

/// A number with a comma after each three digits.
pub fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let comma = |(at, digit): (usize, char)| {
        let is_due = at > 0 && (digits.len() - at).is_multiple_of(3);
        is_due.then_some(',').into_iter().chain([digit])
    };
    digits.chars().enumerate().flat_map(comma).collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A row as the lab prints it, with these fields in place of what is usual.
    pub fn row(fields: &str) -> Row {
        let usual = serde_json::json!({
            "bench": "requests", "what": "p99", "with": "observer", "size": null, "unit": "on/off", "value": 1.013,
            "low": 0.99, "high": 1.1, "budget": null,
        });
        let mut row = usual.as_object().expect("an object").clone();
        let fields: serde_json::Value = serde_json::from_str(fields).expect("fields");
        row.extend(fields.as_object().expect("an object").clone());
        Row::parse(&format!("row {}", serde_json::Value::Object(row))).expect("a row")
    }

    #[test]
    fn a_budget_holds_or_does_not() {
        assert_eq!(row("{}").told_budget(), None);
        let kept = row(r#"{"budget": {"at_most": 1.2}}"#);
        assert_eq!(kept.told_budget().as_deref(), Some("at most 1.2: holds"));
        let broken = row(r#"{"budget": {"at_most": 0.98}}"#);
        assert!(broken.breaks_its_budget());
        assert_eq!(broken.told_budget().as_deref(), Some("at most 0.98: **does not hold**"));
        let sure = row(r#"{"budget": {"at_least": 1.02}, "low": null, "high": null}"#);
        assert!(sure.breaks_its_budget());
        let noisy = |bound: &str| {
            let row = row(&format!(r#"{{"budget": {{{bound}}}}}"#));
            assert!(!row.breaks_its_budget());
            row.told_budget().expect("a budget").split_once(": ").expect("an answer").1.to_owned()
        };
        let beyond = [r#""at_most": 1.0"#, r#""at_least": 1.05"#].map(noisy);
        assert_eq!(beyond, ["may not hold, too noisy to tell"; 2]);
        let within = [r#""at_most": 1.02"#, r#""at_least": 1.0"#].map(noisy);
        assert_eq!(within, ["may hold, too noisy to tell"; 2]);
    }

    #[test]
    fn a_machine_has_no_budget() {
        let emulated = row(r#"{"budget": {"at_least": 1.02}}"#).of_machine("6.1");
        assert_eq!(emulated.told_budget(), None);
        assert_eq!(emulated.told_with(), "observer, Linux 6.1");
        assert_eq!(emulated.bench, "requests in virtual machines");
    }

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!(
            [0, 999, 1_000, 100_000, 1_234_567].map(grouped).join(" "),
            "0 999 1,000 100,000 1,234,567"
        );
        assert_eq!(row(r#"{"size": 10000, "with": "sockets"}"#).told_with(), "10,000 sockets");
    }
}

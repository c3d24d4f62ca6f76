//! How often a hook saw something, beside the kernel's counter and what the application got.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result, bail};

use crate::place::Place;

/// The tier whose counts have to be equal; a cell says nothing about it.
const FULL_TIER: &str = "trampoline";

/// One comparison of the lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    scenario: String,
    /// One signal, or several that count together, joined by `+`.
    signals: String,
    /// Nothing, where observer told no count of it.
    hook: Option<u64>,
    /// The name of the kernel's counter, and what it counted.
    kernel: Option<(String, u64)>,
    application: Option<u64>,
    tier: String,
    /// Why the numbers differ.
    note: Option<String>,
}

impl Count {
    /// Whether the lab tells a count in this line. Lines for people are indented.
    pub fn is_told_in(line: &str) -> bool {
        line.starts_with("count ")
    }

    /// Understands `count SCENARIO SIGNAL[+SIGNAL] hook=N|- kernel=NAME:N|- app=N|- tier=TIER [note=TEXT]`.
    pub fn parse(line: &str) -> Result<Self> {
        Self::understand(line).with_context(|| format!("this line of the lab is not understood: `{line}`"))
    }

    fn understand(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["count", scenario, signals, rest @ ..] = words.as_slice() else {
            bail!("it has to be `count SCENARIO SIGNAL ...`");
        };
        let values: HashMap<&str, &str> = rest.iter().filter_map(|word| word.split_once('=')).collect();
        let value = |name: &str| {
            values
                .get(name)
                .copied()
                .filter(|value| !value.is_empty())
                .with_context(|| format!("no {name}=..."))
        };
        Ok(Self {
            scenario: (*scenario).to_owned(),
            signals: (*signals).to_owned(),
            hook: present(value("hook")?).map(number).transpose()?,
            kernel: present(value("kernel")?).map(counter).transpose()?,
            application: present(value("app")?).map(number).transpose()?,
            tier: value("tier")?.to_owned(),
            note: value("note").ok().map(plain),
        })
    }

    /// What it is compared with.
    fn against(&self) -> impl Iterator<Item = &str> {
        let counter = self.kernel.as_ref().map(|(name, _)| name.as_str());
        counter.into_iter().chain(self.application.map(|_| "application"))
    }

    fn cell(&self) -> String {
        let Some(hook) = self.hook.filter(|_| self.tier != "absent") else {
            return format!("not counted ({})", self.tier);
        };
        // A signal that is had from the kernel's counters is not compared with them.
        let counter = self.kernel.as_ref().map(|(_, number)| *number).filter(|_| self.tier != "counter");
        let mut cell = hook.to_string();
        for other in counter.into_iter().chain(self.application) {
            cell.push_str(if other == hook { " = " } else { " ≠ " });
            cell.push_str(&other.to_string());
        }
        if self.tier != FULL_TIER {
            cell.push_str(&format!(" ({})", self.tier));
        }
        if let Some(note) = &self.note {
            cell.push_str(&format!(": {note}"));
        }
        // It stands in a table.
        cell.replace('|', "\\|")
    }
}

/// A table with a row for every signal of every scenario, and a column for every place.
pub fn table(places: &[(Place, Option<Vec<Count>>)]) -> String {
    let mut rows: BTreeMap<(&str, &str), Vec<Vec<&Count>>> = BTreeMap::new();
    for (column, counts) in places.iter().enumerate() {
        for count in counts.1.iter().flatten() {
            let row = rows.entry((&count.scenario, &count.signals));
            row.or_insert_with(|| vec![Vec::new(); places.len()])[column].push(count);
        }
    }
    let names: Vec<&str> = places.iter().map(|(place, _)| place.short_name()).collect();
    let mut lines = vec![
        format!("| scenario | signal | compared with | {} |", names.join(" | ")),
        "|---".repeat(places.len() + 3) + "|",
    ];
    for ((scenario, signals), cells) in rows {
        let against = against(&cells);
        let signals = signals.replace('+', " + ");
        let cells: Vec<String> = cells.iter().map(|counts| cell(counts)).collect();
        lines.push(format!("| {scenario} | {signals} | {against} | {} |", cells.join(" | ")));
    }
    lines.join("\n")
}

/// What the counts of a row are compared with, each once.
fn against(cells: &[Vec<&Count>]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in cells.iter().flatten().flat_map(|count| count.against()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

fn cell(counts: &[&Count]) -> String {
    match counts {
        [] => "–".to_owned(),
        counts => counts.iter().map(|count| count.cell()).collect::<Vec<_>>().join("; "),
    }
}

fn present(value: &str) -> Option<&str> {
    (value != "-").then_some(value)
}

fn counter(value: &str) -> Result<(String, u64)> {
    let (name, count) =
        value.rsplit_once(':').with_context(|| format!("`{value}` is no counter with a number"))?;
    Ok((name.to_owned(), number(count)?))
}

fn number(text: &str) -> Result<u64> {
    text.parse().with_context(|| format!("`{text}` is no count"))
}

/// The text of a note, whose blanks are written as `%20` or as `_`.
fn plain(note: &str) -> String {
    if note.contains('%') { percent_decoded(note) } else { note.replace('_', " ") }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped =
            escaped.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell_of(line: &str) -> Result<String> {
        Ok(Count::parse(line)?.cell())
    }

    #[test]
    fn a_line_of_the_lab_is_understood() -> Result<()> {
        let line =
            "count accept a+b hook=201 kernel=ListenOverflows:200 app=- tier=kprobe note=one%20more_%3A";
        assert!(Count::is_told_in(line) && !Count::is_told_in("  count of something"));
        let count = Count {
            scenario: "accept".into(),
            signals: "a+b".into(),
            hook: Some(201),
            kernel: Some(("ListenOverflows".into(), 200)),
            application: None,
            tier: "kprobe".into(),
            note: Some("one more_:".into()),
        };
        assert_eq!(Count::parse(line)?, count);
        Ok(())
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |line| Count::parse(line).err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(error("count a b hook=1 kernel=- tier=x").ends_with("no app=..."));
        assert!(error("count a b hook=-1 kernel=- app=- tier=x").contains("`-1` is no count"));
        assert!(error("count a b hook=1 kernel=X app=- tier=x").contains("`X` is no counter"));
        assert!(error("count a").contains("SCENARIO SIGNAL"));
    }

    #[test]
    fn a_cell_compares_with_the_hook() -> Result<()> {
        let equal = "count a b hook=201 kernel=X:201 app=201 tier=trampoline";
        assert_eq!(cell_of(equal)?, "201 = 201 = 201");
        let different = "count a b hook=12 kernel=X:11 app=- tier=trampoline note=a_retry|late";
        assert_eq!(cell_of(different)?, "12 ≠ 11: a retry\\|late");
        assert_eq!(cell_of("count a b hook=40 kernel=X:40 app=- tier=counter")?, "40 (counter)");
        assert_eq!(cell_of("count a b hook=5 kernel=- app=5 tier=tracepoint")?, "5 = 5 (tracepoint)");
        assert_eq!(cell_of("count a b hook=- kernel=- app=5 tier=absent")?, "not counted (absent)");
        assert_eq!(cell_of("count a b hook=- kernel=X:5 app=- tier=counter")?, "not counted (counter)");
        Ok(())
    }

    #[test]
    fn the_table_has_a_row_for_every_signal_of_every_scenario() -> Result<()> {
        let counts = |lines: &[&str]| lines.iter().map(|line| Count::parse(line)).collect::<Result<Vec<_>>>();
        let host = counts(&["count b s hook=1 kernel=- app=1 tier=counter"])?;
        let vm = counts(&[
            "count b s hook=2 kernel=K:2 app=- tier=trampoline",
            "count b s hook=3 kernel=- app=3 tier=trampoline",
            "count a s+t hook=4 kernel=K:4 app=- tier=trampoline",
        ])?;
        assert_eq!(
            table(&[
                (Place::Host, Some(host)),
                (Place::Machine("5.10"), None),
                (Place::Machine("6.1"), Some(vm))
            ]),
            "| scenario | signal | compared with | host | 5.10 | 6.1 |\n\
             |---|---|---|---|---|---|\n\
             | a | s + t | K | – | – | 4 = 4 |\n\
             | b | s | application, K | 1 = 1 (counter) | – | 2 = 2; 3 = 3 |"
        );
        Ok(())
    }
}

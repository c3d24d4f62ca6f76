//! What the eBPF programs cost to load, as `observer doctor --format json` tells it.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::place::Place;

/// The tiers, from the most exact one down.
const TIERS: &[&str] = &["trampoline", "kprobe", "tracepoint", "counter", "absent"];

/// What `observer doctor` told at one place. What it did not tell is `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    kernel: Option<String>,
    attached: Option<usize>,
    refused: Option<usize>,
    /// How many signals are had on each tier.
    tiers: Option<Vec<(String, usize)>>,
    instructions: Instructions,
    milliseconds: Option<f64>,
}

/// The instructions that the verifier went through. Kernels before 5.16 do not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instructions {
    Exactly(u64),
    AtLeast(u64),
    Unknown,
}

impl Load {
    /// Takes what it knows out of the doctor's output, which may have other lines around it.
    pub fn parse(output: &str) -> Result<Self> {
        let doctor: Value = serde_json::from_str(object(output)?)
            .with_context(|| format!("`observer doctor` did not print JSON: {output}"))?;
        let probes = &doctor["probes"];
        let programs = probes["programs"].as_array();
        let attached = |wanted| {
            let programs = programs?;
            Some(programs.iter().filter(|program| program["attached"] == Value::Bool(wanted)).count())
        };
        Ok(Self {
            kernel: doctor["kernel"].as_str().map(str::to_owned),
            attached: attached(true),
            refused: attached(false),
            tiers: doctor["signals"].as_array().map(|signals| tiers(signals)),
            instructions: instructions(programs.map(Vec::as_slice).unwrap_or_default()),
            milliseconds: probes["load_ms"].as_f64(),
        })
    }

    fn row(&self, place: Place) -> String {
        let kernel = self.kernel.as_deref().map_or_else(unknown, |kernel| shown(place, kernel));
        let tiers = self.tiers.as_ref().map_or_else(unknown, |tiers| {
            let tiers: Vec<String> = tiers.iter().map(|(tier, count)| format!("{count} {tier}")).collect();
            tiers.join(", ")
        });
        let cells = [
            place.short_name().to_owned(),
            kernel,
            self.attached.map_or_else(unknown, |count| count.to_string()),
            self.refused.map_or_else(unknown, |count| count.to_string()),
            tiers,
            self.instructions.shown(),
            self.milliseconds.map_or_else(unknown, |time| format!("{time:.0} ms")),
        ];
        format!("| {} |", cells.join(" | "))
    }
}

impl Instructions {
    fn shown(self) -> String {
        match self {
            Self::Exactly(count) => count.to_string(),
            Self::AtLeast(count) => format!("≥ {count}"),
            Self::Unknown => unknown(),
        }
    }
}

/// A table with a row for every place.
pub fn table(places: &[(Place, Option<Load>)]) -> String {
    let titles = [
        "place",
        "kernel",
        "programs attached",
        "refused",
        "signals",
        "verified instructions",
        "load, verify and attach",
    ];
    let mut lines = vec![format!("| {} |", titles.join(" | ")), "|---".repeat(titles.len()) + "|"];
    for (place, load) in places {
        let not_run = || format!("| {} |{}", place.short_name(), " – |".repeat(titles.len() - 1));
        lines.push(load.as_ref().map_or_else(not_run, |load| load.row(*place)));
    }
    lines.join("\n")
}

/// The JSON object among other lines.
fn object(output: &str) -> Result<&str> {
    let object = output.find('{').zip(output.rfind('}')).filter(|(begin, end)| begin < end);
    let (begin, end) = object.with_context(|| format!("`observer doctor` printed no object: {output}"))?;
    Ok(&output[begin..=end])
}

fn tiers(signals: &[Value]) -> Vec<(String, usize)> {
    let count = |tier: &&str| signals.iter().filter(|signal| signal["tier"] == **tier).count();
    TIERS.iter().map(|tier| ((*tier).to_owned(), count(tier))).filter(|(_, count)| *count > 0).collect()
}

fn instructions(programs: &[Value]) -> Instructions {
    let attached: Vec<_> =
        programs.iter().filter(|program| program["attached"] == Value::Bool(true)).collect();
    let known: Vec<u64> =
        attached.iter().filter_map(|program| program["verified_instructions"].as_u64()).collect();
    match known.iter().sum() {
        _ if known.is_empty() => Instructions::Unknown,
        sum if known.len() == attached.len() => Instructions::Exactly(sum),
        sum => Instructions::AtLeast(sum),
    }
}

/// The kernel of a virtual machine in full; of the host, whose builder is nobody's business, the version only.
fn shown(place: Place, kernel: &str) -> String {
    match kernel.split(['.', '-']).collect::<Vec<_>>().as_slice() {
        [major, minor, ..] if place == Place::Host => format!("{major}.{minor}"),
        _ => kernel.to_owned(),
    }
}

fn unknown() -> String {
    "?".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCTOR: &str = r#"warning: something
{
  "kernel": "6.1.0-56-cloud-amd64",
  "probes": {
    "load_ms": 1234.5,
    "programs": [
      {"program": "a", "hook": "fentry f", "attached": true, "why": null, "verified_instructions": 100, "load_ms": 1.0},
      {"program": "b", "hook": "fexit g", "attached": true, "why": null, "verified_instructions": 23, "load_ms": 2.0},
      {"program": "c", "hook": "tp_btf h", "attached": false, "why": "EPERM", "verified_instructions": null, "load_ms": 0.0}
    ]
  },
  "signals": [{"signal": "x", "tier": "counter"}, {"signal": "y", "tier": "trampoline"}, {"signal": "z", "tier": "counter"}]
}"#;

    #[test]
    fn the_doctors_output_is_understood() -> Result<()> {
        assert_eq!(
            Load::parse(DOCTOR)?.row(Place::Machine("6.1")),
            "| 6.1 | 6.1.0-56-cloud-amd64 | 2 | 1 | 1 trampoline, 2 counter | 123 | 1234 ms |"
        );
        Ok(())
    }

    #[test]
    fn what_is_not_told_is_not_guessed() -> Result<()> {
        // An array of probes is how earlier versions told it.
        let row = Load::parse(r#"{"kernel": "6.18.44-x", "probes": [{"attached": true}]}"#)?.row(Place::Host);
        assert_eq!(row, "| host | 6.18 | ? | ? | ? | ? | ? |");
        assert!(Load::parse("observer: no such file").is_err());
        assert!(Load::parse("{ broken }").is_err());
        Ok(())
    }

    #[test]
    fn a_kernel_that_does_not_tell_all_instructions_tells_the_least() -> Result<()> {
        let some = DOCTOR.replace("\"verified_instructions\": 23", "\"verified_instructions\": null");
        assert_eq!(Load::parse(&some)?.instructions, Instructions::AtLeast(100));
        let none = some.replace("\"verified_instructions\": 100", "\"verified_instructions\": null");
        assert_eq!(Load::parse(&none)?.instructions, Instructions::Unknown);
        Ok(())
    }

    #[test]
    fn a_place_that_did_not_run_has_a_row() -> Result<()> {
        let table =
            table(&[(Place::Machine("5.10"), None), (Place::Machine("6.1"), Some(Load::parse(DOCTOR)?))]);
        let rows: Vec<_> = table.lines().collect();
        assert_eq!(rows[2], "| 5.10 | – | – | – | – | – | – |");
        assert_eq!(rows.len(), 4);
        Ok(())
    }
}

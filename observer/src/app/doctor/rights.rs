//! Which privileges observer has, and what becomes of them once everything is attached.

use std::fmt;

use caps::{Capability, CapsHashSet};
use serde::Serialize;

use crate::privileges::{self, Privilege, Refused, TABLE, Until};

/// What was found.
#[derive(Serialize)]
pub(super) struct Rights {
    /// The effective capabilities as /proc/PID/status has them, in hexadecimal.
    cap_eff: String,
    /// The capabilities that observer has a use for.
    capabilities: Vec<Right>,
    /// Effective capabilities that it has none for; they are dropped with the first.
    of_no_use: Vec<String>,
    /// Why none can be given up, where that is so.
    not_given_up: Option<String>,
}

#[derive(Serialize)]
struct Right {
    capability: String,
    held: bool,
    unlocks: &'static str,
    without: &'static str,
    sources: &'static [&'static str],
    until: Until,
    /// Whether it is still held when everything is attached and there is no command; `None` where it is not held
    /// in the first place.
    kept: Option<bool>,
}

/// The effective capabilities; none where the kernel does not tell.
pub(super) fn held() -> CapsHashSet {
    privileges::effective().unwrap_or_default()
}

impl Rights {
    /// Tells what was `held`, and what was `left` of it when the rest had been given up, or `refused` to go.
    pub(super) fn find(held: &CapsHashSet, left: &CapsHashSet, refused: Option<Refused>) -> Self {
        let is_of_use = |capability: &&Capability| TABLE.iter().any(|row| row.capability == **capability);
        let mut of_no_use: Vec<String> =
            held.iter().filter(|capability| !is_of_use(capability)).map(Capability::to_string).collect();
        of_no_use.sort();
        Self {
            cap_eff: format!("{:016x}", held.iter().map(Capability::bitmask).fold(0, |all, one| all | one)),
            capabilities: TABLE.iter().map(|row| Right::find(row, held, left)).collect(),
            of_no_use,
            not_given_up: refused.map(|refused| refused.to_string()),
        }
    }
}

impl Right {
    fn find(row: &Privilege, held: &CapsHashSet, left: &CapsHashSet) -> Self {
        let is_held = held.contains(&row.capability);
        Self {
            capability: row.capability.to_string(),
            held: is_held,
            unlocks: row.unlocks,
            without: row.without,
            sources: row.sources,
            until: row.until,
            kept: is_held.then(|| left.contains(&row.capability)),
        }
    }

    /// Whether it stays though it would not on another kernel.
    fn stays_here(&self) -> bool {
        self.until == Until::Attached && self.kept == Some(true)
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.capabilities.iter().filter(|right| right.held).count();
        write!(out, "privileges: {held} of {} held", self.capabilities.len())?;
        match self.of_no_use.len() {
            0 => writeln!(out)?,
            more => writeln!(out, ", and {more} that observer has no use for and drops")?,
        }
        if let Some(why) = &self.not_given_up {
            writeln!(out, "  {why}")?;
        }
        for until in Until::ALL {
            writeln!(out, "  {}", until.words())?;
            for right in self.capabilities.iter().filter(|right| right.until == until) {
                write!(out, "{right}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Right {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.held { "held" } else { "missing" };
        writeln!(out, "    {:19} {state:7}  {}", self.capability, self.unlocks)?;
        if !self.held {
            writeln!(out, "    {:28} without it: {}", "", self.without)?;
        }
        if self.stays_here() {
            writeln!(out, "    {:28} kept: this kernel does not let the probes be read without it", "")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(capabilities: &[Capability]) -> CapsHashSet {
        capabilities.iter().copied().collect()
    }

    #[test]
    fn each_is_named_once_and_a_missing_one_says_what_is_lost() {
        let nothing = Rights::find(&set(&[]), &set(&[]), None).to_string();
        assert!(nothing.starts_with(&format!("privileges: 0 of {} held\n", TABLE.len())), "{nothing}");
        for row in TABLE {
            let name = format!(" {} ", row.capability);
            assert_eq!(nothing.matches(&name).count(), 1, "{nothing}");
            assert!(nothing.contains(&format!("without it: {}\n", row.without)), "{nothing}");
        }
        let everything = caps::all();
        let all = Rights::find(&everything, &everything, None).to_string();
        let others = everything.len() - TABLE.len();
        assert!(all.contains(&format!(" held, and {others} that observer has no use for")), "{all}");
        assert!(!all.contains("without it:"), "{all}");
    }

    #[test]
    fn what_stays_on_this_kernel_only_is_said() {
        let held = set(&[Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_WAKE_ALARM]);
        let found = Rights::find(&held, &set(&[Capability::CAP_BPF]), None);
        assert_eq!(found.cap_eff, "000000c800000000");
        assert_eq!(found.of_no_use, ["CAP_WAKE_ALARM"]);
        let json = serde_json::to_value(&found).expect("JSON");
        let of = |name: &str| {
            let all = json["capabilities"].as_array().expect("a list");
            let it = all.iter().find(|it| it["capability"] == name).expect("it is there");
            (it["held"].clone(), it["kept"].clone(), it["until"].clone())
        };
        assert_eq!(of("CAP_BPF"), (true.into(), true.into(), "attached".into()));
        assert_eq!(of("CAP_PERFMON"), (true.into(), false.into(), "attached".into()));
        assert_eq!(of("CAP_SYS_PTRACE"), (false.into(), serde_json::Value::Null, "ends".into()));
        assert_eq!(found.to_string().matches("kept: this kernel").count(), 1);
    }
}

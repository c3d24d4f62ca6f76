//! Runs the lab, which provokes real faults, on this host and in a virtual machine.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::accuracy::Count;
use crate::place::Place;
use crate::process;
use crate::progress::step;
use crate::results::{Outcome, Tally};
use crate::tree::Tree;

/// The whole lab, on this host.
const HOST_LIMIT: Duration = Duration::from_secs(12 * 60);

/// The whole lab, in a machine: another one takes its share of the processors.
const VM_LIMIT: Duration = Duration::from_secs(20 * 60);

/// The scenarios whose name contains the filter; without one, all of them.
pub fn scenarios(tree: &Tree, filter: Option<&str>) -> Result<Vec<String>> {
    let Some(filter) = filter else {
        return Ok(vec!["all".to_owned()]);
    };
    let listed = process::read(Command::new(tree.static_release("observer-lab")).arg("list"))?;
    Ok(names(&listed).filter(|name| name.contains(filter)).map(str::to_owned).collect())
}

/// Runs scenarios, and returns the lines in which the lab tells its counts.
pub fn run(tree: &Tree, place: Place, scenarios: &[String], tally: &Tally) -> Result<Vec<String>> {
    let [lab, observer] = ["observer-lab", "observer"].map(|name| place.program(tree, name));
    let options = [lab, "run".to_owned(), "--observer".to_owned(), observer];
    let command: Vec<String> = options.into_iter().chain(scenarios.iter().cloned()).collect();
    let limit = if place == Place::Host { HOST_LIMIT } else { VM_LIMIT };
    let mut reader = Reader::new(&place.name(), tally);
    let status = place.run(tree, &command, limit, |line| reader.read(line))?;
    reader.end(status)
}

/// The names in the output of `observer-lab list`: the first word of each line.
fn names(listed: &str) -> impl Iterator<Item = &str> {
    listed.lines().filter_map(|line| line.split_whitespace().next())
}

/// Takes the results out of the lab's output and passes the rest on.
struct Reader<'a> {
    place: String,
    tally: &'a Tally,
    results: usize,
    failures: usize,
    counts: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(place: &str, tally: &'a Tally) -> Self {
        Self { place: place.to_owned(), tally, results: 0, failures: 0, counts: Vec::new() }
    }

    fn read(&mut self, line: &str) {
        let Some((name, outcome)) = parse(line) else {
            if Count::is_told_in(line) {
                self.keep_count(line);
            }
            return step(format!("{} | {line}", self.place));
        };
        self.results += 1;
        self.failures += usize::from(matches!(outcome, Outcome::Failed(_)));
        self.tally.record(&self.place, name, outcome);
    }

    /// A count that nobody can read is missing in the documentation, so it is a failure.
    fn keep_count(&mut self, line: &str) {
        match Count::parse(line) {
            Ok(_) => self.counts.push(line.to_owned()),
            Err(error) => {
                self.tally.record(&self.place, "counts", Outcome::Failed(format!("{error:#}")));
            }
        }
    }

    /// A lab that reports nothing, or that fails without saying where, has not passed.
    fn end(self, status: Option<i32>) -> Result<Vec<String>> {
        match status {
            _ if self.results == 0 => bail!("the lab reported no result (status {status:?})"),
            Some(0) => Ok(self.counts),
            _ if self.failures > 0 => Ok(self.counts),
            Some(status) => bail!("the lab ended with status {status} without naming a failure"),
            None => bail!("the lab was ended by a signal"),
        }
    }
}

/// Understands `ok NAME`, `FAIL NAME: reason` and `skip NAME: reason`.
pub fn parse(line: &str) -> Option<(&str, Outcome)> {
    let (word, rest) = line.split_once(' ')?;
    let (name, reason) = rest.split_once(": ").unwrap_or((rest, "no reason given"));
    if name.is_empty() || name.contains(' ') {
        return None;
    }
    let outcome = match word {
        "ok" => Outcome::Passed,
        "FAIL" => Outcome::Failed(reason.to_owned()),
        "skip" => Outcome::Skipped(reason.to_owned()),
        _ => return None,
    };
    Some((name, outcome))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skips::ExpectedSkips;

    #[test]
    fn the_three_kinds_of_results_are_understood() {
        assert_eq!(parse("ok accept"), Some(("accept", Outcome::Passed)));
        assert_eq!(
            parse("FAIL accept: no hit: none"),
            Some(("accept", Outcome::Failed("no hit: none".into())))
        );
        assert_eq!(parse("skip accept: no root"), Some(("accept", Outcome::Skipped("no root".into()))));
        assert_eq!(parse("ok that was nice"), None);
        assert_eq!(parse("listening on 8080"), None);
    }

    #[test]
    fn scenarios_are_the_first_words_of_the_list() {
        let listed = "accept_overflow   A queue overflows\nhealthy           Nothing happens\n";
        assert_eq!(names(listed).collect::<Vec<_>>(), ["accept_overflow", "healthy"]);
    }

    #[test]
    fn a_lab_without_results_has_not_passed() {
        let tally = Tally::new(ExpectedSkips::default());
        assert!(Reader::new("host", &tally).end(Some(0)).is_err());
    }

    #[test]
    fn a_status_needs_a_failure_that_explains_it() {
        let tally = Tally::new(ExpectedSkips::default());
        let mut reader = Reader::new("host", &tally);
        reader.read("ok a");
        assert!(reader.end(Some(1)).is_err());
        let mut reader = Reader::new("host", &tally);
        reader.read("FAIL a: broken");
        assert!(reader.end(Some(1)).is_ok());
    }

    #[test]
    fn counts_are_kept_and_have_to_be_readable() -> Result<()> {
        let tally = Tally::new(ExpectedSkips::default());
        let mut reader = Reader::new("host", &tally);
        let line = "count a s hook=1 kernel=K:1 app=- tier=trampoline";
        reader.read(line);
        reader.read("  count a s hook=1 and so on, for people");
        reader.read("ok a");
        reader.read("count a s hook=some");
        assert_eq!(tally.failures(), 1);
        assert_eq!(reader.end(Some(0))?, [line]);
        Ok(())
    }
}

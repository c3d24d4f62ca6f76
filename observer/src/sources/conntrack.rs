//! `/proc/PID/net/stat/nf_conntrack`: the connection tracking table of a namespace.
//!
//! One line per CPU, in hexadecimal; only the number of entries is the same on each. There is no such file
//! before the module is loaded. (`nf_conntrack_count` says the same, but only to a task of the namespace.)

use std::collections::HashMap;

use observer_common::Signal;

use super::{
    Clock, Pace, Samples, Source, Stopwatch, Window,
    error::{Problems, SourceError},
    sysctls, text,
    world::{Namespace, World},
};
use crate::core::{frame::Resource, subject::Subject};

const FILE: &str = "stat/nf_conntrack";

/// How often a table far from its limit is read, and whether there is one is looked at.
const SLOW_MS: u64 = 1_000;
/// How often a table in use is read, as far as [`SHARE`] allows.
const FAST_MS: u64 = 100;
/// Reading one takes at most one in this many of the time: on a host of many CPUs it is a long text.
const SHARE: u64 = 500;
/// From one in this many of the limit on, a table is near it.
const NEAR: u64 = 4;
/// How much of the limit the entries have to change by to be told more than once a second.
const STEP: u64 = 256;

/// Reads the tables of the namespaces whose turn it is: those in use, or near the limit, at each of them.
#[derive(Debug, Default)]
pub(super) struct Conntrack {
    tables: HashMap<u32, Table>,
    buffer: Vec<u8>,
}

/// A table as it was read last.
#[derive(Debug)]
struct Table {
    pace: Pace,
    latest: Option<Counts>,
    /// The entries that were told last, and when.
    told: Option<(u64, u64)>,
}

impl Default for Table {
    fn default() -> Self {
        Self { pace: Pace::every_ms(SLOW_MS).at_most_one_in(SHARE), latest: None, told: None }
    }
}

/// Sums over all CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    entries: u64,
    drop: u64,
    early_drop: u64,
}

impl Source for Conntrack {
    fn name(&self) -> &'static str {
        "conntrack"
    }

    fn due(&self, now_ns: u64, world: &World) -> bool {
        let is_due = |id| self.tables.get(id).is_none_or(|table| table.pace.is_due(now_ns));
        world.namespaces.iter().any(|namespace| namespace.due && is_due(&namespace.id))
    }

    fn read(
        &mut self,
        world: &mut World,
        clock: Clock<'_>,
        out: &mut Samples<'_>,
    ) -> Result<(), SourceError> {
        let mut problems = Problems::default();
        let host_limit = world.namespaces.iter().find(|namespace| namespace.own);
        let host_limit = host_limit.and_then(|namespace| namespace.sysctls.max_conntrack);
        let now_ns = clock();
        for namespace in world.due_namespaces() {
            let table = self.tables.entry(namespace.id).or_default();
            if !table.pace.is_due(now_ns) {
                continue;
            }
            let watch = Stopwatch::start(clock);
            let (window, text) = Window::around(clock, || namespace.read(FILE, &mut self.buffer));
            let cost = watch.cost(clock);
            let Ok(text) = text.map_err(|error| problems.note(error)) else {
                table.pace.set_interval_ms(SLOW_MS);
                table.pace.ran_at(window.before_ns, cost);
                continue;
            };
            let parsed = parse(text).map_err(|problem| SourceError::malformed(namespace.file(FILE), problem));
            if let Some(counts) = problems.check(parsed) {
                if table.latest.is_none() {
                    // The module may have come a moment ago: its limit is to be had at once.
                    namespace.sysctls.read_ns = 0;
                }
                // Where a namespace hides it, the limit is still everybody's.
                let limit = namespace.sysctls.max_conntrack.or(host_limit);
                table.tell(counts, limit, namespace, window, out);
            }
            table.pace.ran_at(window.before_ns, cost);
        }
        self.tables.retain(|id, _| world.namespaces.iter().any(|namespace| namespace.id == *id));
        problems.finish()
    }
}

impl Table {
    /// Tells what changed, and decides when to read again.
    fn tell(
        &mut self,
        counts: Counts,
        limit: Option<u64>,
        namespace: &Namespace,
        window: Window,
        out: &mut Samples<'_>,
    ) {
        let subject = Subject::namespace(namespace.id);
        out.signal(Signal::ConntrackDrop, &subject, counts.drop, window);
        out.signal(Signal::ConntrackEarlyDrop, &subject, counts.early_drop, window);
        let dropped =
            self.latest.is_some_and(|last| (last.drop, last.early_drop) != (counts.drop, counts.early_drop));
        if dropped || self.is_news(counts.entries, limit, window) {
            self.told = Some((counts.entries, window.before_ns));
            let limit = limit.map(|limit| (limit, sysctls::MAX_CONNTRACK));
            out.usage(Resource::Conntrack, &subject, counts.entries, limit, window);
        }
        let near = limit.is_some_and(|limit| counts.entries >= limit / NEAR);
        // TCP or not, entries come and go where it is in use.
        let moved = self.latest.is_some_and(|last| last.entries != counts.entries);
        let in_use = counts.entries > 0 && (near || moved || namespace.quiet.is_none());
        self.pace.set_interval_ms(if in_use || dropped { FAST_MS } else { SLOW_MS });
        self.latest = Some(counts);
    }

    /// Whether the entries are worth telling again.
    fn is_news(&self, entries: u64, limit: Option<u64>, window: Window) -> bool {
        let Some((told, told_ns)) = self.told else { return true };
        let step = limit.map_or(1, |limit| limit.div_ceil(STEP)).max(1);
        told.abs_diff(entries) >= step || window.before_ns.saturating_sub(told_ns) >= SLOW_MS * 1_000_000
    }
}

/// Adds up the lines. Columns are found by the names in the first one.
fn parse(text: &str) -> Result<Counts, String> {
    let mut lines = text.split_inclusive('\n');
    let header = text::line(lines.next().ok_or("is empty")?)?;
    let names: Vec<&str> = header.split_ascii_whitespace().collect();
    let at = |name: &str| {
        names.iter().position(|other| *other == name).ok_or_else(|| format!("has no column {name}"))
    };
    let columns = [at("entries")?, at("drop")?, at("early_drop")?];
    let mut counts = None;
    for line in lines {
        let words: Vec<&str> = text::line(line)?.split_ascii_whitespace().collect();
        let mut values = [0; 3];
        for (value, at) in values.iter_mut().zip(columns) {
            let word = words.get(at).ok_or("has fewer values than names")?;
            let number = u32::from_str_radix(word, 16);
            *value = u64::from(number.map_err(|_| format!("`{}` is not a number", text::shorten(word)))?);
        }
        let [entries, drop, early_drop] = values;
        let sum = counts.get_or_insert(Counts { entries, drop: 0, early_drop: 0 });
        sum.drop += drop;
        sum.early_drop += early_drop;
    }
    counts.ok_or_else(|| "has no values".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{core::frame::Frame, sources::Changes};

    const TWO_CPUS: &str = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop\n\
         0000001e  00000000 00000000 00000000 00000007 00000000 00000000 00000000 00000000 00000000 00000014 00000001\n\
         0000001e  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000002 0000000f\n";

    #[test]
    fn the_drops_of_all_cpus_are_added_up_and_the_entries_are_not() {
        assert_eq!(parse(TWO_CPUS), Ok(Counts { entries: 30, drop: 22, early_drop: 16 }));
    }

    #[test]
    fn columns_are_found_by_name_and_damage_is_an_error() {
        let moved = "early_drop entries drop\n00000001 0000000a 00000002\n";
        assert_eq!(parse(moved), Ok(Counts { entries: 10, drop: 2, early_drop: 1 }));
        for end in 0..TWO_CPUS.len() {
            // A cut between two lines looks like a host of fewer CPUs.
            let whole = TWO_CPUS[..end].ends_with('\n') && TWO_CPUS[..end].lines().count() > 1;
            assert!(whole || parse(&TWO_CPUS[..end]).is_err(), "{:?}", &TWO_CPUS[..end]);
        }
    }

    #[test]
    fn a_table_in_use_is_read_faster_and_told_no_more_than_it_has_to() {
        let (mut frame, mut changes) = (Frame::default(), Changes::default());
        let mut namespace = Namespace::new(7, 1, true);
        let mut table = Table::default();
        let mut tell = |table: &mut Table, namespace: &Namespace, entries, drop, at_ns| {
            let window = Window { before_ns: at_ns, after_ns: at_ns };
            let counts = Counts { entries, drop, early_drop: 0 };
            let out = &mut Samples::new(&mut frame, &mut changes);
            table.tell(counts, Some(25_600), namespace, window, out);
            table.pace.ran(at_ns);
            (frame.usages.len(), table.pace.is_due(at_ns + FAST_MS * 1_000_000))
        };
        namespace.quiet = Some(Window { before_ns: 0, after_ns: 0 });
        assert_eq!(tell(&mut table, &namespace, 5, 0, 0), (1, false), "nothing moves");
        assert_eq!(tell(&mut table, &namespace, 6, 0, 100_000_000), (1, true), "one more is no news");
        assert_eq!(tell(&mut table, &namespace, 106, 0, 200_000_000), (2, true));
        assert_eq!(tell(&mut table, &namespace, 106, 1, 300_000_000), (2, true), "a drop is an alarm");
        assert_eq!(tell(&mut table, &namespace, 106, 1, 400_000_000), (2, false));
        namespace.quiet = None;
        assert_eq!(tell(&mut table, &namespace, 106, 1, 500_000_000), (2, true), "there is traffic");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(entries |drop |early_drop\n|[ 0-9a-f\n]|\\PC){0,80}") {
            let _ = parse(&text);
        }
    }
}

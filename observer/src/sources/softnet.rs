//! `/proc/net/softnet_stat`: packets that a CPU could not take in. One line per CPU, for the whole host.

use std::collections::HashMap;

use observer_common::Signal;

use super::{
    Clock, Pace, Samples, Source, Window,
    error::SourceError,
    text::{self, Kept},
    world::World,
};
use crate::core::subject::Subject;

const FILE: &str = "/proc/self/net/softnet_stat";
/// Columns, which have no names: the second and third of every kernel.
const DROPPED: usize = 1;
const SQUEEZED: usize = 2;
/// The column with the CPU's number, from 5.10 on; before, lines are told apart by their order.
const CPU: usize = 12;
/// It is read at every tick for so many reads after a drop.
const ALERT: u8 = 20;

/// Reads the file once a second, and at every tick while packets are dropped.
#[derive(Debug)]
pub(super) struct Softnet {
    pace: Pace,
    alert: u8,
    /// Per CPU, as it was read last.
    latest: HashMap<u32, Counts>,
    /// Sums over all CPUs that have been seen, those that were switched off since included.
    dropped: u64,
    squeezed: u64,
    file: Kept,
    buffer: Vec<u8>,
}

/// What the kernel counted on one CPU, in 32 bits that wrap around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    dropped: u32,
    squeezed: u32,
}

impl Default for Softnet {
    fn default() -> Self {
        Self {
            pace: Pace::every_ms(1_000),
            alert: 0,
            latest: HashMap::new(),
            dropped: 0,
            squeezed: 0,
            file: Kept::default(),
            buffer: Vec::new(),
        }
    }
}

impl Source for Softnet {
    fn name(&self) -> &'static str {
        "softnet"
    }

    fn due(&self, now_ns: u64, _world: &World) -> bool {
        self.alert > 0 || self.pace.is_due(now_ns)
    }

    fn read(
        &mut self,
        _world: &mut World,
        clock: Clock<'_>,
        out: &mut Samples<'_>,
    ) -> Result<(), SourceError> {
        let (window, text) = Window::around(clock, || self.file.read(FILE, &mut self.buffer));
        self.pace.ran(window.before_ns);
        let rows = parse(text?).map_err(|problem| SourceError::malformed(FILE, problem))?;
        let (first, dropped) = (self.latest.is_empty(), self.dropped);
        self.add(rows);
        let drops = !first && self.dropped > dropped;
        self.alert = if drops { ALERT } else { self.alert.saturating_sub(1) };
        out.signal(Signal::SoftnetDrop, &Subject::HOST, self.dropped, window);
        out.signal(Signal::SoftnetSqueeze, &Subject::HOST, self.squeezed, window);
        Ok(())
    }
}

impl Softnet {
    /// Adds what each CPU has counted since it was read last.
    fn add(&mut self, rows: Vec<(u32, Counts)>) {
        for (cpu, counts) in rows {
            let before = self.latest.insert(cpu, counts).unwrap_or_default();
            self.dropped += u64::from(counts.dropped.wrapping_sub(before.dropped));
            self.squeezed += u64::from(counts.squeezed.wrapping_sub(before.squeezed));
        }
    }
}

/// The counts of each CPU that is switched on.
fn parse(text: &str) -> Result<Vec<(u32, Counts)>, String> {
    let number = |word: &str| {
        u32::from_str_radix(word, 16).map_err(|_| format!("`{}` is not a number", text::shorten(word)))
    };
    let row = |(order, line): (usize, &str)| {
        let words: Vec<&str> = text::line(line)?.split_ascii_whitespace().collect();
        let column = |at: usize| number(words.get(at).ok_or("holds too few columns")?);
        let cpu = if words.len() > CPU { column(CPU)? } else { order as u32 };
        Ok((cpu, Counts { dropped: column(DROPPED)?, squeezed: column(SQUEEZED)? }))
    };
    text.split_inclusive('\n').enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TWO_CPUS: &str = "00b5806a 0000000f 00000002 00000000 00000000 00000000 00000000 00000000 00000000 \
        00000000 00000000 00000000 00000000 00000000 00000000\n\
        00ab9511 00000001 00000010 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 \
        00000000 00000003 00000000 00000000\n";

    #[test]
    fn the_columns_of_each_cpu_are_read() {
        let expected =
            vec![(0, Counts { dropped: 15, squeezed: 2 }), (3, Counts { dropped: 1, squeezed: 16 })];
        assert_eq!(parse(TWO_CPUS), Ok(expected));
        assert_eq!(parse("1 2 3\n1 4 5\n").map(|rows| rows.len()), Ok(2));
        for damaged in ["1\n", "1 2 3", "1 2 x\n", "1 2 111111111\n"] {
            assert!(parse(damaged).is_err(), "{damaged}");
        }
    }

    #[test]
    fn the_sum_survives_a_cpu_that_is_switched_off_and_a_count_that_wraps() {
        let counts = |dropped| Counts { dropped, squeezed: 0 };
        let mut softnet = Softnet::default();
        softnet.add(vec![(0, counts(u32::MAX)), (1, counts(7))]);
        softnet.add(vec![(0, counts(2))]);
        assert_eq!(softnet.dropped, u64::from(u32::MAX) + 7 + 3);
        softnet.add(vec![(0, counts(2)), (1, counts(8))]);
        assert_eq!(softnet.dropped, u64::from(u32::MAX) + 7 + 3 + 1);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([ 0-9a-f\n]|\\PC){0,80}") {
            let _ = parse(&text);
        }
    }
}

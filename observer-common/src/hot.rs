//! Counting at the busiest places without a hash map.
//!
//! User space gives the busiest places a [slot](Key::slot) each. A program that finds its place there adds to a row of
//! counters; one that does not adds to a [`Cell`](crate::Cell) as ever. What was counted is the sum of both.

use crate::{Key, Signal};

/// Places that may have a slot.
pub const SLOTS: usize = 256;

/// Room for the signals that are counted in slots: what every connection does. A power of two, so that programs can
/// bound an index by a mask.
pub const COLUMNS: usize = 8;

/// Of them, those that note the level of a queue.
pub const LEVELS: usize = 2;

/// So many signals have the columns of their numbers.
const IN_A_ROW: usize = 6;

/// Whose slot it is: a cache line. All zero is nobody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Owner {
    /// [`Key::place`].
    pub place: [u64; 5],
    /// The cookie of the place's network namespace, which is never given to another one; 0 until a program has met the
    /// place there. Programs compare this instead of the namespace's inode number, which stands beside its reference
    /// count: every socket that is made or freed takes that line away from the other CPUs.
    pub namespace: u64,
    /// A bit for each [`Signal::column`] of which there is a cell: the others are not counted here, since nobody would
    /// read them.
    pub columns: u64,
    /// Up to the end of the line.
    pub unused: u64,
}

/// What one CPU counted in a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Row {
    /// Occurrences, by [`Signal::column`].
    pub counts: [u64; COLUMNS],
    /// By [`Signal::level`], the highest use in the upper half and the limit in the lower one, as this CPU's cell has
    /// them: what is beyond, or has another limit, goes to the cell.
    pub levels: [u64; LEVELS],
}

impl Signal {
    /// Where it stands in a [`Row`]; `None` where it is not counted in slots.
    #[inline(always)]
    pub const fn column(self) -> Option<usize> {
        match self {
            Self::TimeWaitEntered => Some(IN_A_ROW),
            Self::TimeWaitExited => Some(IN_A_ROW + 1),
            _ if (self as usize) < IN_A_ROW => Some(self as usize),
            _ => None,
        }
    }

    /// Where its level stands in a [`Row`]; `None` where it has none, or is not counted in slots.
    #[inline(always)]
    pub const fn level(self) -> Option<usize> {
        match self {
            Self::SynArrival => Some(0),
            Self::ConnectionAccepted => Some(1),
            _ => None,
        }
    }
}

impl Key {
    /// The key without its signal, as words.
    #[inline(always)]
    pub const fn place(&self) -> [u64; 5] {
        Self { signal: 0, ..*self }.words()
    }

    /// The key of a signal at a place.
    pub const fn at(place: [u64; 5], signal: Signal) -> Self {
        let [cgroup, first, second, ids, what] = place;
        Self {
            cgroup,
            address: [first, second],
            netns: ids as u32,
            pid: (ids >> 32) as u32,
            signal: signal as u16,
            port: (what >> 16) as u16,
            flags: (what >> 32) as u16,
            reason: (what >> 48) as u16,
        }
    }

    /// Which of the [`SLOTS`] its place may have. The namespace has no part in it: a program that finds its place need
    /// not know its number.
    #[inline(always)]
    pub const fn slot(&self) -> usize {
        /// 2^64 over the golden ratio: spreads low bits over the high ones.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let [cgroup, first, second, _, what] = self.place();
        let address = cgroup ^ first.rotate_left(17) ^ second;
        let mixed = (address.wrapping_mul(SPREAD) ^ what).wrapping_mul(SPREAD);
        ((mixed ^ mixed >> 32).wrapping_mul(SPREAD) >> (u64::BITS - SLOTS.ilog2())) as usize
    }
}

impl Row {
    /// Adds what another CPU has counted. Levels are the cells' to tell.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, other)| *count += other);
    }
}

const _: () = assert!(size_of::<Owner>() == 64 && align_of::<Owner>() == 8);
const _: () = assert!(size_of::<Row>() == 80 && align_of::<Row>() == 8);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding (asserted above), any bit pattern is valid.
unsafe impl aya::Pod for Owner {}
#[cfg(feature = "user")]
// SAFETY: as for `Owner`.
unsafe impl aya::Pod for Row {}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, IN_A_ROW, SLOTS};
    use crate::{Key, Signal, cell::mapped};

    #[test]
    fn places_that_are_alike_have_slots_of_their_own() {
        let address = mapped(u32::from_ne_bytes([127, 0, 0, 1]));
        let mut taken = [false; SLOTS];
        let mut shared = 0;
        for (cgroup, port) in (1..6).flat_map(|cgroup| (8000..8010).map(move |port| (cgroup, port))) {
            let key = Key { cgroup, address, netns: 4_026_531_840, signal: 3, port, ..Key::ZERO };
            shared += u32::from(core::mem::replace(&mut taken[key.slot()], true));
            assert_eq!(key.slot(), Key { netns: 1, signal: 5, ..key }.slot());
        }
        // Fifty places at random would share five.
        assert!(shared < 9, "{shared} of 50 share a slot");
    }

    #[test]
    fn every_column_is_one_signals() {
        let mut columns: [Option<Signal>; COLUMNS] = [None; COLUMNS];
        for signal in Signal::ALL.iter().copied().filter(|signal| signal.column().is_some()) {
            let column = signal.column().unwrap_or_default();
            assert_eq!(columns[column].replace(signal), None, "column {column}");
        }
        assert_eq!(columns.iter().flatten().count(), IN_A_ROW + 2);
        assert!(Signal::ALL.iter().all(|signal| signal.level().is_none() || signal.column().is_some()));
    }

    #[test]
    fn a_place_is_a_key_without_its_signal() {
        let key = Key { cgroup: 7, netns: 3, port: 80, signal: 4, flags: 1, ..Key::ZERO };
        assert_eq!(key.place(), Key { signal: 6, ..key }.place());
        assert_ne!(key.place(), Key { flags: 0, ..key }.place());
        assert_ne!(key.place(), Key { netns: 4, ..key }.place());
        let signal = Signal::ConnectionAccepted;
        let whole = Key { address: [5, 6], pid: 8, signal: signal as u16, reason: 9, ..key };
        assert_eq!(Key::at(whole.place(), signal), whole);
    }
}

//! Slots for the busiest keys: the probes count those without a hash map.

use aya::maps::{Array, MapData, MapError, PerCpuArray};
use observer_common::{Key, SLOTS, Signal};

use super::{Kernel, KernelError, drain::take};

/// Occurrences between two reads that make a key hot.
const HOT: u64 = 20;

/// Gives slots, and reads what was counted in them.
pub(super) struct Hot {
    keys: Array<MapData, [u64; 5]>,
    counts: PerCpuArray<MapData, [u64; SLOTS]>,
    owners: Vec<Option<Key>>,
    /// As of the last read, over all CPUs.
    totals: Vec<u64>,
    given: usize,
}

impl Hot {
    /// Takes the maps of a loaded kernel side.
    pub(super) fn new(kernel: &mut Kernel) -> Result<Self, KernelError> {
        Ok(Self {
            keys: take(kernel, "HOT_KEYS")?,
            counts: take(kernel, "HOT_COUNTS")?,
            owners: vec![None; SLOTS],
            totals: vec![0; SLOTS],
            given: 0,
        })
    }

    /// Reads what was counted in all slots.
    pub(super) fn read(&mut self) -> Result<(), MapError> {
        if self.given == 0 {
            return Ok(());
        }
        let per_cpu = self.counts.get(&0, 0)?;
        for (slot, total) in self.totals.iter_mut().enumerate() {
            *total = per_cpu.iter().map(|counts| counts[slot]).sum();
        }
        Ok(())
    }

    /// What was counted in the slot of a key, as of the last read.
    pub(super) fn count(&self, key: &Key) -> u64 {
        let slot = key.slot();
        if self.owners[slot].as_ref() == Some(key) { self.totals[slot] } else { 0 }
    }

    /// Gives a key that occurred so often since the last read a slot, if it may have one and its is free. One that
    /// is not given is no error: its counts go on where they are.
    pub(super) fn note(&mut self, key: &Key, occurred: u64) {
        let slot = key.slot();
        let is_timed = Signal::from_number(key.signal).is_none_or(Signal::is_timed);
        if is_timed || occurred < HOT || self.owners[slot].is_some() {
            return;
        }
        if self.keys.set(slot as u32, key.words(), 0).is_ok() {
            self.owners[slot] = Some(*key);
            self.given += 1;
        }
    }
}

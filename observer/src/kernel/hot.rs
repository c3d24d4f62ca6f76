//! Slots for the busiest places: the probes count those without a hash map.

use aya::maps::{Array, MapData};
use observer_common::{
    Key, Signal,
    hot::{Owner, Row, SLOTS},
};

use super::{
    Kernel, KernelError,
    by_cpu::{self, ByCpu},
    drain::take,
};

/// Occurrences between two reads that make a place hot.
const HOT: u64 = 20;

/// Gives slots, and reads what was counted in them.
pub(super) struct Hot {
    owners: Array<MapData, Owner>,
    rows: ByCpu<Row>,
    slots: Vec<Option<Slot>>,
}

/// A slot that was given.
struct Slot {
    owner: Owner,
    /// As of the last read, over all CPUs.
    total: Row,
    /// Whether a read has found more since that was last asked.
    has_moved: bool,
}

impl Hot {
    /// Takes the maps of a loaded kernel side.
    pub(super) fn new(kernel: &mut Kernel) -> Result<Self, KernelError> {
        Ok(Self {
            owners: take(kernel, "HOT_OWNERS")?,
            rows: ByCpu::take(kernel, by_cpu::HOT_ROWS)?,
            slots: (0..SLOTS).map(|_| None).collect(),
        })
    }

    /// Reads what was counted in all slots.
    pub(super) fn read(&mut self) {
        for (number, slot) in self.slots.iter_mut().enumerate() {
            if let Some(slot) = slot {
                let mut total = Row::default();
                self.rows.read(number).for_each(|row| total.merge(&row));
                slot.has_moved |= slot.total != total;
                slot.total = total;
            }
        }
    }

    /// The keys that are counted in the slots where the reads found more since this was last asked.
    pub(super) fn take_moved(&mut self) -> Vec<Key> {
        let mut keys = Vec::new();
        for slot in self.slots.iter_mut().flatten() {
            if !std::mem::take(&mut slot.has_moved) {
                continue;
            }
            let Owner { place, columns, .. } = slot.owner;
            let is_counted =
                |signal: &&Signal| signal.column().is_some_and(|column| columns >> column & 1 != 0);
            keys.extend(Signal::ALL.iter().filter(is_counted).map(|signal| Key::at(place, *signal)));
        }
        keys
    }

    /// What was counted in the slot of a key, as of the last read.
    pub(super) fn count(&self, key: &Key) -> u64 {
        let Some(column) = column(key) else { return 0 };
        let slot = self.slots[key.slot()].as_ref().filter(|slot| slot.owner.place == key.place());
        slot.map_or(0, |slot| slot.total.counts[column])
    }

    /// A key occurred so often since the last read: if its place is hot, it has the probes count it there. A place of
    /// which the slot is another's is not: its counts go on where they are.
    pub(super) fn note(&mut self, key: &Key, occurred: u64) {
        let Some(column) = column(key) else { return };
        let (number, place) = (key.slot(), key.place());
        let owner = match &self.slots[number] {
            None if occurred < HOT => return,
            None => Owner { place, ..Owner::default() },
            Some(slot) if slot.owner.place != place => return,
            Some(slot) => slot.owner,
        };
        let owner = Owner { columns: owner.columns | 1 << column, ..owner };
        let total = match &self.slots[number] {
            Some(slot) if slot.owner == owner => return,
            Some(slot) => slot.total,
            None => Row::default(),
        };
        // The namespace stays 0 here: a program notes it again.
        if self.owners.set(number as u32, owner, 0).is_ok() {
            self.slots[number] = Some(Slot { owner, total, has_moved: false });
        }
    }
}

fn column(key: &Key) -> Option<usize> {
    Signal::from_number(key.signal)?.column()
}

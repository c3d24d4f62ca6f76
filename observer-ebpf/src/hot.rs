//! Counting at places that have a slot: an array is a tenth of a hash map. See [`observer_common::hot`].

use observer_common::{
    Signal,
    hot::{COLUMNS, Owner, Row, SLOTS},
};

use crate::{
    emit::Level,
    maps::{HOT_OWNERS, HOT_ROWS, cpu},
    sock::Spot,
};

/// Counts one occurrence at a level of use, if there is a slot for it. Cells keep the levels: what tells something new of
/// them is not for the slot.
#[inline(always)]
pub fn counted<const TYPED: bool>(spot: &Spot<TYPED>, signal: Signal, level: Level) -> bool {
    let Some(column) = signal.column() else { return false };
    let Some(row) = row(spot, column) else { return false };
    if let Some(at) = signal.level() {
        let known = Level::unpacked(row.levels[at]);
        if level.limit != known.limit || level.used > known.used {
            row.levels[at] = level.packed();
            return false;
        }
    }
    // The compiler may have forgotten that, and the verifier wants to see it.
    if let Some(count) = row.counts.get_mut(column & (COLUMNS - 1)) {
        *count += 1;
    }
    true
}

/// This CPU's row of the place's slot, where it has one, and one that this column is read of. All of the place is
/// compared: a slot is given, and its namespace noted, while others read it; half a place is nobody's.
#[inline(always)]
fn row<const TYPED: bool>(spot: &Spot<TYPED>, column: usize) -> Option<&'static mut Row> {
    let slot = spot.key.slot() as u32;
    let shared = HOT_OWNERS.get_ptr_mut(slot)?;
    // SAFETY: the kernel returned a live map entry. Others may be writing it.
    let owner: Owner = unsafe { core::ptr::read_volatile(shared) };
    let [cgroup, first, second, ids, what] = spot.key.place();
    let differs = (owner.place[0] ^ cgroup)
        | (owner.place[1] ^ first)
        | (owner.place[2] ^ second)
        | (owner.place[4] ^ what);
    if differs != 0 || owner.columns >> column & 1 == 0 {
        return None;
    }
    let namespace = spot.namespace();
    if owner.namespace != namespace {
        if owner.namespace != 0 || owner.place[3] != ids | u64::from(spot.inum()) {
            return None;
        }
        // SAFETY: the kernel returned a live map entry. Whoever else writes this writes the same.
        unsafe { core::ptr::write_volatile(&raw mut (*shared).namespace, namespace) };
    }
    // SAFETY: the kernel returned a live map entry, this CPU's; only programs that run in the same context write it.
    HOT_ROWS.get_ptr_mut(cpu() * SLOTS as u32 + slot).map(|row| unsafe { &mut *row })
}

//! The per-CPU cell and the key that names its subject.

/// Bits of [`Key::flags`].
pub mod key_flags {
    /// The process belongs to the observed command's tree.
    pub const GENERATOR: u16 = 1;
    /// Counted by the tracepoint fallback of a signal that a trampoline may count as well;
    /// user space reads one of the two.
    pub const FALLBACK: u16 = 2;
    /// Of a signal of [`SubjectKind::Peer`](crate::SubjectKind::Peer): address and port are those of the
    /// listener that accepted the connection, not of the destination.
    pub const ACCEPTED: u16 = 4;
}

/// Who and what a [`Cell`] counts. Fields that the signal's subject does not have are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Key {
    /// Id of the cgroup (v2) that owns the socket or process; 1 is the root.
    pub cgroup: u64,
    /// Listener or destination address, IPv4 as `::ffff:a.b.c.d`: its 16 bytes in two words, which a probe writes and
    /// the map's hash reads whole.
    pub address: [u64; 2],
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Process (thread group) id as the initial pid namespace sees it.
    pub pid: u32,
    /// Number of the [`Signal`](crate::Signal).
    pub signal: u16,
    /// Listener or destination port, host byte order.
    pub port: u16,
    /// See [`key_flags`].
    pub flags: u16,
    /// The kernel's number of the reason, which user space names from BTF, or an error number; 0 where the signal has none.
    pub reason: u16,
}

/// An IPv4 address as [`Key::address`] has it, of the four bytes as they stand in memory.
#[inline(always)]
pub const fn mapped(v4: u32) -> [u64; 2] {
    // As memory has them: ten bytes 0, two 0xff, and the address.
    if cfg!(target_endian = "little") {
        [0, 0xffff_0000 | (v4 as u64) << 32]
    } else {
        [0, 0x0000_ffff_0000_0000 | v4 as u64]
    }
}

impl Key {
    /// The 16 bytes of the address.
    pub fn address_bytes(&self) -> [u8; 16] {
        let [first, second] = self.address.map(u64::to_ne_bytes);
        core::array::from_fn(|at| if at < 8 { first[at] } else { second[at - 8] })
    }

    /// The whole key as words, put together in registers.
    #[inline(always)]
    pub const fn words(&self) -> [u64; 5] {
        let ids = self.netns as u64 | (self.pid as u64) << 32;
        let what = self.signal as u64 | (self.port as u64) << 16;
        let how = self.flags as u64 | (self.reason as u64) << 16;
        [self.cgroup, self.address[0], self.address[1], ids, what | how << 32]
    }

    /// Nobody's.
    pub const ZERO: Self =
        Self { cgroup: 0, address: [0; 2], netns: 0, pid: 0, signal: 0, port: 0, flags: 0, reason: 0 };
}

/// What one CPU has counted for one [`Key`] since the probes were loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Cell {
    /// Occurrences.
    pub count: u64,
    /// CLOCK_MONOTONIC of the first occurrence, in nanoseconds.
    pub first_ns: u64,
    /// CLOCK_MONOTONIC of the latest occurrence, in nanoseconds.
    pub last_ns: u64,
    /// Highest use of the resource at an occurrence, since this CPU met the limit (queue depth); 0 where it has none.
    pub peak: u32,
    /// The limit in force at the latest occurrence; 0 where it has none.
    pub limit: u32,
}

impl Cell {
    /// Notes the use at an occurrence, and its limit. A use is never held against the limit of another time.
    #[inline(always)]
    pub const fn meet(&mut self, used: u32, limit: u32) {
        if self.limit != limit || used > self.peak {
            self.peak = used;
            self.limit = limit;
        }
    }

    /// Adds what another CPU has counted for the same key.
    pub fn merge(&mut self, other: &Cell) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 || other.first_ns < self.first_ns {
            self.first_ns = other.first_ns;
        }
        let is_later = other.last_ns >= self.last_ns;
        if is_later || other.limit == self.limit {
            self.meet(other.peak, other.limit);
        }
        self.last_ns = self.last_ns.max(other.last_ns);
        self.count += other.count;
    }
}

/// What one CPU has added to a map of cells: as long as it stands still there is nothing new to read, and as long as no
/// cell was made there are no new keys. It is added to after the cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct News {
    /// Additions to cells.
    pub added: u64,
    /// Cells made.
    pub made: u64,
    /// Up to the end of the cache line, so that each CPU has one of its own.
    pub unused: [u64; 6],
}

impl News {
    /// Adds what another CPU has added.
    pub fn merge(&mut self, other: &Self) {
        self.added += other.added;
        self.made += other.made;
    }
}

const _: () = assert!(size_of::<News>() == 64 && align_of::<News>() == 8);
const _: () = assert!(size_of::<Key>() == 40 && align_of::<Key>() == 8);
const _: () = assert!(size_of::<Cell>() == 32 && align_of::<Cell>() == 8);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding (asserted above), any bit pattern is valid.
unsafe impl aya::Pod for Key {}
#[cfg(feature = "user")]
// SAFETY: as for `Key`.
unsafe impl aya::Pod for Cell {}

#[cfg(feature = "user")]
// SAFETY: as for `Key`.
unsafe impl aya::Pod for News {}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};

    use super::{Cell, Key, mapped};

    #[test]
    fn addresses_stand_as_they_do_in_a_packet() {
        let v4 = Ipv4Addr::new(10, 1, 2, 3);
        let key = Key { address: mapped(u32::from_ne_bytes(v4.octets())), ..Key::ZERO };
        assert_eq!(key.address_bytes(), v4.to_ipv6_mapped().octets());
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, 6);
        let words = [0, 8].map(|at| u64::from_ne_bytes(v6.octets()[at..at + 8].try_into().expect("8 bytes")));
        assert_eq!(Key { address: words, ..Key::ZERO }.address_bytes(), v6.octets());
    }

    #[test]
    fn merge_keeps_the_earliest_first_and_the_latest_limit() {
        let mut total = Cell::default();
        total.merge(&Cell { count: 2, first_ns: 50, last_ns: 90, peak: 7, limit: 10 });
        total.merge(&Cell::default());
        total.merge(&Cell { count: 1, first_ns: 40, last_ns: 40, peak: 9, limit: 20 });
        assert_eq!(total, Cell { count: 3, first_ns: 40, last_ns: 90, peak: 7, limit: 10 });
        total.merge(&Cell { count: 1, first_ns: 60, last_ns: 60, peak: 8, limit: 10 });
        assert_eq!((total.peak, total.limit), (8, 10));
        total.merge(&Cell { count: 1, first_ns: 95, last_ns: 95, peak: 3, limit: 20 });
        assert_eq!((total.peak, total.limit), (3, 20), "seven of ten are not seven of twenty");
    }

    #[test]
    fn a_use_is_held_against_the_limit_of_its_time() {
        let mut cell = Cell::default();
        for (used, limit, peak) in
            [(5, 128, 5), (3, 128, 5), (9, 128, 9), (2, 16, 2), (1, 16, 2), (4, 128, 4)]
        {
            cell.meet(used, limit);
            assert_eq!((cell.peak, cell.limit), (peak, limit));
        }
    }
}

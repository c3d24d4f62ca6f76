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
    /// Listener or destination address, IPv4 as `::ffff:a.b.c.d`.
    pub address: [u8; 16],
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
    /// The kernel's number of the reason, which user space names from BTF; 0 where the signal has none.
    pub reason: u16,
}

impl Key {
    /// Nobody's.
    pub const ZERO: Self =
        Self { cgroup: 0, address: [0; 16], netns: 0, pid: 0, signal: 0, port: 0, flags: 0, reason: 0 };
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
    /// Highest use of the resource seen at an occurrence (queue depth); 0 where it has none.
    pub peak: u32,
    /// The limit in force at the latest occurrence; 0 where it has none.
    pub limit: u32,
}

impl Cell {
    /// Adds what another CPU has counted for the same key.
    pub fn merge(&mut self, other: &Cell) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 || other.first_ns < self.first_ns {
            self.first_ns = other.first_ns;
        }
        if other.last_ns >= self.last_ns {
            self.last_ns = other.last_ns;
            self.limit = other.limit;
        }
        self.peak = self.peak.max(other.peak);
        self.count += other.count;
    }
}

const _: () = assert!(size_of::<Key>() == 40 && align_of::<Key>() == 8);
const _: () = assert!(size_of::<Cell>() == 32 && align_of::<Cell>() == 8);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding (asserted above), any bit pattern is valid.
unsafe impl aya::Pod for Key {}
#[cfg(feature = "user")]
// SAFETY: as for `Key`.
unsafe impl aya::Pod for Cell {}

#[cfg(test)]
mod tests {
    use super::Cell;

    #[test]
    fn merge_keeps_the_earliest_first_and_the_latest_limit() {
        let mut total = Cell::default();
        total.merge(&Cell { count: 2, first_ns: 50, last_ns: 90, peak: 7, limit: 10 });
        total.merge(&Cell::default());
        total.merge(&Cell { count: 1, first_ns: 40, last_ns: 40, peak: 9, limit: 20 });
        assert_eq!(total, Cell { count: 3, first_ns: 40, last_ns: 90, peak: 9, limit: 10 });
    }
}

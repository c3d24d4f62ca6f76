//! The few detailed events that go through the ring buffer.

use crate::Key;

/// The first occurrence of a failure for a subject, or the first after a quiet time: it wakes user space and carries
/// the name of the process while it is still there to be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// The cell that it counts in.
    pub key: Key,
    /// CLOCK_MONOTONIC of the occurrence, in nanoseconds.
    pub at_ns: u64,
    /// Command name of the process, NUL-padded; zero where the hook does not run in its context.
    pub comm: [u8; 16],
}

const _: () = assert!(size_of::<Event>() == 64);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers only, no padding (asserted above), any bit pattern is valid.
unsafe impl aya::Pod for Event {}

//! A checksum over what a frame says, so that a damaged recording never yields a wrong frame.
//!
//! FNV-1a over the frame's JSON. Each step of it is a bijection, so a change of a single byte is
//! always noticed. The chain also covers the checksum before it: a frame that is missing from
//! the middle is noticed as well.

use std::io::{self, Write};

use serde::Serialize;

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// The checksum of everything so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checksum(u64);

impl Checksum {
    /// The checksum of one value that stands alone or begins a chain.
    pub(super) fn of(value: &impl Serialize) -> Self {
        Self(OFFSET).then(value)
    }

    /// The checksum of `value` after what this one covers.
    pub(super) fn then(self, value: &impl Serialize) -> Self {
        let mut next = self;
        // Neither the writer nor the types recorded can fail to serialise; if one ever does, the
        // checksum covers what came before the failure, on both sides alike.
        let _ = serde_json::to_writer(&mut next, value);
        // Ends the value, so that two values never read as one.
        let _ = next.write(b"\0");
        next
    }

    /// As the tables hold it: the same 64 bits, signed.
    pub(super) fn stored(self) -> i64 {
        self.0.cast_signed()
    }

    /// As read from the tables.
    pub(super) fn from_stored(stored: i64) -> Self {
        Self(stored.cast_unsigned())
    }
}

impl Write for Checksum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Checksum;

    #[test]
    fn covers_content_and_order() {
        let start = Checksum::of(&"run");
        assert_ne!(start.then(&1).then(&2), start.then(&2).then(&1));
        assert_ne!(start.then(&12), start.then(&1).then(&2));
        assert_ne!(start.then(&""), start);
        let sum = start.then(&[1, 2, 3]);
        assert_eq!(Checksum::from_stored(sum.stored()), sum);
    }
}

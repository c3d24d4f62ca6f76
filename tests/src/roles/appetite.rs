//! What work costs: CPU time, and memory that is kept, or given back, or taken until there is none.

use std::{
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    time::{ClockId, clock_gettime},
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const PAGE: usize = 4 * KIB;
/// More than any cgroup of a scenario that uses it allows.
const SCRATCH_KIB: usize = 64 * KIB;

/// What each request costs a service.
#[derive(Debug)]
pub struct Appetite {
    burn: Duration,
    leak_kib: usize,
    scratch_kib: usize,
    kept: Mutex<Vec<Vec<u8>>>,
    scratch: Mutex<Scratch>,
}

impl Appetite {
    /// CPU time for each request, memory from the beginning, memory that each request keeps, and that it gives
    /// back.
    pub fn new(burn: Duration, ballast_kib: usize, leak_kib: usize, scratch_kib: usize) -> Self {
        Self {
            burn,
            leak_kib,
            scratch_kib,
            kept: Mutex::new(vec![memory(ballast_kib)]),
            scratch: Mutex::new(Scratch::with_room(SCRATCH_KIB)),
        }
    }

    /// Pays for one request.
    pub fn pay(&self) -> Result<()> {
        burn(self.burn)?;
        if self.leak_kib > 0 {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(memory(self.leak_kib));
        }
        if self.scratch_kib > 0 {
            self.scratch.lock().unwrap_or_else(PoisonError::into_inner).use_some(self.scratch_kib)?;
        }
        Ok(())
    }
}

/// Uses up CPU time of the calling thread; time in which it does not run does not count.
pub fn burn(time: Duration) -> Result<()> {
    let used = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let end = used()? + time;
    while used()? < end {
        std::hint::spin_loop();
    }
    Ok(())
}

/// Memory that is in use for as long as this is held.
pub fn memory(kib: usize) -> Vec<u8> {
    vec![1; kib * KIB]
}

/// Takes memory at a steady pace until something ends this process.
pub fn take_all(mib_per_s: u32) -> ! {
    let begun = Instant::now();
    let mut held = Vec::new();
    loop {
        held.push(memory(MIB / KIB));
        let due = Duration::from_secs(held.len() as u64) / mib_per_s.max(1);
        thread::sleep(due.saturating_sub(begun.elapsed()));
    }
}

/// Memory that is used in turns, and given back to the kernel for whenever it needs some: what allocators
/// do with `MADV_FREE`. Pages that were given back cost nothing to reclaim, not even swap.
#[derive(Debug)]
pub struct Scratch {
    memory: Vec<u8>,
    next: usize,
}

impl Scratch {
    /// Room for this much.
    pub fn with_room(kib: usize) -> Self {
        Self { memory: vec![0; kib * KIB + PAGE], next: 0 }
    }

    /// Uses the next part of it and gives it back.
    pub fn use_some(&mut self, kib: usize) -> Result<()> {
        let aligned = self.memory.as_ptr().align_offset(PAGE);
        let room = self.memory.len() - PAGE;
        let length = (kib * KIB).next_multiple_of(PAGE).min(room);
        if self.next + length > room {
            self.next = 0;
        }
        let start = aligned + self.next;
        let part = &mut self.memory[start..start + length];
        part.iter_mut().step_by(PAGE).for_each(|byte| *byte = byte.wrapping_add(1));
        // SAFETY: whole pages that this process alone has mapped, and whose content nobody relies on: after
        // MADV_FREE a page holds what it held or zeros.
        let result = unsafe { libc::madvise(part.as_mut_ptr().cast(), length, libc::MADV_FREE) };
        Errno::result(result).context("cannot give memory back")?;
        self.next += length;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Scratch;

    #[test]
    fn scratch_memory_is_used_in_turns() {
        let mut scratch = Scratch::with_room(64);
        for _ in 0..100 {
            scratch.use_some(24).expect("memory");
            assert!(scratch.next <= 64 * 1024);
        }
        scratch.use_some(1000).expect("at most the room there is");
    }
}

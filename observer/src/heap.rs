//! What the allocator keeps of the memory that was given back to it.

/// From here on a block of this size or more is one that the kernel gives, and gets back as soon as it is freed.
#[cfg(target_env = "gnu")]
const LARGE_BYTES: libc::c_int = 128 << 10;

/// Large blocks go back to the system when they are freed. Left to itself glibc raises its threshold with each one that is
/// freed, up to 32 MiB, and keeps the later ones between others: what a verdict needs for a moment, which is the more the
/// longer the episode, stayed resident for good (mallopt(3), M_MMAP_THRESHOLD). Other allocators give back of their own
/// accord.
pub(crate) fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, and may be called at any time from any thread.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
    }
}

/// Gives what was freed back to the system. The kernel's types take some 30 MB while the probes are loaded, in pieces
/// that glibc would keep for itself until observer ends.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, and may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

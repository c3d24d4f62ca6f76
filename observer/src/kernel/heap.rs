//! Memory that only loading takes.

/// Gives what was freed back to the system. The kernel's types take some 30 MB while the probes are loaded, in pieces
/// that glibc would keep for itself until observer ends; other allocators give back of their own accord.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, and may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

//! Giving way to the test: a look that wakes up waits until whoever is running has had its turn.

use std::io;

use libc::{SCHED_BATCH, SCHED_OTHER, SYS_sched_getscheduler, SYS_sched_setscheduler, c_int, c_long};

/// Observer gives way, and knows what to give back to a command that it starts.
#[derive(Debug)]
pub(super) struct Courtesy {
    changed: bool,
}

impl Courtesy {
    /// This thread gives way from now on, as does every thread that it starts: it has its share of the CPU as before,
    /// but does not interrupt others to take it (`SCHED_BATCH`, sched(7)). What the caller chose otherwise stays as it
    /// is. Where it is refused all goes on, and the looks interrupt as any process does.
    pub(super) fn begin() -> Self {
        let changed = policy().is_ok_and(|policy| policy == SCHED_OTHER) && set_policy(SCHED_BATCH).is_ok();
        Self { changed }
    }

    /// Starts something that is scheduled as observer's caller is.
    pub(super) fn except_for<T>(&self, start: impl FnOnce() -> T) -> T {
        if !self.changed {
            return start();
        }
        // Neither is ever refused to a thread that may have the other.
        let _ = set_policy(SCHED_OTHER);
        let started = start();
        let _ = set_policy(SCHED_BATCH);
        started
    }
}

/// The policy of this thread.
fn policy() -> io::Result<c_int> {
    // SAFETY: the call has no pointers. It is made directly because musl's function for it only says ENOSYS.
    let policy = unsafe { libc::syscall(SYS_sched_getscheduler, 0) };
    c_int::try_from(checked(policy)?).map_err(io::Error::other)
}

/// Sets it, with the only priority that these policies have.
fn set_policy(policy: c_int) -> io::Result<()> {
    let priority: c_int = 0;
    // SAFETY: the kernel reads a sched_param, which is one int, and keeps nothing of it.
    checked(unsafe { libc::syscall(SYS_sched_setscheduler, 0, policy, &raw const priority) }).map(drop)
}

fn checked(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_started_is_scheduled_as_the_caller_is() {
        // Each test has a thread of its own.
        set_policy(SCHED_OTHER).expect("may always be had");
        let courtesy = Courtesy::begin();
        let ours = policy().expect("is known");
        let started = courtesy.except_for(|| policy().expect("is known"));
        let after = policy().expect("is known");
        assert_eq!([ours, started, after], [SCHED_BATCH, SCHED_OTHER, SCHED_BATCH]);
    }

    #[test]
    fn what_the_caller_chose_stays() {
        set_policy(SCHED_BATCH).expect("may always be had");
        let courtesy = Courtesy::begin();
        let started = courtesy.except_for(|| policy().expect("is known"));
        assert_eq!(started, SCHED_BATCH);
    }
}

//! What observer's rights are good for, and giving up those that are no longer needed.
//!
//! [`TABLE`] is the one place that says what each Linux capability unlocks and how long it is needed. `observer
//! doctor`, docs/privileges.md and docs/deploy/observer.service say the same, which tests see to.
//!
//! The kernel keeps capabilities per thread. A thread inherits those of the one that starts it, so the thread that
//! observes gives up its own, and those that were started before it did so give up theirs when they begin.

mod held;
mod table;

#[cfg(test)]
mod tests;

pub use self::{
    held::{Refused, after_attaching, effective, keep_only},
    table::{Privilege, TABLE, Until},
};

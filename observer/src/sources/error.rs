//! What can go wrong while reading a source, by name.

use std::io;

/// Why a source could not be read, or not completely.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file could not be opened or read.
    #[error("cannot read {file}: {error}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// A file holds something else than it should.
    #[error("{file}: {problem}")]
    Malformed {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The kernel's log cannot be read, which is tried once.
    #[error("cannot read {file}, the kernel's log: {error} (with kernel.dmesg_restrict it takes CAP_SYSLOG)")]
    Log {
        /// The file.
        file: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// The kernel did not answer a sock_diag request as it should.
    #[error("sock_diag in network namespace {netns}: {problem}")]
    SockDiag {
        /// The namespace that was asked.
        netns: u32,
        /// What went wrong.
        problem: String,
    },
    /// A network namespace could not be entered.
    #[error("cannot enter network namespace {netns} through pid {pid}: {error} (it takes CAP_SYS_ADMIN)")]
    Enter {
        /// The namespace.
        netns: u32,
        /// A process of it.
        pid: u32,
        /// What the kernel said.
        error: io::Error,
    },
    /// Some processes do not show what belongs to them.
    #[error("processes that do not show their {what}: {count} (it takes CAP_SYS_PTRACE)")]
    Hidden {
        /// How many.
        count: usize,
        /// What they do not show.
        what: &'static str,
    },
    /// Several things went wrong in one read.
    #[error("{first}; and {more} more")]
    Several {
        /// The first of them.
        first: Box<SourceError>,
        /// How many others.
        more: usize,
    },
}

impl SourceError {
    /// Text that is not what `file` should hold.
    pub(super) fn malformed(file: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Malformed { file: file.into(), problem: problem.into() }
    }

    /// Whether the file or its process no longer exists: something to forget, not to report.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Unreadable { error, .. } | Self::Enter { error, .. } => is_gone(error),
            _ => false,
        }
    }
}

/// Whether the error says that a process has ended in the meantime, or (ENODEV) that a cgroup was removed
/// while one of its files was open.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENODEV))
}

/// Gathers what goes wrong while a source goes on reading.
#[derive(Debug, Default)]
pub(super) struct Problems {
    first: Option<SourceError>,
    more: usize,
}

impl Problems {
    /// Notes a problem; one that only says that something has gone away is none.
    pub(super) fn note(&mut self, error: SourceError) {
        if error.is_gone() {
            return;
        }
        if self.first.is_none() {
            self.first = Some(error);
        } else {
            self.more += 1;
        }
    }

    /// Notes the error of a result and hands on its value.
    pub(super) fn check<T>(&mut self, result: Result<T, SourceError>) -> Option<T> {
        result.map_err(|error| self.note(error)).ok()
    }

    /// The outcome of the whole read.
    pub(super) fn finish(self) -> Result<(), SourceError> {
        match (self.first, self.more) {
            (None, _) => Ok(()),
            (Some(error), 0) => Err(error),
            (Some(error), more) => Err(SourceError::Several { first: Box::new(error), more }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreadable(code: i32) -> SourceError {
        SourceError::Unreadable { file: "/proc/7/net/snmp".into(), error: io::Error::from_raw_os_error(code) }
    }

    #[test]
    fn what_has_gone_away_is_no_problem() {
        let mut problems = Problems::default();
        problems.note(unreadable(libc::ENOENT));
        problems.note(unreadable(libc::ESRCH));
        assert!(problems.finish().is_ok());
    }

    #[test]
    fn several_problems_name_the_first_and_count_the_others() {
        let mut problems = Problems::default();
        problems.note(unreadable(libc::EACCES));
        problems.note(unreadable(libc::EIO));
        problems.note(unreadable(libc::EIO));
        let text = problems.finish().expect_err("three problems").to_string();
        assert!(text.starts_with("cannot read /proc/7/net/snmp: Permission denied"), "{text}");
        assert!(text.ends_with("; and 2 more"), "{text}");
    }
}

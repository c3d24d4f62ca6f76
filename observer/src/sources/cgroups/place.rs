//! A cgroup while it is read.

use observer_common::Signal;

use super::hierarchy::Hierarchy;
use crate::{
    core::{frame::Fact, subject::Subject},
    sources::{Samples, Window, error::SourceError, text},
};

/// Where a cgroup is, and what it is called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'p> {
    pub(super) hierarchy: &'p Hierarchy,
    /// Its path below the mount.
    pub(super) path: &'p str,
    pub(super) subject: &'p Subject,
    /// Whether it is among those nearest to the test.
    pub(super) near_the_test: bool,
    /// At the first read: when it was not there yet, if it came after observer.
    pub(super) absent_ns: Option<u64>,
}

impl Place<'_> {
    fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.hierarchy.folder(self.path))
    }

    /// Reads one of its files.
    pub(super) fn read<'b>(&self, name: &str, buffer: &'b mut Vec<u8>) -> Result<&'b str, SourceError> {
        text::read(&self.file(name), buffer)
    }

    /// What is wrong with one of its files.
    pub(super) fn malformed(&self, name: &str, problem: String) -> SourceError {
        SourceError::malformed(self.file(name), problem)
    }

    /// What was read, if there is such a file: not every cgroup has every one, and it may have been removed.
    pub(super) fn if_there<T>(&self, read: Result<T, SourceError>) -> Result<Option<T>, SourceError> {
        match read {
            Err(error) if error.is_gone() => Ok(None),
            read => read.map(Some),
        }
    }

    /// Tells a counter. That of a cgroup that was not there before began at 0, and what it has counted by now
    /// is no origin.
    pub(super) fn tell(&self, signal: Signal, count: u64, window: Window, out: &mut Samples<'_>) {
        if let Some(absent_ns) = self.absent_ns {
            out.signal(signal, self.subject, 0, Window { before_ns: absent_ns, after_ns: absent_ns });
        }
        out.signal(signal, self.subject, count, window);
    }

    /// Tells its limit.
    pub(super) fn tell_limit(&self, name: &str, value: String, out: &mut Samples<'_>) {
        let place = format!("cgroup {}", self.hierarchy.mount().full_path(self.path));
        out.fact(Fact::Limit { name: name.to_owned(), value, place });
    }
}

//! The links of one process, in order.

use std::{
    fs::{self, ReadDir},
    io,
    path::PathBuf,
};

/// The descriptors of a process.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) pid: u32,
    links: ReadDir,
    /// The ones up to this were looked at before.
    pub(super) after: Option<u32>,
    /// So many are looked at,
    pub(super) most: usize,
    /// of which so many have been,
    read: usize,
    /// the latest of them this. The kernel lists them in order (`proc_readfd_common` in fs/proc/fd.c).
    pub(super) last: u32,
}

/// What comes next in a folder.
pub(super) enum Next {
    Link(PathBuf),
    /// One that is not looked at.
    Skipped,
    /// There are links after those that are looked at.
    Cut,
    End,
}

impl Folder {
    /// Opens the folder of a process, for at most so many links that come `after` one.
    ///
    /// # Errors
    ///
    /// The process has ended, or may not be looked at.
    pub(super) fn open(pid: u32, after: Option<u32>, most: usize) -> io::Result<Self> {
        let links = fs::read_dir(format!("/proc/{pid}/fd"))?;
        Ok(Self { pid, links, after, most, read: 0, last: 0 })
    }

    /// The next link, if no more than `most` are looked at.
    pub(super) fn next(&mut self, most: usize) -> Next {
        let Some(Ok(entry)) = self.links.next() else { return Next::End };
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(number) = number.filter(|number| self.after.is_none_or(|after| *number > after)) else {
            return Next::Skipped;
        };
        if self.read >= self.most.min(most) {
            return Next::Cut;
        }
        self.read += 1;
        self.last = number;
        Next::Link(entry.path())
    }
}

//! `/dev/kmsg`: lines of the kernel's log that belong to a fault line.
//!
//! A line is stamped with the scheduler's clock, which runs beside CLOCK_MONOTONIC but is another one: they
//! drift apart by milliseconds over days. What is told is that stamp, kept between the latest look at which
//! the line was not there and the read that gave it. The log is of the whole host, whichever network
//! namespace a line is about; in a container there may be none.

mod lines;

use std::{
    cell::Cell,
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::lines::{Lines, Record};
use super::{Clock, Samples, Source, Window, error::SourceError, world::World};

const FILE: &str = "/dev/kmsg";
/// Longer than the kernel makes any record (PRINTKRB_RECORD_MAX, 1 KiB, and its escapes).
const LONGEST: usize = 8 * 1024;
/// Records that are read at one tick, at most: a driver may write faster than anybody reads.
const MOST: usize = 512;

/// Reads what was written since observer came.
#[derive(Debug, Default)]
pub(super) struct Kmsg {
    log: Log,
    lines: Lines,
    /// The latest look that found nothing more.
    empty_ns: Cell<u64>,
    buffer: Vec<u8>,
}

/// The file.
#[derive(Debug, Default)]
enum Log {
    #[default]
    Unopened,
    Open(File),
    /// It is not there or may not be read, which has been said.
    None,
}

impl Source for Kmsg {
    fn name(&self) -> &'static str {
        "kmsg"
    }

    fn due(&self, now_ns: u64, _world: &World) -> bool {
        match &self.log {
            Log::Unopened => true,
            Log::None => false,
            Log::Open(file) => {
                let has_more = has_more(file);
                if !has_more {
                    self.empty_ns.set(now_ns);
                }
                has_more
            }
        }
    }

    fn read(
        &mut self,
        _world: &mut World,
        clock: Clock<'_>,
        out: &mut Samples<'_>,
    ) -> Result<(), SourceError> {
        if let Log::Unopened = self.log {
            self.log = Log::None;
            let opened = open();
            self.empty_ns.set(clock());
            match opened {
                Ok(file) => self.log = Log::Open(file),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(SourceError::Log { file: FILE, error }),
            }
        }
        let Log::Open(file) = &mut self.log else { return Ok(()) };
        self.buffer.resize(LONGEST, 0);
        for _ in 0..MOST {
            let (read, length) = Window::around(clock, || file.read(&mut self.buffer));
            let length = match length {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.empty_ns.set(read.before_ns);
                    return Ok(());
                }
                // The oldest records were overwritten before they were read; the next read goes on after them.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => continue,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.log = Log::None;
                    return Err(SourceError::Log { file: FILE, error });
                }
            };
            let window = Window { before_ns: self.empty_ns.get(), after_ns: read.after_ns };
            let text = String::from_utf8_lossy(self.buffer.get(..length).unwrap_or_default());
            // What is no record of the kernel's own is nobody's: any process of root may write lines.
            if let Some(record) = Record::parse(&text).filter(Record::is_of_the_kernel) {
                self.lines.enter(&record, window, &mut |fact| out.fact(fact));
            }
        }
        Ok(())
    }
}

/// Opens the log after its last record.
fn open() -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(FILE)?;
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}

/// Whether there is a record to read, or one was lost.
fn has_more(file: &File) -> bool {
    let mut asked = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    poll(&mut asked, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

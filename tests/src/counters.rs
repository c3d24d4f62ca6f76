//! The kernel's own counters of a network namespace.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
};

use anyhow::{Context, Result};

/// A `TcpExt` counter that a scenario can be labelled by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Connections refused because an accept queue was full, at the SYN or at the final ACK.
    ListenOverflows,
    /// SYNs and ACKs dropped at a listener, for whatever reason.
    ListenDrops,
    /// SYNs dropped because a SYN queue was full.
    ReqQFullDrop,
    /// SYNs answered with a cookie because a SYN queue was full.
    ReqQFullDoCookies,
}

impl Counter {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// All of them, in the order of their index.
    pub const ALL: [Self; 4] =
        [Self::ListenOverflows, Self::ListenDrops, Self::ReqQFullDrop, Self::ReqQFullDoCookies];

    /// The kernel's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ListenOverflows => "ListenOverflows",
            Self::ListenDrops => "ListenDrops",
            Self::ReqQFullDrop => "TCPReqQFullDrop",
            Self::ReqQFullDoCookies => "TCPReqQFullDoCookies",
        }
    }

    /// Its place in a [`Snapshot`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// The counters at one instant.
pub type Snapshot = [u64; Counter::COUNT];

/// `/proc/PID/net/netstat`, held open: it stays readable after the process has ended.
#[derive(Debug)]
pub struct NetStat {
    file: File,
    text: Vec<u8>,
}

impl NetStat {
    /// Opens the counters of the namespace that `pid` lives in.
    pub fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/net/netstat");
        let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        Ok(Self { file, text: vec![0; 16 * 1024] })
    }

    /// Reads them.
    pub fn read(&mut self) -> io::Result<Snapshot> {
        let mut length = 0;
        loop {
            let space = self.text.get_mut(length..).unwrap_or_default();
            match self.file.read_at(space, length as u64)? {
                0 => break,
                count => length += count,
            }
        }
        let text = std::str::from_utf8(&self.text[..length])
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        parse(text).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "no TcpExt counters in net/netstat"))
    }
}

/// Picks the counters out of the text of `net/netstat`; a counter that the kernel lacks reads 0.
fn parse(text: &str) -> Option<Snapshot> {
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (rows.next()?, rows.next()?);
    let mut snapshot = Snapshot::default();
    for (name, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
        if let Some(counter) = Counter::ALL.into_iter().find(|counter| counter.name() == name) {
            snapshot[counter.index()] = value.parse().ok()?;
        }
    }
    Some(snapshot)
}

#[cfg(test)]
mod tests {
    use super::{Counter, parse};

    #[test]
    fn counters_are_found_by_name_and_indexed_in_order() {
        let text =
            "TcpExt: SyncookiesSent ListenOverflows TCPReqQFullDrop\nTcpExt: 1 22 333\nIpExt: A\nIpExt: 9\n";
        assert_eq!(parse(text), Some([22, 0, 333, 0]));
        assert_eq!(parse("IpExt: A\nIpExt: 9\n"), None);
        assert!(Counter::ALL.iter().enumerate().all(|(index, counter)| counter.index() == index));
    }
}

//! The kernel's own counters of a network namespace.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
};

use anyhow::{Context, Result};

/// A file of `/proc/PID/net`, and which of its rows are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// `net/netstat`: a row of names and a row of numbers that begin with `TcpExt:`.
    NetStat,
    /// `net/snmp`: the same with `Tcp:`.
    Snmp,
    /// `net/stat/nf_conntrack`: a row of names, then one of hexadecimal numbers for each CPU.
    Conntrack,
}

/// Defines the counters, where each is found, and its name there, in one place.
macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $variant:ident = $source:ident $name:literal;)+) => {
        /// A counter that a scenario can be labelled by.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter { $($(#[doc = $doc])+ $variant,)+ }

        impl Counter {
            /// All of them, in the order of their index.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The kernel's name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            fn source(self) -> Source {
                match self { $(Self::$variant => Source::$source,)+ }
            }
        }
    };
}

counters! {
    /// Connections refused because an accept queue was full, at the SYN or at the final ACK.
    ListenOverflows = NetStat "ListenOverflows";
    /// SYNs and ACKs dropped at a listener, for whatever reason.
    ListenDrops = NetStat "ListenDrops";
    /// SYNs dropped because a SYN queue was full.
    ReqQFullDrop = NetStat "TCPReqQFullDrop";
    /// SYNs answered with a cookie because a SYN queue was full.
    ReqQFullDoCookies = NetStat "TCPReqQFullDoCookies";
    /// Half-open connections that were reset.
    EmbryonicRsts = NetStat "EmbryonicRsts";
    /// Connections closed without TIME_WAIT, since there were tcp_max_tw_buckets of them.
    TimeWaitOverflow = NetStat "TCPTimeWaitOverflow";
    /// SYNs and SYN-ACKs sent again.
    SynRetrans = NetStat "TCPSynRetrans";
    /// Segments sent again because later ones had arrived.
    FastRetrans = NetStat "TCPFastRetrans";
    /// Retransmission timers that ran out.
    Timeouts = NetStat "TCPTimeouts";
    /// Probes for the loss of the last segment.
    LossProbes = NetStat "TCPLossProbes";
    /// Segments sent again that did not even leave this host.
    RetransFail = NetStat "TCPRetransFail";
    /// Connections reset because data came after they were closed, or because they were not to linger.
    AbortOnData = NetStat "TCPAbortOnData";
    /// Connections reset because they were closed with data unread.
    AbortOnClose = NetStat "TCPAbortOnClose";
    /// Connections reset for want of memory.
    AbortOnMemory = NetStat "TCPAbortOnMemory";
    /// Connections given up after the last retransmission.
    AbortOnTimeout = NetStat "TCPAbortOnTimeout";
    /// Connections reset after they had lingered in vain.
    AbortOnLinger = NetStat "TCPAbortOnLinger";
    /// Connections begun.
    ActiveOpens = Snmp "ActiveOpens";
    /// Connections accepted, by the kernel.
    PassiveOpens = Snmp "PassiveOpens";
    /// Segments sent, retransmitted ones left out.
    OutSegs = Snmp "OutSegs";
    /// Segments sent again.
    RetransSegs = Snmp "RetransSegs";
    /// Connects, and connections of the SYN queue, that came to nothing.
    AttemptFails = Snmp "AttemptFails";
    /// Resets sent.
    OutRsts = Snmp "OutRsts";
    /// Packets dropped because the connection tracking table was full.
    ConntrackDrop = Conntrack "drop";
    /// Entries evicted from the full table to make room.
    ConntrackEarlyDrop = Conntrack "early_drop";
}

impl Counter {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Its place in a [`Snapshot`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// Whether it moves with any load; all others tell of trouble.
    pub fn is_load(self) -> bool {
        matches!(self, Self::ActiveOpens | Self::PassiveOpens | Self::OutSegs)
    }
}

/// The counters at one instant; one that the kernel lacks reads 0.
pub type Snapshot = [u64; Counter::COUNT];

impl Source {
    fn path(self, pid: u32) -> String {
        let file = match self {
            Self::NetStat => "netstat",
            Self::Snmp => "snmp",
            Self::Conntrack => "stat/nf_conntrack",
        };
        format!("/proc/{pid}/net/{file}")
    }

    /// The row of names, and the rows of numbers below it.
    fn rows(self, text: &str) -> Option<(&str, impl Iterator<Item = &str>)> {
        let prefix = match self {
            Self::NetStat => "TcpExt:",
            Self::Snmp => "Tcp:",
            Self::Conntrack => "",
        };
        let mut rows = text.lines().filter_map(move |line| line.strip_prefix(prefix));
        Some((rows.next()?, rows))
    }

    fn radix(self) -> u32 {
        if self == Self::Conntrack { 16 } else { 10 }
    }
}

/// One file, held open: it stays readable after the process has ended.
#[derive(Debug)]
struct Table {
    source: Source,
    file: File,
    text: Vec<u8>,
    /// The column of each counter that is in it, in the order of columns.
    columns: Vec<(usize, Counter)>,
}

impl Table {
    fn open(source: Source, file: File) -> io::Result<Self> {
        let mut table = Self { source, file, text: vec![0; 16 * 1024], columns: Vec::new() };
        let columns = columns(source, table.read()?).ok_or_else(|| not_understood(source))?;
        table.columns = columns;
        Ok(table)
    }

    fn read(&mut self) -> io::Result<&str> {
        let mut length = 0;
        loop {
            let space = self.text.get_mut(length..).unwrap_or_default();
            match self.file.read_at(space, length as u64)? {
                0 => break,
                count => length += count,
            }
        }
        std::str::from_utf8(&self.text[..length])
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
    }

    fn add_to(&mut self, snapshot: &mut Snapshot) -> io::Result<()> {
        let (source, columns) = (self.source, std::mem::take(&mut self.columns));
        let understood = self.read().map(|text| add(source, text, &columns, snapshot).is_some());
        self.columns = columns;
        if understood? { Ok(()) } else { Err(not_understood(source)) }
    }
}

/// Where in the rows of `text` the counters are.
fn columns(source: Source, text: &str) -> Option<Vec<(usize, Counter)>> {
    let (names, _) = source.rows(text)?;
    let named =
        |name| Counter::ALL.iter().find(|counter| counter.source() == source && counter.name() == name);
    let columns = names.split_ascii_whitespace().enumerate();
    Some(columns.filter_map(|(column, name)| Some((column, *named(name)?))).collect())
}

/// Adds the numbers of all rows to the snapshot.
fn add(source: Source, text: &str, columns: &[(usize, Counter)], snapshot: &mut Snapshot) -> Option<()> {
    let (_, rows) = source.rows(text)?;
    for row in rows {
        let (mut numbers, mut next) = (row.split_ascii_whitespace(), 0);
        for (column, counter) in columns {
            let number = numbers.nth(column - next)?;
            snapshot[counter.index()] += u64::from_str_radix(number, source.radix()).ok()?;
            next = column + 1;
        }
    }
    Some(())
}

fn not_understood(source: Source) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("{source:?} is not the table that it was to be"))
}

/// All counters of one namespace.
#[derive(Debug)]
pub struct Counters(Vec<Table>);

impl Counters {
    /// Opens the counters of the namespace that `pid` lives in.
    pub fn of(pid: u32) -> Result<Self> {
        let mut tables = Vec::new();
        for source in [Source::NetStat, Source::Snmp, Source::Conntrack] {
            let path = source.path(pid);
            let file = match File::open(&path) {
                // A kernel without connection tracking has none of its counters.
                Err(error) if source == Source::Conntrack && error.kind() == ErrorKind::NotFound => continue,
                file => file.with_context(|| format!("cannot open {path}"))?,
            };
            tables.push(Table::open(source, file).with_context(|| format!("cannot read {path}"))?);
        }
        Ok(Self(tables))
    }

    /// Reads them.
    pub fn read(&mut self) -> io::Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        self.0.iter_mut().try_for_each(|table| table.add_to(&mut snapshot))?;
        Ok(snapshot)
    }
}

/// How many connections are in TIME_WAIT in the namespace that `pid` lives in.
pub fn time_wait(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/net/sockstat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse_time_wait(&text).with_context(|| format!("{path} does not say how many are in TIME_WAIT"))
}

fn parse_time_wait(sockstat: &str) -> Option<u64> {
    let tcp = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    tcp.split_ascii_whitespace().skip_while(|word| *word != "tw").nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Counter, Snapshot, Source, add, columns, parse_time_wait};

    fn read(source: Source, text: &str) -> Option<Snapshot> {
        let mut snapshot = Snapshot::default();
        add(source, text, &columns(source, text)?, &mut snapshot)?;
        Some(snapshot)
    }

    #[test]
    fn counters_are_found_by_name_in_their_own_file() {
        let netstat = "TcpExt: SyncookiesSent ListenOverflows X TCPReqQFullDrop\nTcpExt: 1 22 0 333\nIpExt: A\nIpExt: 9\n";
        let snapshot = read(Source::NetStat, netstat).expect("a table");
        assert_eq!(snapshot[Counter::ListenOverflows.index()], 22);
        assert_eq!(snapshot[Counter::ReqQFullDrop.index()], 333);
        assert_eq!(snapshot.iter().sum::<u64>(), 355);
        let snmp = "Ip: OutRsts\nIp: 7\nTcp: MaxConn OutSegs RetransSegs\nTcp: -1 5 6\n";
        let snapshot = read(Source::Snmp, snmp).expect("a table");
        assert_eq!(snapshot[Counter::RetransSegs.index()], 6);
        assert_eq!(snapshot.iter().sum::<u64>(), 11);
        assert_eq!(read(Source::NetStat, "IpExt: A\nIpExt: 9\n"), None);
        assert_eq!(read(Source::Snmp, "Tcp: A OutSegs\nTcp: 1\n"), None);
    }

    #[test]
    fn conntrack_is_hexadecimal_and_summed_over_processors() {
        let text =
            "entries  found drop early_drop icmp_error\n0000001e 0 0000000a 1 0\n0000001e 0 00000010 2 0\n";
        let snapshot = read(Source::Conntrack, text).expect("a table");
        assert_eq!(snapshot[Counter::ConntrackDrop.index()], 26);
        assert_eq!(snapshot[Counter::ConntrackEarlyDrop.index()], 3);
    }

    #[test]
    fn counters_are_indexed_in_order() {
        assert!(Counter::ALL.iter().enumerate().all(|(index, counter)| counter.index() == index));
    }

    #[test]
    fn time_wait_is_the_word_after_tw() {
        let text = "sockets: used 5\nTCP: inuse 5 orphan 0 tw 42 alloc 7 mem 1\nUDP: inuse 1 mem 2\n";
        assert_eq!(parse_time_wait(text), Some(42));
        assert_eq!(parse_time_wait("TCP: inuse 5\n"), None);
    }
}

//! The bytes of sock_diag: how to ask for TCP sockets, and how to read the answer. Pure.
//!
//! Layouts are those of `linux/netlink.h`, `linux/sock_diag.h` and `linux/inet_diag.h`, which are fixed.
//! A dump of many sockets is a hot path: entries are handed out one by one and nothing is allocated.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// TCP states as bits of a request.
pub(super) mod states {
    /// SYN_RECV, which is how request sockets are shown.
    pub(in super::super) const SYN_RECV: u32 = 1 << 3;
    /// LISTEN.
    pub(in super::super) const LISTEN: u32 = 1 << 10;
    /// TIME_WAIT.
    pub(in super::super) const TIME_WAIT: u32 = 1 << 6;
    /// Every state in which a socket keeps a local port towards a destination: ESTABLISHED, SYN_SENT,
    /// FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSE_WAIT, LAST_ACK and CLOSING.
    pub(in super::super) const HOLDS_PORT: u32 =
        1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 9 | 1 << 11;
}

const HEADER: usize = 16;
const REQUEST: usize = 60;
/// Where a request has the identity of a socket, and how long that is.
const IDENTITY: usize = 4;
const IDENTITY_LENGTH: usize = 48;
const MESSAGE: usize = 72;
const ATTRIBUTE: usize = 4;

/// `NLM_F_REQUEST`, for one socket.
const ONE: u16 = 0x1;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
/// The first kind of request there was. Unlike SOCK_DIAG_BY_FAMILY, which made it the compatible one, it is answered with
/// the sockets of both families (`inet_diag_dump_compat` in net/ipv4/inet_diag.c), in one walk of the table.
const TCPDIAG_GETSOCK: u16 = 18;
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

const ATTR_BYTECODE: u16 = 1;
const ATTR_SKMEMINFO: u16 = 7;
const ATTR_CGROUP_ID: u16 = 21;
/// The extension of a request that asks for [`ATTR_SKMEMINFO`].
const WITH_DROPS: u8 = 1 << (ATTR_SKMEMINFO - 1);
/// Position of the drops among the words of [`ATTR_SKMEMINFO`].
const SKMEMINFO_DROPS: usize = 8;

const BYTECODE_SOURCE_AT_LEAST: u8 = 2;
const BYTECODE_SOURCE_AT_MOST: u8 = 3;

/// Which TCP sockets to ask for, of IPv4 and IPv6 alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Query {
    /// In these [`states`].
    pub(super) states: u32,
    /// Whether with memory information, where the drops are.
    pub(super) with_drops: bool,
    /// Only those whose own port lies in this range; the kernel leaves out the others.
    pub(super) own_port: Option<(u16, u16)>,
}

impl Query {
    /// The request as one netlink message.
    pub(super) fn encode(self, sequence: u32) -> Vec<u8> {
        let filter = self.own_port.map(|(low, high)| port_filter(low, high));
        let length = HEADER + REQUEST + filter.map_or(0, |filter| ATTRIBUTE + filter.len());
        let mut bytes = Vec::with_capacity(length);
        header(&mut bytes, length, DUMP, sequence);
        let extensions = if self.with_drops { WITH_DROPS } else { 0 };
        request(&mut bytes, libc::AF_UNSPEC, extensions, &[0; IDENTITY_LENGTH], self.states);
        if let Some(filter) = filter {
            bytes.extend_from_slice(&((ATTRIBUTE + filter.len()) as u16).to_ne_bytes());
            bytes.extend_from_slice(&ATTR_BYTECODE.to_ne_bytes());
            bytes.extend_from_slice(&filter);
        }
        bytes
    }
}

/// Requests for listeners that a dump showed, one message for each: without a walk of any table, and with their drops. Each
/// is answered by a datagram of its own: an error `ENOENT` where the socket is not the one by its address any more.
pub(super) fn encode_known(listeners: &[Entry], sequence: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(listeners.len() * (HEADER + REQUEST));
    for listener in listeners {
        let (family, identity) = identity(listener);
        header(&mut bytes, HEADER + REQUEST, ONE, sequence);
        request(&mut bytes, family, WITH_DROPS, &identity, states::LISTEN);
    }
    bytes
}

fn header(bytes: &mut Vec<u8>, length: usize, flags: u16, sequence: u32) {
    bytes.extend_from_slice(&(length as u32).to_ne_bytes());
    bytes.extend_from_slice(&TCPDIAG_GETSOCK.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&0_u32.to_ne_bytes());
}

fn request(bytes: &mut Vec<u8>, family: i32, extensions: u8, identity: &[u8; IDENTITY_LENGTH], states: u32) {
    bytes.extend_from_slice(&[family as u8, 0, 0, extensions]);
    bytes.extend_from_slice(identity);
    bytes.extend_from_slice(&states.to_ne_bytes());
    // No names of tables.
    bytes.extend_from_slice(&[0; 4]);
}

/// The address family of a listener, and its `inet_diag_sockid`: own port, remote port, own address, remote address,
/// interface, cookie.
fn identity(listener: &Entry) -> (i32, [u8; IDENTITY_LENGTH]) {
    let mut identity = [0; IDENTITY_LENGTH];
    identity[..2].copy_from_slice(&listener.own.port().to_be_bytes());
    let family = match listener.own.ip() {
        IpAddr::V4(address) => {
            identity[4..8].copy_from_slice(&address.octets());
            libc::AF_INET
        }
        IpAddr::V6(address) => {
            identity[4..20].copy_from_slice(&address.octets());
            libc::AF_INET6
        }
    };
    identity[36..40].copy_from_slice(&listener.interface.to_ne_bytes());
    // Its lower half is the first of two words.
    identity[40..44].copy_from_slice(&(listener.cookie as u32).to_ne_bytes());
    identity[44..].copy_from_slice(&((listener.cookie >> 32) as u32).to_ne_bytes());
    (family, identity)
}

/// Bytecode for `low <= own port && own port <= high`: each comparison is an operation and a second one that
/// holds the port. Going on exactly to the end accepts; going past it rejects.
fn port_filter(low: u16, high: u16) -> [u8; 16] {
    let mut code = [0; 16];
    for (at, operation, port) in [(0, BYTECODE_SOURCE_AT_LEAST, low), (8, BYTECODE_SOURCE_AT_MOST, high)] {
        let reject = (code.len() - at + 4) as u16;
        code[at] = operation;
        code[at + 1] = 8;
        code[at + 2..at + 4].copy_from_slice(&reject.to_ne_bytes());
        code[at + 6..at + 8].copy_from_slice(&port.to_ne_bytes());
    }
    code
}

/// One socket of a dump. An IPv4 address is one even where an IPv6 socket uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Own address and port.
    pub(super) own: SocketAddr,
    /// Remote address and port.
    pub(super) remote: SocketAddr,
    /// Index of the interface that it is bound to; 0 without one.
    pub(super) interface: u32,
    /// Its state, as one of [`states`].
    pub(super) state: u32,
    /// Identifies the socket for as long as the host is up.
    pub(super) cookie: u64,
    /// For a listener: connections in its accept queue.
    pub(super) queued: u32,
    /// For a listener: the limit of its queues.
    pub(super) backlog: u32,
    /// Inode of the socket; 0 where no file is left of it.
    pub(super) inode: u32,
    /// Drops of the socket (`sk_drops`), if asked for and known.
    pub(super) drops: Option<u32>,
    /// Id of its cgroup, where the kernel tells (5.8 and later).
    pub(super) cgroup: Option<u64>,
}

/// How far a dump is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// There is more to receive.
    More,
    /// That was all.
    Done,
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    /// The kernel refused, with an errno.
    #[error("the kernel refused: {}{}", std::io::Error::from_raw_os_error(*.0), hint(*.0))]
    Refused(i32),
    /// The bytes are not a netlink answer.
    #[error("a {0} is cut short or malformed")]
    Malformed(&'static str),
}

/// What to look at when the kernel refuses.
fn hint(errno: i32) -> &'static str {
    match errno {
        // Without tcp_diag, and without inet_diag.
        libc::ENOENT | libc::EOPNOTSUPP => " (the modules inet_diag and tcp_diag may not be loaded)",
        _ => "",
    }
}

/// Reads one datagram of an answer and hands each socket to `each`. Messages of another sequence are what
/// is left of a dump that was given up, and are passed over.
pub(super) fn decode(
    mut bytes: &[u8],
    sequence: u32,
    each: &mut dyn FnMut(&Entry),
) -> Result<Progress, WireError> {
    while !bytes.is_empty() {
        let (length, kind, of) =
            (|| Some((u32_at(bytes, 0)? as usize, u16_at(bytes, 4)?, u32_at(bytes, 8)?)))()
                .ok_or(WireError::Malformed("netlink header"))?;
        let body = bytes.get(HEADER..length).ok_or(WireError::Malformed("netlink message"))?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        if of != sequence {
            continue;
        }
        match kind {
            NLMSG_NOOP => {}
            NLMSG_DONE => {
                return match u32_at(body, 0).map_or(0, |status| status as i32) {
                    0.. => Ok(Progress::Done),
                    errno => Err(WireError::Refused(errno.saturating_neg())),
                };
            }
            NLMSG_ERROR => {
                let errno = u32_at(body, 0).ok_or(WireError::Malformed("netlink error"))? as i32;
                return Err(WireError::Refused(errno.saturating_neg()));
            }
            TCPDIAG_GETSOCK => each(&entry(body)?),
            _ => return Err(WireError::Malformed("netlink message type")),
        }
    }
    Ok(Progress::More)
}

/// One `inet_diag_msg` and its attributes.
fn entry(body: &[u8]) -> Result<Entry, WireError> {
    let fixed = body.first_chunk::<MESSAGE>().ok_or(WireError::Malformed("inet_diag message"))?;
    let family = fixed[0];
    let address = |at: usize| match i32::from(family) {
        libc::AF_INET => fixed[at..].first_chunk::<4>().map(|octets| IpAddr::V4(Ipv4Addr::from(*octets))),
        libc::AF_INET6 => {
            fixed[at..].first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets).to_canonical())
        }
        _ => None,
    };
    let port = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
    let word = |at: usize| u32::from_ne_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
    let (Some(own), Some(remote)) = (address(8), address(24)) else {
        return Err(WireError::Malformed("address family"));
    };
    let mut entry = Entry {
        own: SocketAddr::new(own, port(4)),
        remote: SocketAddr::new(remote, port(6)),
        interface: word(IDENTITY + 36),
        state: 1_u32.checked_shl(u32::from(fixed[1])).unwrap_or(0),
        cookie: u64::from(word(44)) | u64::from(word(48)) << 32,
        queued: word(56),
        backlog: word(60),
        inode: word(68),
        drops: None,
        cgroup: None,
    };
    let mut attributes = &body[MESSAGE..];
    while !attributes.is_empty() {
        let malformed = WireError::Malformed("inet_diag attribute");
        let length = usize::from(u16_at(attributes, 0).ok_or(malformed)?);
        let kind = u16_at(attributes, 2).ok_or(malformed)?;
        let value = attributes.get(ATTRIBUTE..length).ok_or(malformed)?;
        match kind {
            // Kernels before the drops were added send fewer words.
            ATTR_SKMEMINFO => entry.drops = u32_at(value, SKMEMINFO_DROPS * 4),
            ATTR_CGROUP_ID => {
                entry.cgroup = Some(u64::from_ne_bytes(*value.first_chunk().ok_or(malformed)?));
            }
            _ => {}
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(entry)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests;

//! A NETLINK_SOCK_DIAG socket: asks the kernel for TCP sockets of the namespace it was opened in.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
        sockopt::ReceiveTimeout,
    },
    time::TimeVal,
};

use super::inet_diag::{Entry, Progress, Query, WireError, decode, encode_known};

/// The kernel fills a datagram of an answer up to this size when the reader has the room.
const DATAGRAM: usize = 32 * 1024;

/// Why a dump failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiagError {
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The answer was a refusal or not one.
    #[error("{0}")]
    Wire(#[from] WireError),
    /// A datagram was longer than the kernel makes them.
    #[error("an answer of {0} bytes was cut short")]
    Truncated(usize),
}

/// Room for one datagram, shared by all sockets.
#[derive(Debug)]
pub(super) struct Datagram(Box<[u8]>);

impl Default for Datagram {
    fn default() -> Self {
        Self(vec![0; DATAGRAM].into_boxed_slice())
    }
}

/// The socket. It keeps its network namespace alive for as long as it is open.
#[derive(Debug)]
pub(super) struct DiagSocket {
    socket: OwnedFd,
    sequence: u32,
}

impl DiagSocket {
    /// Opens one in the network namespace of the calling thread.
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkSockDiag,
        )?;
        // The kernel answers from within the system call; the limit is for the day it does not.
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(1, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Begins a dump. One that is still under way has to be received to its end first.
    pub(super) fn request(&mut self, query: Query) -> Result<(), DiagError> {
        self.send(|sequence| query.encode(sequence))
    }

    fn send(&mut self, encode: impl FnOnce(u32) -> Vec<u8>) -> Result<(), DiagError> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = encode(self.sequence);
        send(self.socket.as_raw_fd(), &request, MsgFlags::empty()).map_err(io::Error::from)?;
        Ok(())
    }

    /// Brings the listeners of an earlier dump up to date without another. Says whether all of them are still there.
    pub(super) fn ask_again(
        &mut self,
        listeners: &mut [Entry],
        datagram: &mut Datagram,
    ) -> Result<bool, DiagError> {
        if listeners.is_empty() {
            return Ok(true);
        }
        self.send(|sequence| encode_known(listeners, sequence))?;
        let mut are_there = true;
        for listener in listeners {
            let mut is_answered = false;
            while !is_answered {
                let received = self.receive(datagram, &mut |now| {
                    *listener = *now;
                    is_answered = true;
                });
                match received {
                    Ok(_) => {}
                    // The others are answered all the same.
                    Err(DiagError::Wire(WireError::Refused(libc::ENOENT))) => {
                        (is_answered, are_there) = (true, false);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(are_there)
    }

    /// Receives the next datagram of a dump.
    pub(super) fn receive(
        &mut self,
        datagram: &mut Datagram,
        each: &mut dyn FnMut(&Entry),
    ) -> Result<Progress, DiagError> {
        let length = loop {
            match recv(self.socket.as_raw_fd(), &mut datagram.0, MsgFlags::MSG_TRUNC) {
                Err(nix::Error::EINTR) => {}
                other => break other.map_err(io::Error::from)?,
            }
        };
        let bytes = datagram.0.get(..length).ok_or(DiagError::Truncated(length))?;
        Ok(decode(bytes, self.sequence, each)?)
    }

    /// Asks and receives to the end.
    pub(super) fn dump(
        &mut self,
        query: Query,
        datagram: &mut Datagram,
        each: &mut dyn FnMut(&Entry),
    ) -> Result<(), DiagError> {
        self.request(query)?;
        while self.receive(datagram, each)? == Progress::More {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::*;
    use crate::sources::inet_diag::states;

    /// A listener on each of these, as the kernel allows; a host without IPv6 has fewer.
    fn listeners() -> Vec<TcpListener> {
        let addresses = ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0", "[::ffff:127.0.0.1]:0"];
        addresses.iter().filter_map(|address| TcpListener::bind(address).ok()).collect()
    }

    fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
        let address = |listener: &TcpListener| {
            let address = listener.local_addr().expect("it has one");
            SocketAddr::new(address.ip().to_canonical(), address.port())
        };
        listeners.iter().map(address).collect()
    }

    fn dump(socket: &mut DiagSocket, of: &[SocketAddr]) -> Vec<Entry> {
        let query = Query { states: states::LISTEN, with_drops: true, own_port: None };
        let mut entries = Vec::new();
        let mut take = |entry: &Entry| entries.extend(of.contains(&entry.own).then_some(*entry));
        socket.dump(query, &mut Datagram::default(), &mut take).expect("the kernel tells");
        entries
    }

    #[test]
    fn listeners_that_are_asked_for_one_by_one_say_what_a_dump_says() {
        let mut listeners = listeners();
        let addresses = addresses(&listeners);
        let mut socket = DiagSocket::open().expect("anyone may ask");
        let mut entries = dump(&mut socket, &addresses);
        assert_eq!(entries.len(), listeners.len());
        let _waiting: Vec<_> = listeners
            .iter()
            .map(|listener| TcpStream::connect(listener.local_addr().expect("it has one")).expect("a place"))
            .collect();

        let datagram = &mut Datagram::default();
        assert!(socket.ask_again(&mut entries, datagram).expect("the kernel tells"));
        assert!(entries.iter().all(|entry| entry.queued == 1 && entry.drops == Some(0)), "{entries:?}");
        assert_eq!(entries, dump(&mut socket, &addresses));

        let closed = listeners.remove(0);
        drop(closed);
        assert!(!socket.ask_again(&mut entries, datagram).expect("the others are told of"));
        // Nothing of an answer is left that the next one would take for its own.
        assert_eq!(dump(&mut socket, &addresses).len(), listeners.len());
        assert!(socket.ask_again(&mut [], datagram).expect("nothing is asked"));
    }
}

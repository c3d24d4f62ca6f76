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

use super::inet_diag::{Entry, Progress, Query, WireError, decode};

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
        self.sequence = self.sequence.wrapping_add(1);
        let request = query.encode(self.sequence);
        send(self.socket.as_raw_fd(), &request, MsgFlags::empty()).map_err(io::Error::from)?;
        Ok(())
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

//! A listener with a full accept queue, so that each further SYN overflows it.

use std::{
    net::{Ipv4Addr, SocketAddrV4, TcpStream},
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, connect, getsockname, listen, socket,
    },
};

/// A queue holds one more than its limit.
const LIMIT: i32 = 1;
const HOLDS: usize = 2;

/// A listener that never accepts, and the connections that fill its queue.
pub struct FullQueue {
    _listener: OwnedFd,
    _waiting: Vec<TcpStream>,
    address: SocketAddrV4,
}

impl FullQueue {
    /// Fills a queue on a port that the kernel chooses.
    pub fn make() -> Result<Self> {
        let listener = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        bind(listener.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)))?;
        listen(&listener, Backlog::new(LIMIT)?)?;
        let address = SocketAddrV4::from(getsockname::<SockaddrIn>(listener.as_raw_fd())?);
        let waiting = (0..HOLDS).map(|_| TcpStream::connect(address)).collect::<Result<_, _>>();
        Ok(Self { _listener: listener, _waiting: waiting.context("the queue does not fill")?, address })
    }

    /// Overflows it once: the SYN is sent again only if what is returned lives for a second.
    pub fn overflow(&self) -> Result<OwnedFd> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let client = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
        match connect(client.as_raw_fd(), &SockaddrIn::from(self.address)) {
            Err(Errno::EINPROGRESS) => Ok(client),
            other => bail!("a connect to a full queue ends at once: {other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "a test")]
    use super::FullQueue;

    #[test]
    fn nobody_gets_in_any_more() {
        let queue = FullQueue::make().expect("a queue");
        queue.overflow().expect("a SYN without an answer");
    }
}

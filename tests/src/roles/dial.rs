//! A connect whose end is known to the millisecond, and that knows how often its SYN was sent again.

use std::{
    ffi::c_void,
    io::{self, ErrorKind},
    mem,
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, SockaddrIn6, connect, getsockopt, socket, sockopt,
    },
};

use crate::{
    clock::{Bracket, mono_ns},
    loss,
};

/// How far apart two looks at a connect are: the width of what is known about its end.
const LOOK: Duration = Duration::from_millis(10);
/// The state of a socket whose connection is over, as `net/tcp_states.h` numbers it.
const TCP_CLOSE: u8 = 7;

/// How to connect.
#[derive(Clone, Copy, Debug)]
pub struct Dial {
    /// Give up after this time.
    pub patience: Duration,
    /// Let the kernel give up, after it has sent the SYN once more (TCP_SYNCNT 1).
    pub one_more_syn: bool,
    /// Lose this share of the data that arrives.
    pub lose_per_mille: u32,
}

/// How a connect ended.
#[derive(Debug)]
pub struct Dialled {
    /// The connection; an error without an errno is this process's own impatience.
    pub stream: io::Result<TcpStream>,
    /// Around its end: the kernel's answer, or the close of whoever waited in vain.
    pub bracket: Bracket,
    /// How often the SYN was sent again.
    pub syn_retransmits: u64,
}

impl Dial {
    /// Connects.
    pub fn connect(&self, to: SocketAddr) -> Dialled {
        let from_ns = mono_ns();
        let ended = |stream, from_ns, syn_retransmits| Dialled {
            stream,
            bracket: Bracket { from_ns, to_ns: mono_ns() },
            syn_retransmits,
        };
        let socket = match self.begin(to) {
            Ok(socket) => socket,
            Err(error) => return ended(Err(error), from_ns, 0),
        };
        let (result, from_ns) = self.wait(&socket, from_ns);
        // Before any data is sent, only SYNs can have been sent again.
        let syn_retransmits = retransmits(&socket);
        let stream = match result {
            Ok(()) => plain(socket),
            Err(error) => {
                drop(socket);
                Err(error)
            }
        };
        ended(stream, from_ns, syn_retransmits)
    }

    fn begin(&self, to: SocketAddr) -> io::Result<OwnedFd> {
        let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let socket =
            socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
        if self.one_more_syn {
            set_syn_count(&socket, 1)?;
        }
        if self.lose_per_mille > 0 {
            loss::lose(&socket, self.lose_per_mille)?;
        }
        let begun = match to {
            SocketAddr::V4(to) => connect(socket.as_raw_fd(), &SockaddrIn::from(to)),
            SocketAddr::V6(to) => connect(socket.as_raw_fd(), &SockaddrIn6::from(to)),
        };
        match begun {
            Ok(()) | Err(Errno::EINPROGRESS) => Ok(socket),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for the end, and says since when it may have been there.
    fn wait(&self, socket: &OwnedFd, begun_ns: u64) -> (io::Result<()>, u64) {
        let deadline = Instant::now() + self.patience;
        let look = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::ZERO);
        let mut from_ns = begun_ns;
        loop {
            let looked_ns = mono_ns();
            match poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], look) {
                Ok(0) | Err(Errno::EINTR) if !self.one_more_syn && Instant::now() >= deadline => {
                    return (Err(ErrorKind::TimedOut.into()), mono_ns());
                }
                Ok(0) | Err(Errno::EINTR) => from_ns = looked_ns,
                Ok(_) => return (outcome(socket), from_ns),
                Err(errno) => return (Err(errno.into()), from_ns),
            }
        }
    }
}

fn outcome(socket: &OwnedFd) -> io::Result<()> {
    match getsockopt(socket, sockopt::SocketError)? {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn plain(socket: OwnedFd) -> io::Result<TcpStream> {
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn set_syn_count(socket: &OwnedFd, count: libc::c_int) -> io::Result<()> {
    // SAFETY: the option reads one int, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_SYNCNT,
            (&raw const count).cast::<c_void>(),
            mem::size_of_val(&count) as libc::socklen_t,
        )
    };
    Errno::result(result)?;
    Ok(())
}

/// How often the socket has sent something again, as the kernel tells it.
pub fn retransmits(socket: &impl AsRawFd) -> u64 {
    // Where the kernel tells nothing it stays zero, and the counts of the scenario will not agree.
    information(socket).map_or(0, |info| u64::from(info.tcpi_total_retrans))
}

/// Whether nothing is left of the connection.
pub fn is_closed(socket: &impl AsRawFd) -> bool {
    information(socket).is_ok_and(|info| info.tcpi_state == TCP_CLOSE)
}

fn information(socket: &impl AsRawFd) -> nix::Result<libc::tcp_info> {
    // SAFETY: all fields are integers, for which zero is a valid value.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    let mut length = mem::size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which is how large the structure is.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast::<c_void>(),
            &raw mut length,
        )
    };
    Errno::result(result).map(|_| info)
}

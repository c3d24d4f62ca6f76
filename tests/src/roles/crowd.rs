//! Sockets that are there and do nothing: listeners, and connections that stay open.

use std::{
    io::IoSlice,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use anyhow::{Context, Result};
use clap::Args;
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};
use serde::Serialize;

use super::{limit_descriptors, obey, ready};
use crate::{
    netns,
    report::{Report, Tally},
};

/// Connections whose descriptors the process holds. Those of the others are on their way to nobody, as the descriptors of a
/// process are limited, and one near that limit or many processes would be looked at more closely, which the number of sockets is
/// not to be mistaken for.
const HELD: u32 = 1_500;
/// Connections that are put on their way together; the kernel takes 253 descriptors (SCM_MAX_FD in include/net/scm.h).
const AT_ONCE: u32 = 125;
/// Connections to one destination, far from the end of a range of ports.
const OF_ONE_DESTINATION: u32 = 2_500;
/// So many times what is needed is far from the limit.
const FAR: u64 = 4;
/// Descriptors for all else.
const SPARE: u64 = 64;

/// Options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Crowd {
    /// Listeners.
    #[arg(long)]
    pub listeners: u32,
    /// Connections to the first of them, both ends of which stay open.
    #[arg(long)]
    pub connections: u32,
    /// Join this process's network namespace instead of making one.
    #[arg(long)]
    pub netns_of: Option<u32>,
}

impl Crowd {
    /// Plays the role: says when all are there, and holds them until it is told to stop.
    pub fn play(self) -> Result<()> {
        match self.netns_of {
            Some(pid) => netns::join(pid)?,
            None => {
                netns::create()?;
                netns::loopback_up()?;
            }
        }
        let pairs = self.connections.min(HELD + AT_ONCE) + self.connections / AT_ONCE;
        let needed = u64::from(self.listeners) + 2 * u64::from(pairs) + SPARE;
        limit_descriptors(FAR * needed)?;
        ready()?;
        let listen = |_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0));
        let listeners: Vec<TcpListener> = (0..self.listeners).map(listen).collect::<Result<_, _>>()?;
        let (mut held, mut packed, mut on_the_way) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..self.connections {
            let first = listeners.first().context("connections need a listener")?;
            let address = (destination(number), first.local_addr()?.port());
            let ends: [OwnedFd; 2] = [TcpStream::connect(address)?.into(), first.accept()?.0.into()];
            if number < HELD { &mut held } else { &mut packed }.extend(ends);
            if packed.len() >= 2 * AT_ONCE as usize {
                on_the_way.push(send(&packed)?);
                packed.clear();
            }
        }
        Report::Holding.send()?;
        obey(Tally::default, |_| {})
    }
}

/// A port is used once per destination, so many connections have many.
fn destination(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + number / OF_ONE_DESTINATION)
}

/// Sends descriptors to a socket that never takes them, which keeps open what they stand for until it is closed.
fn send(descriptors: &[OwnedFd]) -> Result<[OwnedFd; 2]> {
    let (from, to) = socketpair(AddressFamily::Unix, SockType::Datagram, None, SockFlag::SOCK_CLOEXEC)?;
    let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let content = [IoSlice::new(b"held")];
    let cargo = [ControlMessage::ScmRights(&numbers)];
    sendmsg::<()>(from.as_raw_fd(), &content, &cargo, MsgFlags::empty(), None)
        .context("cannot put connections on their way")?;
    Ok([from, to])
}

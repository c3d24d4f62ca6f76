//! A router that knows no way to anywhere, in a network namespace of its own.

use std::{
    net::SocketAddrV4,
    os::fd::{AsRawFd as _, OwnedFd},
    thread,
    time::Duration,
};

use anyhow::Result;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto, socket,
};

use super::{obey, packet, ready};
use crate::{netns, report::Tally};

/// By then the client has let go of its socket: an ICMP message that comes while it is in the kernel is put off, which
/// happens to nobody with a router farther away than a `veth`.
const WAY: Duration = Duration::from_millis(5);

/// Plays the role: answers every TCP segment that comes along with "network unreachable".
pub fn play() -> Result<()> {
    netns::create()?;
    netns::loopback_up()?;
    // A datagram packet socket begins at the IP header. The kernel itself forwards nothing here.
    let tap = socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, SockProtocol::EthIp)?;
    let icmp = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Icmp)?;
    thread::spawn(move || {
        if let Err(error) = answer(&tap, &icmp) {
            eprintln!("the router answers no more: {error:#}");
        }
    });
    ready()?;
    obey(Tally::default, |_| {})
}

fn answer(tap: &OwnedFd, icmp: &OwnedFd) -> Result<()> {
    let mut buffer = [0; 2048];
    loop {
        let length = recv(tap.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let Some((client, message)) = packet::net_unreachable(&buffer[..length]) else { continue };
        thread::sleep(WAY);
        let to = SockaddrIn::from(SocketAddrV4::new(client, 0));
        sendto(icmp.as_raw_fd(), &message, &to, MsgFlags::empty())?;
    }
}

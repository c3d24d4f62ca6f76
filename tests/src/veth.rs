//! A link between two network namespaces, so that packets reach the one from the other as from a network.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use nix::sys::socket::SockProtocol;

use crate::{
    netlink::{self, Message, attribute, name, nest},
    netns,
};

/// Address of the far end, in the namespace that is linked to.
pub const FAR: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 1);
/// Address of the near end, in the namespace of whoever makes the link.
const NEAR: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 2);
const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
const DEVICE: &str = "lab";
/// `VETH_INFO_PEER` of `linux/veth.h`.
const PEER: u16 = 1;
/// `struct ifinfomsg`, with nothing said.
const NO_DEVICE: [u8; 16] = [0; 16];

/// Links the calling thread's namespace to that of `pid`. The link ends with either of them.
pub fn link_to(pid: u32) -> Result<()> {
    let peer = [
        NO_DEVICE.to_vec(),
        name(libc::IFLA_IFNAME, DEVICE),
        attribute(libc::IFLA_NET_NS_PID, &pid.to_ne_bytes()),
    ];
    let kind = [name(libc::IFLA_INFO_KIND, "veth"), nest(libc::IFLA_INFO_DATA, &[nest(PEER, &peer)])];
    let link = Message::create(libc::RTM_NEWLINK, &NO_DEVICE)
        .with_name(libc::IFLA_IFNAME, DEVICE)
        .with_nest(libc::IFLA_LINKINFO, &kind);
    netlink::send(SockProtocol::NetlinkRoute, &[link]).context("cannot link two network namespaces")?;
    netns::inside(pid, || netns::set_up(DEVICE, FAR, MASK))?;
    netns::set_up(DEVICE, NEAR, MASK)
}

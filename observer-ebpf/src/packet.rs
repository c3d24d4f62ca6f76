//! Reading what we need of the kernel's packets.

use observer_common::{Key, Signal, cell::mapped};

use crate::{
    maps::offset,
    sock::{Sock, namespace_key, pointer, read},
};

/// Flags of a TCP header.
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// A kernel `struct sk_buff *`.
#[derive(Clone, Copy)]
pub struct Packet(pub *const u8);

impl Packet {
    /// Segments that TCP counts it for.
    #[inline(always)]
    pub fn segments(self) -> u64 {
        let segments: u16 = read(self.0, offset!(skb_control) + offset!(control_segments));
        u64::from(segments.max(1))
    }

    /// Whether it is a TCP reset.
    #[inline(always)]
    pub fn is_reset(self) -> bool {
        self.tcp_flags() & RST != 0
    }

    /// The route that it came in by.
    #[inline(always)]
    fn route(self) -> *const u8 {
        // The lowest bit says whether it holds a reference.
        (read::<u64>(self.0, offset!(skb_dst)) & !1) as *const u8
    }

    /// Whether it is for this host, over IPv4.
    #[inline(always)]
    pub fn is_local_v4(self) -> bool {
        /// `RTN_LOCAL`.
        const LOCAL: u16 = 2;
        read::<u16>(self.route(), offset!(route_type)) == LOCAL
    }

    /// Whether it is for this host, over IPv6.
    #[inline(always)]
    pub fn is_local_v6(self) -> bool {
        /// `RTF_LOCAL`.
        const LOCAL: u32 = 0x8000_0000;
        read::<u32>(self.route(), offset!(route6_flags)) & LOCAL != 0
    }

    /// The key of an answer with a reset to this packet, for which there is no socket: a SYN finds that
    /// nobody listens at its destination; anything else belongs to no one.
    #[inline(always)]
    pub fn refused_key(self) -> Key {
        let net = pointer(self.device(), offset!(device_net));
        if self.tcp_flags() & (SYN | ACK) != SYN {
            return namespace_key(Signal::ResetSent, net);
        }
        let network = self.header(offset!(skb_network_header));
        let address =
            if read::<u8>(network, 0) >> 4 == 4 { mapped(read(network, 16)) } else { read(network, 24) };
        let port = u16::from_be(read(self.header(offset!(skb_transport_header)), 2));
        Key { address, port, ..namespace_key(Signal::SynRefused, net) }
    }

    /// The network namespace of a dropped packet: of the receiving socket where the kernel names one, of the
    /// packet's own, of its device, or of its route. TCP and UDP keep other things where the device was;
    /// UDP's is no kernel address, and TCP's packets have a socket.
    #[inline(always)]
    pub fn netns_pointer(self, receiver: *const u8) -> *const u8 {
        let owner = if receiver.is_null() { pointer(self.0, offset!(skb_sk)) } else { receiver };
        if !owner.is_null() {
            return Sock::at(owner).netns_pointer();
        }
        let mut device = self.device();
        if (device as i64) >= 0 {
            let route = read::<u64>(self.0, offset!(skb_dst)) & !1;
            device = pointer(route as *const u8, offset!(dst_dev));
        }
        pointer(device, offset!(device_net))
    }

    #[inline(always)]
    fn device(self) -> *const u8 {
        pointer(self.0, offset!(skb_dev))
    }

    #[inline(always)]
    fn tcp_flags(self) -> u8 {
        read(self.header(offset!(skb_transport_header)), 13)
    }

    #[inline(always)]
    fn header(self, offset: u32) -> *const u8 {
        let from_head: u16 = read(self.0, offset);
        pointer(self.0, offset!(skb_head)).wrapping_add(from_head.into())
    }
}

//! TCP segments by hand: just enough to begin and to complete a handshake.

use std::net::{Ipv4Addr, SocketAddrV4};

const IP_HEADER: usize = 20;
const TCP_HEADER: usize = 20;
const PROTOCOL_TCP: u8 = 6;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const WINDOW: u16 = 0xffff;
/// The sequence number that every made-up client begins with.
const CLIENT_SEQUENCE: u32 = 1000;

/// "Destination unreachable", whose code 0 is the network.
const ICMP_UNREACHABLE: u8 = 3;

/// An ICMP message that quotes a packet.
pub type IcmpError = [u8; 8 + IP_HEADER + 8];

/// An IPv4 packet with a TCP header and no data.
pub type Packet = [u8; IP_HEADER + TCP_HEADER];

/// The first packet of a handshake.
pub fn syn(from: SocketAddrV4, to: SocketAddrV4) -> Packet {
    segment(from, to, SYN, CLIENT_SEQUENCE, 0)
}

/// The last packet of a handshake, in answer to a SYN-ACK with this sequence number.
pub fn final_ack(from: SocketAddrV4, to: SocketAddrV4, server_sequence: u32) -> Packet {
    segment(from, to, ACK, CLIENT_SEQUENCE.wrapping_add(1), server_sequence.wrapping_add(1))
}

/// What takes a SYN back, in answer to a SYN-ACK that came or not.
pub fn reset(from: SocketAddrV4, to: SocketAddrV4) -> Packet {
    segment(from, to, RST, CLIENT_SEQUENCE.wrapping_add(1), 0)
}

/// What a router that knows no way there answers to a packet: it quotes its IP header and 8 bytes of what follows. With the
/// address that it is for; `None` for what no client's TCP sent.
pub fn net_unreachable(packet: &[u8]) -> Option<(Ipv4Addr, IcmpError)> {
    let quoted = packet.get(..IP_HEADER + 8)?;
    if quoted[0] != 0x45 || quoted[9] != PROTOCOL_TCP {
        return None;
    }
    let mut message = [0; 8 + IP_HEADER + 8];
    message[0] = ICMP_UNREACHABLE;
    message[8..].copy_from_slice(quoted);
    let checksum = folded(words(&message));
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    Some((Ipv4Addr::new(quoted[12], quoted[13], quoted[14], quoted[15]), message))
}

/// The client that a SYN-ACK of `server` is for, and the server's sequence number.
pub fn parse_syn_ack(packet: &[u8], server: SocketAddrV4) -> Option<(SocketAddrV4, u32)> {
    let (ip, rest) = packet.split_at_checked(IP_HEADER)?;
    let tcp = rest.get(..TCP_HEADER)?;
    // Version 4 without options, as the kernel sends them.
    if ip[0] != 0x45 || ip[9] != PROTOCOL_TCP || tcp[13] & (SYN | ACK) != SYN | ACK {
        return None;
    }
    let address = |at: usize, port: usize| {
        let ip = Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
        SocketAddrV4::new(ip, u16::from_be_bytes([tcp[port], tcp[port + 1]]))
    };
    let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
    (address(12, 0) == server).then(|| (address(16, 2), sequence))
}

fn segment(from: SocketAddrV4, to: SocketAddrV4, flags: u8, sequence: u32, acknowledged: u32) -> Packet {
    let mut packet = [0; IP_HEADER + TCP_HEADER];
    let (ip, tcp) = packet.split_at_mut(IP_HEADER);
    // The kernel fills in the length, the identification and the checksum of the IP header.
    ip[0] = 0x45;
    ip[8] = 64;
    ip[9] = PROTOCOL_TCP;
    ip[12..16].copy_from_slice(&from.ip().octets());
    ip[16..20].copy_from_slice(&to.ip().octets());

    tcp[0..2].copy_from_slice(&from.port().to_be_bytes());
    tcp[2..4].copy_from_slice(&to.port().to_be_bytes());
    tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
    tcp[8..12].copy_from_slice(&acknowledged.to_be_bytes());
    tcp[12] = ((TCP_HEADER / 4) as u8) << 4;
    tcp[13] = flags;
    tcp[14..16].copy_from_slice(&WINDOW.to_be_bytes());
    let checksum = tcp_checksum(*from.ip(), *to.ip(), tcp);
    tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// The checksum over the pseudo-header and an even number of bytes.
fn tcp_checksum(from: Ipv4Addr, to: Ipv4Addr, segment: &[u8]) -> u16 {
    let sum = words(&from.octets()) + words(&to.octets()) + words(segment);
    folded(sum + u32::from(PROTOCOL_TCP) + segment.len() as u32)
}

fn words(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum()
}

fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 99, 0, 1), 4000);
    const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80);

    #[test]
    fn a_segment_with_its_checksum_sums_to_zero() {
        let packet = final_ack(CLIENT, SERVER, 0xdead_beef);
        assert_eq!(tcp_checksum(*CLIENT.ip(), *SERVER.ip(), &packet[IP_HEADER..]), 0);
    }

    #[test]
    fn an_icmp_error_quotes_what_it_is_about_and_sums_to_zero() {
        let syn = syn(CLIENT, SERVER);
        let (to, message) = net_unreachable(&syn).expect("a segment");
        assert_eq!((to, &message[8..28], &message[28..]), (*CLIENT.ip(), &syn[..20], &syn[20..28]));
        assert_eq!(folded(words(&message)), 0);
        assert_eq!(net_unreachable(&syn[..27]), None);
    }

    #[test]
    fn a_syn_ack_is_told_from_other_packets() {
        let syn_ack = segment(SERVER, CLIENT, SYN | ACK, 77, CLIENT_SEQUENCE + 1);
        assert_eq!(parse_syn_ack(&syn_ack, SERVER), Some((CLIENT, 77)));
        assert_eq!(parse_syn_ack(&syn_ack, CLIENT), None);
        assert_eq!(parse_syn_ack(&syn(CLIENT, SERVER), CLIENT), None);
        assert_eq!(parse_syn_ack(&syn_ack[..39], SERVER), None);
        assert_eq!(parse_syn_ack(&[], SERVER), None);
    }
}

//! Half-open connections: raw SYNs from sources that nobody owns, and on demand the ACKs that complete them.
//!
//! The answers to such a source go to `lo` and end there ([`netns::route_spoofed`]), so no real socket
//! resets or repeats anything and every count is known in advance.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    os::fd::{AsRawFd, OwnedFd},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Args;
use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto, setsockopt,
            socket, sockopt,
        },
        time::TimeVal,
    },
};
use serde::Serialize;

use super::{
    load::{Load, Traffic},
    obey, packet, ready,
};
use crate::{netns, report::Report};

const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
const SYN_ACK_DEADLINE: Duration = Duration::from_secs(3);
const CLIENT_PORT: u16 = 40_000;

/// Options.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Flood {
    /// The listener.
    #[arg(long)]
    pub to: SocketAddrV4,
    /// Join this process's network namespace.
    #[arg(long)]
    pub netns_of: Option<u32>,
    /// First open this many real connections and hold them.
    #[arg(long)]
    pub established: u32,
    /// SYNs in a volley.
    #[arg(long)]
    pub half_open: u32,
    /// How many volleys: of new SYNs, or of the same final ACKs.
    #[arg(long)]
    pub volleys: u32,
    /// Time between two volleys.
    #[arg(long)]
    pub interval_ms: u64,
    /// Send one volley of SYNs, wait for all answers, and then volleys of final ACKs.
    #[arg(long)]
    pub complete: bool,
    /// Take a SYN of a volley back as the next volley's takes its place.
    #[arg(long)]
    pub reset: bool,
    /// Workers of an ordinary load beside it.
    #[arg(long)]
    pub side_workers: u32,
}

impl Flood {
    /// Nothing yet.
    pub fn to(to: SocketAddrV4) -> Self {
        Self {
            to,
            netns_of: None,
            established: 0,
            half_open: 0,
            volleys: 1,
            interval_ms: 100,
            complete: false,
            reset: false,
            side_workers: 0,
        }
    }

    /// Plays the role.
    pub fn play(&self) -> Result<()> {
        if let Some(pid) = self.netns_of {
            netns::join(pid)?;
        }
        netns::route_spoofed()?;
        ready()?;
        let to = SocketAddr::V4(self.to);
        let _held: Vec<TcpStream> = (0..self.established)
            .map(|_| TcpStream::connect_timeout(&to, CONNECT_DEADLINE))
            .collect::<io::Result<_>>()?;
        let side = Arc::new(Traffic::new(Load {
            workers: self.side_workers,
            connect_timeout_ms: 100,
            ..Load::to(self.to)
        }));
        thread::scope(|scope| {
            scope.spawn(|| side.drive());
            let result = self.flood().and_then(|()| obey(|| side.ledger.tally(), |_| {}));
            side.stop();
            result
        })?;
        Ok(Report::Tally(side.ledger.tally()).send()?)
    }

    fn flood(&self) -> Result<()> {
        let wire = Wire::open(self.to)?;
        let (mut syns, mut acks, mut syn_acks) = (0usize, 0, 0);
        if self.complete {
            let clients: Vec<_> = (0..self.half_open).map(client).collect();
            wire.send_syns(&clients)?;
            let sequences = wire.collect_syn_acks(clients.len())?;
            (syns, syn_acks) = (clients.len(), sequences.len());
            for _ in 0..self.volleys {
                wire.send_acks(&sequences)?;
                acks += sequences.len();
                thread::sleep(Duration::from_millis(self.interval_ms));
            }
        } else {
            for volley in 0..self.volleys {
                let first = volley * self.half_open;
                for number in first..first + self.half_open {
                    if let Some(before) = number.checked_sub(self.half_open).filter(|_| self.reset) {
                        wire.send(&packet::reset(client(before), self.to))?;
                    }
                    wire.send(&packet::syn(client(number), self.to))?;
                    syns += 1;
                }
                thread::sleep(Duration::from_millis(self.interval_ms));
            }
            if self.reset {
                let sent = self.volleys * self.half_open;
                let last = sent.saturating_sub(self.half_open)..sent;
                last.map(client).try_for_each(|client| wire.send(&packet::reset(client, self.to)))?;
            }
        }
        Report::Packets { syns: syns as u64, syn_acks: syn_acks as u64, acks: acks as u64 }.send()?;
        Ok(Report::Holding.send()?)
    }
}

/// The made-up client with this number.
fn client(number: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from_bits(netns::SPOOFED.to_bits() + 1 + number), CLIENT_PORT)
}

/// A raw socket to send by, and a packet socket to see the answers.
#[derive(Debug)]
struct Wire {
    server: SocketAddrV4,
    raw: OwnedFd,
    tap: OwnedFd,
}

impl Wire {
    fn open(server: SocketAddrV4) -> Result<Self> {
        let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)?;
        // A datagram packet socket begins at the IP header; nothing but `lo` is in this namespace.
        let tap =
            socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, SockProtocol::EthIp)?;
        setsockopt(&tap, sockopt::ReceiveTimeout, &TimeVal::new(0, 50_000))?;
        Ok(Self { server, raw, tap })
    }

    fn send_syns(&self, clients: &[SocketAddrV4]) -> Result<()> {
        clients.iter().try_for_each(|client| self.send(&packet::syn(*client, self.server)))
    }

    fn send_acks(&self, sequences: &HashMap<SocketAddrV4, u32>) -> Result<()> {
        sequences
            .iter()
            .try_for_each(|(client, sequence)| self.send(&packet::final_ack(*client, self.server, *sequence)))
    }

    fn send(&self, packet: &packet::Packet) -> Result<()> {
        sendto(self.raw.as_raw_fd(), packet, &SockaddrIn::from(self.server), MsgFlags::empty())?;
        Ok(())
    }

    /// The server's sequence numbers by client. Each packet is seen twice on `lo`: going out, coming in.
    fn collect_syn_acks(&self, clients: usize) -> Result<HashMap<SocketAddrV4, u32>> {
        let deadline = Instant::now() + SYN_ACK_DEADLINE;
        let mut sequences = HashMap::new();
        let mut buffer = [0; 2048];
        while sequences.len() < clients {
            if Instant::now() >= deadline {
                bail!("only {} of {clients} SYNs were answered within {SYN_ACK_DEADLINE:?}", sequences.len());
            }
            match recv(self.tap.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => sequences.extend(packet::parse_syn_ack(&buffer[..length], self.server)),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(sequences)
    }
}

//! Failures as fast as the machine makes them: SYNs to a full accept queue, then SYNs and connects to a port on which
//! nobody listens.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    os::fd::{AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};
use serde::Serialize;

use super::{obey, packet, ready};
use crate::{
    clock::Bracket,
    netns,
    report::{Ledger, Report},
};

const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// Made-up clients to a port: as many as the addresses that answers end at.
const ADDRESSES: u32 = 60_000;
const CLIENT_PORT: u16 = 40_000;
/// How often the clock is looked at: once in so many.
const LOOK: u32 = 100;

/// Options.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Storm {
    /// Join this process's network namespace.
    #[arg(long)]
    pub netns_of: u32,
    /// A listener that does not accept.
    #[arg(long)]
    pub full: SocketAddrV4,
    /// Real connections that fill its queue.
    #[arg(long)]
    pub established: u32,
    /// A port on which nobody listens.
    #[arg(long)]
    pub closed: SocketAddrV4,
    /// The most SYNs of each kind, and half as many connects.
    #[arg(long)]
    pub most: u32,
    /// The longest that each of the three may take.
    #[arg(long)]
    pub for_ms: u64,
}

impl Storm {
    /// Plays the role: reports the SYNs to the full queue, those to the closed port, that it is done; the tally has the
    /// connects that were refused.
    pub fn play(&self) -> Result<()> {
        netns::join(self.netns_of)?;
        netns::route_spoofed()?;
        ready()?;
        let _held: Vec<TcpStream> = (0..self.established)
            .map(|_| TcpStream::connect_timeout(&SocketAddr::V4(self.full), CONNECT_DEADLINE))
            .collect::<io::Result<_>>()?;
        let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)?;
        for to in [self.full, self.closed] {
            let syns = self.burst(self.most, |number| send_syn(&raw, client(number), to))?;
            Report::Packets { syns: u64::from(syns), syn_acks: 0, acks: 0 }.send()?;
        }
        let ledger = Ledger::default();
        self.burst(self.most / 2, |_| {
            let (connected, bracket) = Bracket::around(|| TcpStream::connect(self.closed));
            match connected {
                Ok(_) => ledger.connected(),
                Err(error) => ledger.failed(&error, bracket),
            }
            Ok(())
        })?;
        Report::Holding.send()?;
        obey(|| ledger.tally(), |_| {})?;
        Ok(Report::Tally(ledger.tally()).send()?)
    }

    /// Does something up to `most` times, as long as there is time; says how often.
    fn burst(&self, most: u32, mut act: impl FnMut(u32) -> Result<()>) -> Result<u32> {
        let deadline = Instant::now() + Duration::from_millis(self.for_ms);
        for number in 0..most {
            if number.is_multiple_of(LOOK) && Instant::now() >= deadline {
                return Ok(number);
            }
            act(number)?;
        }
        Ok(most)
    }
}

fn send_syn(raw: &OwnedFd, from: SocketAddrV4, to: SocketAddrV4) -> Result<()> {
    sendto(raw.as_raw_fd(), &packet::syn(from, to), &SockaddrIn::from(to), MsgFlags::empty())?;
    Ok(())
}

/// The made-up client with this number.
fn client(number: u32) -> SocketAddrV4 {
    let address = Ipv4Addr::from_bits(netns::SPOOFED.to_bits() + 1 + number % ADDRESSES);
    SocketAddrV4::new(address, CLIENT_PORT + (number / ADDRESSES) as u16)
}

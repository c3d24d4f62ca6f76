//! Takes local ports until there are none left, then holds them.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    os::fd::{AsRawFd, OwnedFd},
    thread,
    time::Duration,
};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, socket};
use serde::Serialize;

use super::{obey, ready};
use crate::{
    clock::Bracket,
    netns,
    report::{Ledger, Report},
};

const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// No scenario has a range as large as this.
const MOST_ATTEMPTS: u32 = 2000;

/// How ports are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// connect() to one destination.
    Connect,
    /// bind() to port 0.
    BindAny,
    /// bind() to the destination's own port, which is taken.
    BindFixed,
}

/// Options.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ports {
    /// The destination. One connection is made to it in any case, so that it is the target.
    #[arg(long)]
    pub to: SocketAddrV4,
    /// Join this process's network namespace.
    #[arg(long)]
    pub netns_of: Option<u32>,
    /// How.
    #[arg(long)]
    pub how: How,
    /// Stop trying after this many failures.
    #[arg(long)]
    pub failures: u64,
    /// Stop trying after this many ports, even without a failure.
    #[arg(long)]
    pub most: Option<u32>,
    /// Rest between two attempts.
    #[arg(long)]
    pub interval_ms: u64,
    /// End by itself, without an order.
    #[arg(long)]
    pub no_orders: bool,
}

impl Ports {
    /// Connects until the fifth failure.
    pub fn to(to: SocketAddrV4) -> Self {
        Self {
            to,
            netns_of: None,
            how: How::Connect,
            failures: 5,
            most: None,
            interval_ms: 10,
            no_orders: false,
        }
    }

    /// Plays the role.
    pub fn play(&self) -> Result<()> {
        if let Some(pid) = self.netns_of {
            netns::join(pid)?;
        }
        ready()?;
        let ledger = Ledger::default();
        let mut held: Vec<OwnedFd> = vec![connect(self.to)?];
        let mut failures = 0;
        for _ in 0..self.most.unwrap_or(MOST_ATTEMPTS) {
            match Bracket::around(|| self.take()) {
                (Ok(socket), _) => {
                    held.push(socket);
                    ledger.done();
                }
                (Err(error), bracket) => {
                    ledger.failed(&error, bracket);
                    failures += 1;
                }
            }
            if failures == self.failures {
                break;
            }
            thread::sleep(Duration::from_millis(self.interval_ms));
        }
        if self.most.is_none() && failures < self.failures {
            bail!("{MOST_ATTEMPTS} attempts did not exhaust the ports");
        }
        Report::Holding.send()?;
        if !self.no_orders {
            obey(|| ledger.tally(), |_| {})?;
        }
        Ok(Report::Tally(ledger.tally()).send()?)
    }

    fn take(&self) -> io::Result<OwnedFd> {
        match self.how {
            How::Connect => connect(self.to),
            How::BindAny => bound(0),
            How::BindFixed => bound(self.to.port()),
        }
    }
}

fn connect(to: SocketAddrV4) -> io::Result<OwnedFd> {
    Ok(TcpStream::connect_timeout(&SocketAddr::V4(to), CONNECT_DEADLINE)?.into())
}

fn bound(port: u16) -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket)
}

//! A service on many ports, which closes every connection as soon as it has accepted it.

use std::{
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    os::fd::AsFd,
    sync::Arc,
    thread,
};

use anyhow::{Context, Result};
use clap::Args;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use super::{limit_descriptors, obey, ready, serve::listener};
use crate::{
    netns,
    report::{Ledger, Report},
};

/// Room for all clients of a scenario at once.
const BACKLOG: u16 = 128;
/// Room for the connections that wait in TIME_WAIT.
const TIME_WAIT: &str = "65536";
/// Descriptors for everything else.
const SPARE: u64 = 64;

/// Options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Doors {
    /// The first port on 127.0.0.1.
    #[arg(long)]
    pub first: u16,
    /// How many ports.
    #[arg(long)]
    pub ports: u16,
}

impl Doors {
    /// Plays the role, in a namespace of its own; the tally has the connections accepted.
    pub fn play(self) -> Result<()> {
        netns::create()?;
        // It closes first: on a small machine there would not be room for all that waits then.
        netns::sysctl("net/ipv4/tcp_max_tw_buckets", TIME_WAIT)?;
        netns::loopback_up()?;
        limit_descriptors(u64::from(self.ports) + SPARE)?;
        let doors = (self.first..self.first + self.ports).map(open).collect::<Result<Vec<_>>>()?;
        let ledger = Arc::new(Ledger::default());
        thread::Builder::new().name("doorman".into()).spawn({
            let ledger = Arc::clone(&ledger);
            move || {
                // Who cannot wait for clients has none; their counts will not agree.
                let _ = attend(&doors, &ledger);
            }
        })?;
        ready()?;
        obey(|| ledger.tally(), |_| {})?;
        Ok(Report::Tally(ledger.tally()).send()?)
    }
}

fn open(port: u16) -> Result<TcpListener> {
    let door = listener(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port), BACKLOG)?;
    door.set_nonblocking(true).context("cannot listen without waiting")?;
    Ok(door)
}

fn attend(doors: &[TcpListener], ledger: &Ledger) -> nix::Result<()> {
    let mut waiting: Vec<_> = doors.iter().map(|door| PollFd::new(door.as_fd(), PollFlags::POLLIN)).collect();
    loop {
        poll(&mut waiting, PollTimeout::NONE)?;
        let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        for (door, _) in doors.iter().zip(&waiting).filter(|(_, fd)| ready(fd)) {
            while door.accept().is_ok() {
                ledger.done();
            }
        }
    }
}

//! Sockets that are there and do nothing: listeners, and connections that stay open.

use std::net::{Ipv4Addr, TcpListener, TcpStream};

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use super::{limit_descriptors, obey, ready};
use crate::{
    netns,
    report::{Report, Tally},
};

/// Options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Crowd {
    /// Listeners.
    #[arg(long)]
    pub listeners: u32,
    /// Connections to the first of them, both ends of which are held.
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
        let spare = 64;
        limit_descriptors(u64::from(self.listeners) + 2 * u64::from(self.connections) + spare)?;
        ready()?;
        let listen = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listeners: Vec<TcpListener> = (0..self.listeners).map(listen).collect::<Result<_, _>>()?;
        let mut held = Vec::new();
        for _ in 0..self.connections {
            let first = listeners.first().context("connections need a listener")?;
            held.push((TcpStream::connect(first.local_addr()?)?, first.accept()?.0));
        }
        Report::Holding.send()?;
        obey(Tally::default, |_| {})
    }
}

//! Connections without a word: each is opened, closed by the other side, and then by this one. How many go to which
//! port is known in advance.

use std::{
    fmt,
    io::{self, Read},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    str::FromStr,
    thread,
    time::Duration,
};

use anyhow::{Context, Error, Result};
use clap::Args;
use serde::{Serialize, Serializer};

use super::{obey, ready};
use crate::{
    clock::Bracket,
    netns,
    report::{Ledger, Report},
};

/// How long a connection and its end may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Rest of a worker between two connections: on a fast machine, too, a round is to last for some of observer's reads.
const REST: Duration = Duration::from_millis(1);

/// Options.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Knock {
    /// Join this process's network namespace.
    #[arg(long)]
    pub netns_of: u32,
    /// How many knock at the same time; each does all there is to do.
    #[arg(long)]
    pub workers: u32,
    /// What there is to do, in order: FIRST:PORTS:TIMES, port by port.
    #[arg(long, required = true)]
    pub round: Vec<Round>,
}

/// So many connections to each of some ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// The first port on 127.0.0.1.
    pub first: u16,
    /// How many ports.
    pub ports: u16,
    /// Connections of a worker to each of them.
    pub times: u32,
}

impl Round {
    /// Its ports.
    pub fn ports(self) -> impl Iterator<Item = u16> {
        self.first..self.first + self.ports
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.first, self.ports, self.times)
    }
}

impl FromStr for Round {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut fields = text.split(':');
        let mut field = || fields.next().context("a round is FIRST:PORTS:TIMES");
        Ok(Self { first: field()?.parse()?, ports: field()?.parse()?, times: field()?.parse()? })
    }
}

impl Serialize for Round {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Knock {
    /// Plays the role: all rounds, with a tally after each, then a word that they are done, then whatever is ordered.
    pub fn play(&self) -> Result<()> {
        netns::join(self.netns_of)?;
        ready()?;
        let ledger = Ledger::default();
        thread::scope(|scope| {
            for _ in 0..self.workers {
                scope.spawn(|| self.work(&ledger));
            }
        });
        Report::Holding.send()?;
        obey(|| ledger.tally(), |_| {})?;
        Ok(Report::Tally(ledger.tally()).send()?)
    }

    fn work(&self, ledger: &Ledger) {
        for round in &self.round {
            for port in round.ports() {
                for _ in 0..round.times {
                    match Bracket::around(|| knock(port, ledger)) {
                        (Ok(()), _) => ledger.done(),
                        (Err(error), bracket) => ledger.failed(&error, bracket),
                    }
                    thread::sleep(REST);
                }
            }
            // A slow machine is not to seem dead. The lab notices by itself when nobody listens any more.
            let _ = Report::Tally(ledger.tally()).send();
        }
    }
}

fn knock(port: u16, ledger: &Ledger) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
    ledger.connected();
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.read(&mut [0]).map(drop)
}

//! Errors with the errno of a fault, or the look of one, that say nothing about the host's limits.

use std::{
    env,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpStream},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    sys::{
        inotify::{InitFlags, Inotify},
        socket::{setsockopt, sockopt},
    },
};
use serde::Serialize;

use super::{
    load::{Load, Traffic},
    obey, ready,
};
use crate::{netns, report::Report};

const CONNECT_DEADLINE: Duration = Duration::from_secs(1);
const REPEATS: u32 = 20;
/// A port that nothing listens on.
const CLOSED_PORT: u16 = 9;

/// Options.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Decoys {
    /// A healthy service, under a light load all the while.
    #[arg(long)]
    pub to: SocketAddrV4,
    /// Join this process's network namespace, in which IPv6 is off.
    #[arg(long)]
    pub netns_of: Option<u32>,
}

impl Decoys {
    /// Plays the role.
    pub fn play(&self) -> Result<()> {
        if let Some(pid) = self.netns_of {
            netns::join(pid)?;
        }
        ready()?;
        let traffic = Arc::new(Traffic::new(Load { workers: 2, think_ms: 5, ..Load::to(self.to) }));
        thread::scope(|scope| {
            scope.spawn(|| traffic.drive());
            let result = self.lure().and_then(|()| {
                Report::Holding.send()?;
                obey(|| traffic.ledger.tally(), |_| {})
            });
            traffic.stop();
            result
        })?;
        Ok(Report::Tally(traffic.ledger.tally()).send()?)
    }

    fn lure(&self) -> Result<()> {
        for _ in 0..REPEATS {
            expect_errno((Ipv4Addr::LOCALHOST, CLOSED_PORT).into(), libc::ECONNREFUSED)?;
            // No port is searched for: there is no address to connect from.
            expect_errno((Ipv6Addr::LOCALHOST, self.to.port()).into(), libc::EADDRNOTAVAIL)?;
        }
        self.reset_once()?;
        let status = Command::new(env::current_exe()?)
            .arg("inotify-decoy")
            .status()
            .context("cannot start the inotify decoy")?;
        ensure!(status.success(), "the inotify decoy ended with {status}");
        Ok(())
    }

    /// One connection that is closed with an RST.
    fn reset_once(&self) -> Result<()> {
        let stream = TcpStream::connect_timeout(&SocketAddr::V4(self.to), CONNECT_DEADLINE)?;
        setsockopt(&stream, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
        Ok(())
    }
}

fn expect_errno(to: SocketAddr, errno: i32) -> Result<()> {
    match TcpStream::connect_timeout(&to, CONNECT_DEADLINE) {
        Err(error) if error.raw_os_error() == Some(errno) => Ok(()),
        Err(error) => bail!("connect to {to} was to give errno {errno}, and gave {error}"),
        Ok(_) => bail!("connect to {to} was to give errno {errno}, and succeeded"),
    }
}

/// Gets EMFILE from inotify without touching anybody's limits: in a user namespace of its own the limit is
/// this process's to set. No descriptor is short.
pub fn exhaust_inotify() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWUSER).context("cannot make a user namespace")?;
    netns::sysctl("user/max_inotify_instances", "1")?;
    let _first = Inotify::init(InitFlags::IN_CLOEXEC).context("the first inotify instance")?;
    for _ in 0..REPEATS {
        match Inotify::init(InitFlags::IN_CLOEXEC) {
            Err(Errno::EMFILE) => {}
            other => bail!("inotify_init was to give EMFILE, and gave {other:?}"),
        }
    }
    Ok(())
}

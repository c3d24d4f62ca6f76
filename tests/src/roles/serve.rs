//! An HTTP service whose weaknesses can be chosen.

use std::{
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    os::fd::AsRawFd,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Args;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt,
};
use serde::Serialize;

use super::{
    answer::{Manner, reset},
    appetite::{Appetite, take_all},
    limit_descriptors, obey, ready,
};
use crate::{
    cgroup,
    clock::Bracket,
    netns, nft,
    report::{Ledger, Order, Report},
};

/// Room for every client of a scenario whose fault is another one.
const BACKLOG: u16 = 128;
/// How fast it takes memory when it is told to.
const SWELL_MIB_PER_S: u32 = 100;
/// How long an acceptor rests after accept() failed, as services do.
const ACCEPT_RETRY: Duration = Duration::from_millis(5);

/// Options of the service.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Serve {
    /// Port on 127.0.0.1.
    #[arg(long)]
    pub port: u16,
    /// Listen on all addresses instead.
    #[arg(long)]
    pub anywhere: bool,
    /// Join this process's namespace instead of making one.
    #[arg(long)]
    pub netns_of: Option<u32>,
    /// Sysctls of a new namespace: `net/ipv4/tcp_syncookies=0`.
    #[arg(long)]
    pub sysctl: Vec<String>,
    /// Make the kernel track the connections of a new namespace.
    #[arg(long)]
    pub track_connections: bool,
    /// The backlog argument of listen().
    #[arg(long)]
    pub backlog: u16,
    /// Enter these cgroups first: their folders.
    #[arg(long)]
    pub cgroup: Vec<PathBuf>,
    /// Soft limit on descriptors.
    #[arg(long)]
    pub nofile: Option<u64>,
    /// Threads that accept and serve.
    #[arg(long)]
    pub threads: u16,
    /// Do not accept before the order to resume or relent.
    #[arg(long)]
    pub paused: bool,
    /// Keep every accepted connection open, unanswered.
    #[arg(long)]
    pub hold: bool,
    /// Rest of an acceptor after each connection.
    #[arg(long)]
    pub accept_delay_ms: u64,
    /// Time that a request waits for its answer.
    #[arg(long)]
    pub work_ms: u64,
    /// CPU time that a request costs.
    #[arg(long)]
    pub burn_us: u64,
    /// Memory that is held from the beginning.
    #[arg(long)]
    pub ballast_kib: usize,
    /// Memory that a request takes and never gives back.
    #[arg(long)]
    pub leak_kib: usize,
    /// Memory that a request uses and gives back to the kernel for whenever it needs some.
    #[arg(long)]
    pub scratch_kib: usize,
    /// Send the body of an answer in so many segments.
    #[arg(long)]
    pub pieces: u16,
    /// Leave it to the client to close.
    #[arg(long)]
    pub wait_close: bool,
    /// Close every so manieth connection with its request unread.
    #[arg(long)]
    pub reset_every: Option<u64>,
}

impl Serve {
    /// A healthy service in a namespace of its own.
    pub fn on(port: u16) -> Self {
        Self {
            port,
            anywhere: false,
            netns_of: None,
            sysctl: Vec::new(),
            track_connections: false,
            backlog: BACKLOG,
            cgroup: Vec::new(),
            nofile: None,
            threads: 1,
            paused: false,
            hold: false,
            accept_delay_ms: 0,
            work_ms: 0,
            burn_us: 0,
            ballast_kib: 0,
            leak_kib: 0,
            scratch_kib: 0,
            pieces: 0,
            wait_close: false,
            reset_every: None,
        }
    }

    /// Plays the role.
    pub fn play(&self) -> Result<()> {
        cgroup::enter(&self.cgroup)?;
        match self.netns_of {
            Some(pid) => netns::join(pid)?,
            None => self.make_netns()?,
        }
        if let Some(soft) = self.nofile {
            limit_descriptors(soft)?;
        }
        let address = if self.anywhere { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
        let listener = Arc::new(listener(SocketAddrV4::new(address, self.port), self.backlog)?);
        let state = Arc::new(State::new(self));
        for _ in 0..self.threads {
            let (listener, state) = (Arc::clone(&listener), Arc::clone(&state));
            thread::Builder::new().name("acceptor".into()).spawn(move || state.accept_from(&listener))?;
        }
        ready()?;
        obey(|| state.ledger.tally(), |order| state.obey(order))?;
        Ok(Report::Tally(state.ledger.tally()).send()?)
    }

    fn make_netns(&self) -> Result<()> {
        netns::create()?;
        for setting in &self.sysctl {
            let (name, value) = setting.split_once('=').context("a sysctl is NAME=VALUE")?;
            netns::sysctl(name, value)?;
        }
        if self.track_connections {
            nft::track_connections()?;
        }
        netns::loopback_up()
    }
}

/// A listener with a backlog of its own choosing, which the standard library does not offer.
pub(super) fn listener(address: SocketAddrV4, backlog: u16) -> Result<TcpListener> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(address)).with_context(|| format!("cannot bind {address}"))?;
    listen(&socket, Backlog::new(i32::from(backlog))?)?;
    Ok(TcpListener::from(socket))
}

/// What the acceptors share.
#[derive(Debug)]
struct State {
    ledger: Ledger,
    relented: AtomicBool,
    hold: bool,
    accept_delay: Duration,
    manner: Manner,
    appetite: Appetite,
    reset_every: Option<u64>,
    accepted: AtomicU64,
    paused: Mutex<bool>,
    resumed: Condvar,
    held: Mutex<Vec<TcpStream>>,
}

impl State {
    fn new(options: &Serve) -> Self {
        Self {
            ledger: Ledger::default(),
            relented: AtomicBool::new(false),
            hold: options.hold,
            accept_delay: Duration::from_millis(options.accept_delay_ms),
            manner: Manner {
                work: Duration::from_millis(options.work_ms),
                pieces: options.pieces,
                wait_close: options.wait_close,
            },
            appetite: Appetite::new(
                Duration::from_micros(options.burn_us),
                options.ballast_kib,
                options.leak_kib,
                options.scratch_kib,
            ),
            reset_every: options.reset_every,
            accepted: AtomicU64::new(0),
            paused: Mutex::new(options.paused),
            resumed: Condvar::new(),
            held: Mutex::default(),
        }
    }

    fn accept_from(&self, listener: &TcpListener) {
        let paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.resumed.wait_while(paused, |paused| *paused));
        loop {
            match Bracket::around(|| listener.accept()) {
                (Ok((stream, _)), _) => {
                    self.ledger.done();
                    self.serve(stream);
                }
                (Err(error), bracket) => {
                    self.ledger.failed(&error, bracket);
                    thread::sleep(ACCEPT_RETRY);
                }
            }
        }
    }

    fn serve(&self, stream: TcpStream) {
        if self.hold {
            // Looked at under the lock, so that `relent` misses no connection.
            let mut held = self.held();
            if !self.relented.load(Ordering::Relaxed) {
                held.push(stream);
                return;
            }
        }
        // A client that went away, or that never was one, is not this service's fault.
        if self.is_to_be_reset() {
            let _ = reset(&stream);
        } else {
            let _ = self.manner.answer(stream, || self.pay());
        }
        if !self.relented.load(Ordering::Relaxed) {
            thread::sleep(self.accept_delay);
        }
    }

    fn is_to_be_reset(&self) -> bool {
        let accepted = self.accepted.fetch_add(1, Ordering::Relaxed) + 1;
        self.reset_every.is_some_and(|every| accepted.is_multiple_of(every))
            && !self.relented.load(Ordering::Relaxed)
    }

    /// What a request costs, as long as the service is not healthy.
    fn pay(&self) -> Result<()> {
        if self.relented.load(Ordering::Relaxed) { Ok(()) } else { self.appetite.pay() }
    }

    fn obey(&self, order: Order) {
        match order {
            Order::Relent => self.relent(),
            Order::Swell => take_all(SWELL_MIB_PER_S),
            _ => {}
        }
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.resumed.notify_all();
    }

    /// Healthy from now on: accepts at once, holds nothing, answers what was held.
    fn relent(&self) {
        let held = {
            let mut held = self.held();
            self.relented.store(true, Ordering::Relaxed);
            std::mem::take(&mut *held)
        };
        for stream in held {
            let _ = Manner { work: Duration::ZERO, ..self.manner }.answer(stream, || Ok(()));
        }
    }

    fn held(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

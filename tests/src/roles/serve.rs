//! An HTTP service whose weaknesses can be chosen.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    os::fd::AsRawFd,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
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
    appetite::{self, Scratch, burn, take_all},
    limit_descriptors, obey, ready,
};
use crate::{
    cgroup,
    clock::Bracket,
    netns,
    report::{Ledger, Order, Report},
};

/// How long a client may take to send its request.
const REQUEST_DEADLINE: Duration = Duration::from_secs(1);
/// Room for every client of a scenario whose fault is another one.
const BACKLOG: u16 = 128;
/// What a client says that wants the service to close the connection.
const CLOSE: &[u8] = b"Connection: close";
const LAST_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
/// More than any cgroup of a scenario that uses it allows.
const SCRATCH_KIB: usize = 64 * 1024;
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
    /// Join this process's namespace instead of making one.
    #[arg(long)]
    pub netns_of: Option<u32>,
    /// Sysctls of a new namespace: `net/ipv4/tcp_syncookies=0`.
    #[arg(long)]
    pub sysctl: Vec<String>,
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
}

impl Serve {
    /// A healthy service in a namespace of its own.
    pub fn on(port: u16) -> Self {
        Self {
            port,
            netns_of: None,
            sysctl: Vec::new(),
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
        }
    }

    /// Plays the role.
    pub fn play(&self) -> Result<()> {
        cgroup::enter(&self.cgroup)?;
        match self.netns_of {
            Some(pid) => netns::join(pid)?,
            None => {
                netns::create()?;
                for setting in &self.sysctl {
                    let (name, value) = setting.split_once('=').context("a sysctl is NAME=VALUE")?;
                    netns::sysctl(name, value)?;
                }
                netns::loopback_up()?;
            }
        }
        if let Some(soft) = self.nofile {
            limit_descriptors(soft)?;
        }
        let listener = Arc::new(listener(self.port, self.backlog)?);
        let state = Arc::new(State::new(self));
        for _ in 0..self.threads {
            let (listener, state) = (Arc::clone(&listener), Arc::clone(&state));
            thread::Builder::new().name("acceptor".into()).spawn(move || state.accept_from(&listener))?;
        }
        ready()?;
        obey(|| state.ledger.tally(), |order| state.obey(order))?;
        Ok(Report::Tally(state.ledger.tally()).send()?)
    }
}

/// A listener with a backlog of its own choosing, which the standard library does not offer.
fn listener(port: u16, backlog: u16) -> Result<TcpListener> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)))
        .with_context(|| format!("cannot bind port {port}"))?;
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
    cost: Cost,
    paused: Mutex<bool>,
    resumed: Condvar,
    held: Mutex<Vec<TcpStream>>,
    memory: Mutex<Memory>,
}

/// What a request costs.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    wait: Duration,
    burn: Duration,
    leak_kib: usize,
    scratch_kib: usize,
}

#[derive(Debug)]
struct Memory {
    kept: Vec<Vec<u8>>,
    scratch: Scratch,
}

impl State {
    fn new(options: &Serve) -> Self {
        Self {
            ledger: Ledger::default(),
            relented: AtomicBool::new(false),
            hold: options.hold,
            accept_delay: Duration::from_millis(options.accept_delay_ms),
            cost: Cost {
                wait: Duration::from_millis(options.work_ms),
                burn: Duration::from_micros(options.burn_us),
                leak_kib: options.leak_kib,
                scratch_kib: options.scratch_kib,
            },
            paused: Mutex::new(options.paused),
            resumed: Condvar::new(),
            held: Mutex::default(),
            memory: Mutex::new(Memory {
                kept: vec![appetite::memory(options.ballast_kib)],
                scratch: Scratch::with_room(SCRATCH_KIB),
            }),
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
        let _ = self.answer(stream);
        if !self.relented.load(Ordering::Relaxed) {
            thread::sleep(self.accept_delay);
        }
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
            let _ = self.answer(stream);
        }
    }

    /// Answers the requests of a connection, one after the other.
    fn answer(&self, mut stream: TcpStream) -> anyhow::Result<()> {
        stream.set_read_timeout(Some(REQUEST_DEADLINE))?;
        while let Some(request) = next_request(&mut stream)? {
            if !self.relented.load(Ordering::Relaxed) {
                self.pay()?;
            }
            if is_last(&request) {
                stream.write_all(LAST_ANSWER)?;
                break;
            }
            stream.write_all(ANSWER)?;
        }
        Ok(())
    }

    /// Does the work of one request.
    fn pay(&self) -> anyhow::Result<()> {
        thread::sleep(self.cost.wait);
        burn(self.cost.burn)?;
        if self.cost.leak_kib + self.cost.scratch_kib > 0 {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.kept.push(appetite::memory(self.cost.leak_kib));
            memory.scratch.use_some(self.cost.scratch_kib)?;
        }
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next request of a connection; `None` when the client has closed it.
fn next_request(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 if request.is_empty() => return Ok(None),
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => request.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(Some(request))
}

/// Whether the client asks to close the connection after this request.
fn is_last(request: &[u8]) -> bool {
    request.windows(CLOSE.len()).any(|words| words == CLOSE)
}

//! An HTTP load: workers that open one connection per request.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, SocketAddrV4, TcpStream},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::{limit_descriptors, obey, ready};
use crate::{
    clock::Bracket,
    netns,
    report::{Ledger, Order, Report},
};

/// How often a worker that waits for an answer looks whether the load is over.
const STOP_CHECK: Duration = Duration::from_millis(20);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n";
const LAST_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n";
/// The lab's own service ends every answer with this.
const END: &[u8] = b"\r\n\r\nok\n";

/// Options of the load.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Load {
    /// Where to; with several, the workers take turns.
    #[arg(long, required = true)]
    pub to: Vec<SocketAddrV4>,
    /// Join this process's network namespace.
    #[arg(long)]
    pub netns_of: Option<u32>,
    /// How many workers.
    #[arg(long)]
    pub workers: u32,
    /// Start the workers one after the other over this time.
    #[arg(long)]
    pub ramp_ms: u64,
    /// Rest of a worker between two requests.
    #[arg(long)]
    pub think_ms: u64,
    /// Give up on a connection that is not established within this time.
    #[arg(long)]
    pub connect_timeout_ms: u64,
    /// Requests on one connection, which the client then closes. When absent there is one, and the service
    /// closes.
    #[arg(long)]
    pub requests_per_connection: Option<u64>,
    /// Requests of one worker; without a limit when absent.
    #[arg(long)]
    pub requests: Option<u64>,
    /// Do not end when all requests have been answered.
    #[arg(long)]
    pub stay: bool,
    /// End after this time at the latest.
    #[arg(long)]
    pub for_ms: u64,
    /// Soft limit on descriptors.
    #[arg(long)]
    pub nofile: Option<u64>,
    /// Take orders on standard input, and report on standard output.
    #[arg(long)]
    pub orders: bool,
    /// Say every second how it goes.
    #[arg(long)]
    pub progress: bool,
}

impl Load {
    /// One patient worker that takes orders.
    pub fn to(to: SocketAddrV4) -> Self {
        Self {
            to: vec![to],
            netns_of: None,
            workers: 1,
            ramp_ms: 0,
            think_ms: 10,
            connect_timeout_ms: 3000,
            requests_per_connection: None,
            requests: None,
            stay: false,
            for_ms: 20_000,
            nofile: None,
            orders: true,
            progress: false,
        }
    }

    /// Plays the role.
    pub fn play(&self) -> Result<()> {
        if let Some(pid) = self.netns_of {
            netns::join(pid)?;
        }
        if let Some(soft) = self.nofile {
            limit_descriptors(soft)?;
        }
        let traffic = Arc::new(Traffic::new(self.clone()));
        if self.orders {
            ready()?;
            let traffic = Arc::clone(&traffic);
            thread::Builder::new().name("orders".into()).spawn(move || {
                let ended = obey(|| traffic.ledger.tally(), |order| traffic.obey(order));
                traffic.stop();
                ended
            })?;
        }
        traffic.drive()?;
        if self.orders {
            Report::Tally(traffic.ledger.tally()).send()?;
        }
        Ok(())
    }
}

/// A connection that is open.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    requests: u64,
}

/// A load while it runs.
#[derive(Debug)]
pub struct Traffic {
    options: Load,
    /// What came of it.
    pub ledger: Ledger,
    active: AtomicU64,
    relented: AtomicBool,
    stopped: AtomicBool,
    gate: Mutex<()>,
    wake: Condvar,
}

impl Traffic {
    /// A load that has not begun.
    pub fn new(options: Load) -> Self {
        Self {
            options,
            ledger: Ledger::default(),
            active: AtomicU64::new(0),
            relented: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            gate: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    /// Ends the load soon.
    pub fn stop(&self) {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.stopped.store(true, Ordering::Relaxed);
        self.wake.notify_all();
    }

    fn obey(&self, order: Order) {
        if order == Order::Relent {
            self.relented.store(true, Ordering::Relaxed);
        }
    }

    /// Runs all workers to their end.
    pub fn drive(&self) -> io::Result<()> {
        let begun = Instant::now();
        let deadline = begun + Duration::from_millis(self.options.for_ms);
        thread::scope(|scope| {
            let progress = self.options.progress.then(|| scope.spawn(|| self.print_progress(begun)));
            let workers: Vec<_> = (0..self.options.workers)
                .map(|number| {
                    let delay = Duration::from_millis(
                        self.options.ramp_ms * u64::from(number) / u64::from(self.options.workers),
                    );
                    thread::Builder::new()
                        .stack_size(64 * 1024)
                        .spawn_scoped(scope, move || self.work(number, begun + delay, deadline))
                })
                .collect::<io::Result<_>>()?;
            for worker in workers {
                let _ = worker.join();
            }
            if self.options.stay {
                self.rest_until(deadline);
            }
            self.stop();
            if let Some(progress) = progress {
                let _ = progress.join();
            }
            Ok(())
        })
    }

    fn work(&self, number: u32, begin: Instant, deadline: Instant) {
        let to = self.options.to[number as usize % self.options.to.len()];
        self.rest_until(begin);
        self.active.fetch_add(1, Ordering::Relaxed);
        let mut requests = 0;
        let mut connection = None;
        while !self.over(deadline) && self.options.requests.is_none_or(|limit| requests < limit) {
            if number > 0 && self.relented.load(Ordering::Relaxed) {
                break;
            }
            requests += 1;
            connection = self.request(connection, SocketAddr::V4(to), deadline);
            self.rest_until(deadline.min(Instant::now() + Duration::from_millis(self.options.think_ms)));
        }
        self.active.fetch_sub(1, Ordering::Relaxed);
    }

    /// One request, on the connection that is open or on a new one; the connection, if it can be used again.
    fn request(&self, open: Option<Connection>, to: SocketAddr, deadline: Instant) -> Option<Connection> {
        let mut connection = match open {
            Some(connection) => connection,
            None => self.connect(to)?,
        };
        match Bracket::around(|| self.exchange(&mut connection.stream, deadline)) {
            (Ok(()), _) => self.ledger.done(),
            (Err(error), bracket) => {
                self.ledger.failed(&error, bracket);
                return None;
            }
        }
        connection.requests += 1;
        self.options
            .requests_per_connection
            .is_some_and(|most| connection.requests < most)
            .then_some(connection)
    }

    fn connect(&self, to: SocketAddr) -> Option<Connection> {
        let patience = Duration::from_millis(self.options.connect_timeout_ms);
        match Bracket::around(|| TcpStream::connect_timeout(&to, patience)) {
            (Ok(stream), _) => {
                self.ledger.connected();
                return Some(Connection { stream, requests: 0 });
            }
            (Err(error), _) if error.raw_os_error().is_none() => self.ledger.unconnected(),
            (Err(error), bracket) => self.ledger.failed(&error, bracket),
        }
        None
    }

    fn exchange(&self, stream: &mut TcpStream, deadline: Instant) -> io::Result<()> {
        stream.set_read_timeout(Some(STOP_CHECK))?;
        let stays_open = self.options.requests_per_connection.is_some();
        stream.write_all(if stays_open { REQUEST } else { LAST_REQUEST })?;
        let mut buffer = [0; 1024];
        let mut length = 0;
        loop {
            match stream.read(&mut buffer[length..]) {
                Ok(0) if length > 0 => return Ok(()),
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    length += count;
                    if stays_open && buffer[..length].ends_with(END) {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.over(deadline) {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn over(&self, deadline: Instant) -> bool {
        self.stopped.load(Ordering::Relaxed) || Instant::now() >= deadline
    }

    fn rest_until(&self, instant: Instant) {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = instant.saturating_duration_since(Instant::now());
        drop(self.wake.wait_timeout_while(gate, rest, |()| !self.stopped.load(Ordering::Relaxed)));
    }

    fn print_progress(&self, begun: Instant) {
        let mut before = 0;
        for second in 1.. {
            self.rest_until(begun + Duration::from_secs(second));
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            let tally = self.ledger.tally();
            let (done, workers) = (tally.done - before, self.active.load(Ordering::Relaxed));
            before = tally.done;
            println!("  {second:>2} s  {workers:>3} clients  {done:>5} requests/s");
        }
    }
}

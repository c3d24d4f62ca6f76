//! An HTTP load: workers that open one connection per request.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, SocketAddrV4, TcpStream},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Args;
use nix::sys::socket::{setsockopt, sockopt};
use serde::Serialize;

use super::{
    answer::is_whole,
    dial::{Dial, Dialled, is_closed, retransmits},
    limit_descriptors, obey, ready,
};
use crate::{
    clock::Bracket,
    netns,
    report::{Ledger, Order, Report},
};

/// How often a worker that waits for an answer looks whether the load is over, and how often it then waits on:
/// an answer that is under way is not to meet a closed socket, which would be a reset.
const STOP_CHECK: Duration = Duration::from_millis(20);
const LAST_LOOKS: u32 = 50;
/// How long the end of a connection may take.
const PARTING: Duration = Duration::from_secs(2);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n";
const LAST_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n";

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
    /// So many workers wait until the kernel gives up instead, after one more SYN (TCP_SYNCNT 1).
    #[arg(long)]
    pub stubborn: u32,
    /// Try this address before each request, as clients do with the addresses of a name.
    #[arg(long)]
    pub first_try: Option<SocketAddr>,
    /// Lose this share of the segments with data that arrive.
    #[arg(long)]
    pub lose_per_mille: u32,
    /// Do not begin to lose before the order to resume.
    #[arg(long)]
    pub lose_on_order: bool,
    /// Close first, as soon as the answer is there.
    #[arg(long)]
    pub close_first: bool,
    /// Close with a reset (SO_LINGER 0), as some load tools do. It implies to close first.
    #[arg(long)]
    pub close_by_reset: bool,
    /// Keep the connection open for further requests.
    #[arg(long)]
    pub keep_alive: bool,
    /// Requests of one worker; without a limit when absent.
    #[arg(long)]
    pub requests: Option<u64>,
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
            stubborn: 0,
            first_try: None,
            lose_per_mille: 0,
            lose_on_order: false,
            close_first: false,
            close_by_reset: false,
            keep_alive: false,
            requests: None,
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
        if !self.orders {
            return Ok(traffic.drive()?);
        }
        ready()?;
        let orders = thread::Builder::new().name("orders".into()).spawn({
            let traffic = Arc::clone(&traffic);
            move || {
                let ended = obey(|| traffic.ledger.tally(), |order| traffic.obey(order));
                traffic.stop();
                ended
            }
        })?;
        traffic.drive()?;
        // Whoever gives orders also says when it is over, unless the time is.
        if traffic.begun.elapsed() < Duration::from_millis(self.for_ms) {
            orders.join().unwrap_or_else(|_| bail!("nobody takes orders any more"))?;
        }
        Ok(Report::Tally(traffic.ledger.tally()).send()?)
    }
}

/// A load while it runs.
#[derive(Debug)]
pub struct Traffic {
    options: Load,
    begun: Instant,
    losing: AtomicBool,
    /// What came of it.
    pub ledger: Ledger,
    relented: AtomicBool,
    stopped: AtomicBool,
    gate: Mutex<()>,
    wake: Condvar,
}

impl Traffic {
    /// A load that has not begun.
    pub fn new(options: Load) -> Self {
        Self {
            begun: Instant::now(),
            losing: AtomicBool::new(!options.lose_on_order),
            options,
            ledger: Ledger::default(),
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
        match order {
            Order::Relent => self.relented.store(true, Ordering::Relaxed),
            Order::Resume => self.losing.store(true, Ordering::Relaxed),
            _ => {}
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
        self.ledger.begins();
        let mut requests = 0;
        let mut open = None;
        while !self.over(deadline) && self.options.requests.is_none_or(|limit| requests < limit) {
            if number > 0 && self.relented.load(Ordering::Relaxed) {
                break;
            }
            requests += 1;
            open = self.request(number, SocketAddr::V4(to), open, deadline);
            self.rest_until(deadline.min(Instant::now() + Duration::from_millis(self.options.think_ms)));
        }
        self.ledger.ends();
    }

    /// One request, on the connection that is open or on a new one; the connection, if it stays open.
    fn request(
        &self,
        number: u32,
        to: SocketAddr,
        open: Option<TcpStream>,
        deadline: Instant,
    ) -> Option<TcpStream> {
        let first_try = || self.connect(number, self.options.first_try?).ok();
        let stream = open.or_else(first_try).or_else(|| self.connect(number, to).ok())?;
        self.converse(stream, deadline)
    }

    /// Connects, and enters in the ledger how that went.
    fn connect(&self, number: u32, to: SocketAddr) -> Result<TcpStream, ()> {
        let dial = Dial {
            patience: Duration::from_millis(self.options.connect_timeout_ms),
            one_more_syn: number < self.options.stubborn,
            lose_per_mille: if self.loses() { self.options.lose_per_mille } else { 0 },
        };
        let Dialled { stream, bracket, syn_retransmits } = dial.connect(to);
        self.ledger.syn_retransmits(syn_retransmits);
        match &stream {
            Ok(_) => self.ledger.connected(),
            Err(error) if error.raw_os_error().is_none() => self.ledger.unconnected(syn_retransmits, bracket),
            Err(error) => self.ledger.failed(error, bracket),
        }
        stream.map_err(drop)
    }

    fn converse(&self, mut stream: TcpStream, deadline: Instant) -> Option<TcpStream> {
        let before = retransmits(&stream);
        let (exchanged, bracket) = Bracket::around(|| self.exchange(&mut stream, deadline));
        // Its end comes with the service's, which may be later than that of a load that does not wait for it.
        if self.options.lose_per_mille > 0 || self.options.close_first {
            part(&stream);
        }
        self.ledger.retransmits(retransmits(&stream) - before);
        match (exchanged, bracket) {
            (Ok(()), _) => {
                self.ledger.done();
                self.options.keep_alive.then_some(stream)
            }
            (Err(error), bracket) => {
                self.ledger.failed(&error, bracket);
                None
            }
        }
    }

    fn exchange(&self, stream: &mut TcpStream, deadline: Instant) -> io::Result<()> {
        let Load { close_first, close_by_reset, keep_alive, .. } = self.options;
        let is_heard_out = !(close_first || close_by_reset || keep_alive);
        if close_by_reset {
            setsockopt(stream, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
        }
        stream.set_read_timeout(Some(STOP_CHECK))?;
        stream.write_all(if keep_alive { REQUEST } else { LAST_REQUEST })?;
        let mut looks = LAST_LOOKS;
        let mut answer = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) if !answer.is_empty() => return Ok(()),
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => answer.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.over(deadline) {
                        looks -= 1;
                    }
                    if looks == 0 {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => return Err(error),
            }
            if !is_heard_out && is_whole(&answer) {
                return Ok(());
            }
        }
    }

    fn loses(&self) -> bool {
        self.losing.load(Ordering::Relaxed) && !self.relented.load(Ordering::Relaxed)
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
            let (done, workers) = (tally.done - before, tally.active);
            before = tally.done;
            println!("  {second:>2} s  {workers:>3} clients  {done:>5} requests/s");
        }
    }
}

/// Says goodbye, and waits until both sides have, so that nothing happens unseen: where the service has closed already,
/// the socket ends when its FIN is acknowledged, else when the service's arrives.
fn part(stream: &TcpStream) {
    let deadline = Instant::now() + PARTING;
    let parting = stream.shutdown(Shutdown::Write).is_ok();
    while parting && !is_closed(stream) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
}

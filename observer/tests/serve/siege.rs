//! A siege: clients that hold connections open and ask nothing, and one that dribbles a header.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

/// As many connections are half open.
pub const HALF_OPEN: usize = 500;
/// A client whose connection was closed comes back within this time.
const ROUND: Duration = Duration::from_secs(1);
/// The dribbler sends a byte this often.
const DRIBBLE: Duration = Duration::from_millis(100);

/// Half of the clients come from the address that others ask from as well, the others from as many as this.
const ADDRESSES: usize = 20;

/// The beginning of a request, for [`Siege::lay`].
pub const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Long: ";
/// The beginning of a TLS hello.
pub const HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];

/// A siege under way, until it is dropped.
pub struct Siege {
    over: Arc<AtomicBool>,
    half_open: Option<JoinHandle<Vec<TcpStream>>>,
    dribbler: Option<JoinHandle<()>>,
}

impl Siege {
    /// Lays siege to a server; returns when all clients have connected. Half of them say nothing, half begin with
    /// `beginning`, which the dribbler goes on with.
    pub fn lay(server: SocketAddr, beginning: &'static [u8]) -> Self {
        let clients = Clients { server, beginning };
        let over = Arc::new(AtomicBool::new(false));
        let half_open: Vec<TcpStream> = (0..HALF_OPEN).map(|number| clients.half_open(number)).collect();
        let is_over = Arc::clone(&over);
        let half_open = thread::spawn(move || clients.come_back(half_open, &is_over));
        let is_over = Arc::clone(&over);
        let dribbler = thread::spawn(move || clients.dribble(&is_over));
        Self { over, half_open: Some(half_open), dribbler: Some(dribbler) }
    }

    /// Nobody comes back any more; who is connected stays so.
    pub fn slacken(mut self) -> Vec<TcpStream> {
        self.end().expect("the siege has failed")
    }

    fn end(&mut self) -> Option<Vec<TcpStream>> {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.dribbler.take()?.join();
        self.half_open.take()?.join().ok()
    }
}

impl Drop for Siege {
    fn drop(&mut self) {
        self.end();
    }
}

/// What all clients of a siege have in common.
#[derive(Clone, Copy)]
struct Clients {
    server: SocketAddr,
    beginning: &'static [u8],
}

impl Clients {
    fn half_open(self, number: usize) -> TcpStream {
        let own = match number % 2 {
            0 => Ipv4Addr::LOCALHOST,
            _ => Ipv4Addr::new(127, 0, 1, (number / 2 % ADDRESSES) as u8 + 1),
        };
        let mut stream = connect(self.server, own.into());
        if (number / 2).is_multiple_of(2) {
            // It may have been closed by then.
            let _ = stream.write_all(self.beginning);
        }
        stream
    }

    /// Looks at one client after the other, evenly over time, and connects those anew that were closed.
    fn come_back(self, mut clients: Vec<TcpStream>, is_over: &AtomicBool) -> Vec<TcpStream> {
        loop {
            let begun = Instant::now();
            for (number, client) in clients.iter_mut().enumerate() {
                if is_over.load(Ordering::Relaxed) {
                    return clients;
                }
                if is_closed(client) {
                    *client = self.half_open(number);
                }
                let due = ROUND * (number as u32 + 1) / HALF_OPEN as u32;
                thread::sleep(due.saturating_sub(begun.elapsed()));
            }
        }
    }

    fn dribble(self, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Relaxed) {
            let mut stream = connect(self.server, Ipv4Addr::LOCALHOST.into());
            let _ = stream.write_all(self.beginning);
            // Neither a header nor a hello ends with it.
            while !is_over.load(Ordering::Relaxed)
                && stream.write_all(b"x").is_ok()
                && !is_closed(&mut stream)
            {
                thread::sleep(DRIBBLE);
            }
        }
    }
}

fn connect(server: SocketAddr, own: IpAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(own, 0).into()).expect("an address");
    socket.connect(&server.into()).expect("a connection");
    socket.set_nonblocking(true).expect("a mode");
    socket.into()
}

/// Whether the server has closed a connection.
pub fn is_closed(client: &mut TcpStream) -> bool {
    loop {
        match client.read(&mut [0; 1024]) {
            Ok(0) => return true,
            // It was told why.
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

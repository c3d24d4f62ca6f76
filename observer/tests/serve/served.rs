//! A running `observer serve`, as the only thing that knows its command line and how to ask it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// What nothing here should ever wait for: only a test that fails does.
pub const FOREVER: Duration = Duration::from_secs(60);

/// An observer that serves, ended with the test.
pub struct Served {
    child: Child,
    said: BufReader<ChildStderr>,
    pub address: String,
}

impl Served {
    /// Starts it on a free port; returns when it answers.
    pub fn start(more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_observer"))
            .args(["serve", "--listen", "127.0.0.1:0", "--keep", "0s"])
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .expect("observer");
        let mut said = BufReader::new(child.stderr.take().expect("its stderr"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(said.read_line(&mut line).expect("its words") > 0, "it ended");
            let listening =
                line.trim().split_once("listening on http").and_then(|(_, on)| on.split_once("://"));
            if let Some((_, address)) = listening {
                break address.to_owned();
            }
        };
        Self { child, said, address }
    }

    /// A connection to it.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("a connection");
        stream.set_read_timeout(Some(FOREVER)).expect("a timeout");
        stream
    }

    /// A connection over which a request has been sent, as far as `head` and `body` say; the head's last lines are added.
    pub fn send(&self, head: &str, body: &str) -> TcpStream {
        let mut stream = self.connect();
        write!(stream, "{head}\r\nHost: {}\r\n\r\n{body}", self.address).expect("a request");
        stream
    }

    /// The status and the body of an answer.
    pub fn ask(&self, request: &str, body: &str) -> (u16, String) {
        let head = format!("{request} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}", body.len());
        answer(&mut self.send(&head, body))
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path}"), "")
    }

    pub fn wait_for(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < FOREVER, "{what} did not come");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Tells it to end, as an init system does.
    pub fn tell_to_end(&self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).expect("a signal");
    }

    /// Its last words and its exit status.
    pub fn ended(mut self) -> (String, Option<i32>) {
        let mut words = String::new();
        self.said.read_to_string(&mut words).expect("its words");
        (words, self.child.wait().expect("its end").code())
    }

    /// Resident memory of its own, in bytes. How much of its program file is mapped beside is the kernel's choice, and
    /// depends on how the file lies in the page cache: a copy of it made more than a MiB of difference.
    pub fn own_memory_bytes(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib * 1024
    }

    /// Where it listens.
    pub fn socket(&self) -> SocketAddr {
        self.address.parse().expect("an address")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status and the body of an answer that ends with the connection, and has to be whole.
pub fn answer(stream: &mut TcpStream) -> (u16, String) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    assert_eq!(length, Some(body.len().to_string().as_str()), "{answer}");
    let status = head.split_ascii_whitespace().nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// The value of a series in the text of Prometheus.
pub fn value(metrics: &str, series: &str) -> f64 {
    let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series}"))
}

//! What a service does with a connection that it has accepted.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use anyhow::Result;

/// How long a client may take to send its request, or to go away after the answer.
const DEADLINE: Duration = Duration::from_secs(1);
/// What a client says that wants the service to close the connection.
const CLOSE: &[u8] = b"Connection: close";
/// One piece of an answer's body.
const PIECE: [u8; 500] = [b'.'; 500];

/// How a service answers.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Time that a request waits for its answer.
    pub work: Duration,
    /// How many pieces the body is sent in, each a segment of its own; none is a body of three bytes.
    pub pieces: u16,
    /// Leave it to the client to close.
    pub wait_close: bool,
}

impl Manner {
    /// Answers the requests of a connection, each after doing `pay`, until the client wants no more.
    pub fn answer(self, mut stream: TcpStream, pay: impl Fn() -> Result<()>) -> Result<()> {
        stream.set_read_timeout(Some(DEADLINE))?;
        while let Some(request) = next_request(&mut stream)? {
            thread::sleep(self.work);
            pay()?;
            let is_last = request.windows(CLOSE.len()).any(|words| words == CLOSE);
            self.write(&mut stream, is_last)?;
            if is_last {
                break;
            }
        }
        while self.wait_close && stream.read(&mut [0; 1024])? > 0 {}
        Ok(())
    }

    fn write(self, stream: &mut TcpStream, is_last: bool) -> io::Result<()> {
        let close = if is_last { "Connection: close\r\n" } else { "" };
        let head = |length| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{close}\r\n");
        if self.pieces == 0 {
            return stream.write_all((head(3) + "ok\n").as_bytes());
        }
        stream.set_nodelay(true)?;
        stream.write_all(head(usize::from(self.pieces) * PIECE.len()).as_bytes())?;
        (0..self.pieces).try_for_each(|_| stream.write_all(&PIECE))
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

/// Closes a connection whose request has arrived and is not read: the kernel resets it.
pub fn reset(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.peek(&mut [0]).map(drop)
}

/// Whether this is a whole answer: its head says how long the body is.
pub fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|end| end == b"\r\n\r\n") else { return false };
    let length = String::from_utf8_lossy(&answer[..head])
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
    length.is_some_and(|length| answer.len() >= head + 4 + length)
}

#[cfg(test)]
mod tests {
    use super::is_whole;

    #[test]
    fn an_answer_is_whole_with_the_last_byte_of_its_body() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
        assert!(is_whole(answer));
        assert!((0..answer.len()).all(|length| !is_whole(&answer[..length])));
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\n\r\nok\n"));
    }
}

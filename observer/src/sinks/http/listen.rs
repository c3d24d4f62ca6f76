//! The address to listen on.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::str::FromStr;

use socket2::{Domain, Protocol, Socket, Type};

/// How many connections the kernel may hold until they are accepted; net.core.somaxconn may allow fewer.
const BACKLOG: i32 = 1024;

/// Where to listen: `127.0.0.1:9435`, `[::1]:9435`, `localhost:9435`; `:9435` is all addresses of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// `None` is all addresses, of IPv6 as well as IPv4.
    host: Option<String>,
    port: u16,
}

/// 127.0.0.1:9435: this host alone can reach it.
impl Default for Listen {
    fn default() -> Self {
        Self { host: Some("127.0.0.1".to_owned()), port: 9435 }
    }
}

/// Why a text names no address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// There is no port in it.
    #[error("{0:?} names no port: write it like 127.0.0.1:9435, [::1]:9435, or :9435 for all addresses")]
    NoPort(String),
    /// The port is none.
    #[error("{0:?} is not a port: it is a number from 0 (any that is free) to 65535")]
    Port(String),
    /// An IPv6 address without brackets.
    #[error("an IPv6 address stands in brackets before a port: [{0}]:{1}")]
    Brackets(String, String),
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or_else(|| ListenError::NoPort(text.to_owned()))?;
        if text.ends_with(']') || text.parse::<Ipv6Addr>().is_ok() && port.is_empty() {
            return Err(ListenError::NoPort(text.to_owned()));
        }
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => inner,
            None if host.contains(':') => {
                return Err(ListenError::Brackets(host.to_owned(), port.to_owned()));
            }
            None => host,
        };
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let number = port.parse().ok().filter(|_| is_number);
        let port = number.ok_or_else(|| ListenError::Port(port.to_owned()))?;
        Ok(Self { host: (!host.is_empty()).then(|| host.to_owned()), port })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            None => write!(f, ":{}", self.port),
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
        }
    }
}

impl Listen {
    /// Binds and listens. A name is looked up, and its first IPv4 address taken if it has one.
    pub(super) fn bind(&self) -> io::Result<TcpListener> {
        let Some(host) = &self.host else { return self.bind_all() };
        let found: Vec<SocketAddr> = (host.as_str(), self.port).to_socket_addrs()?.collect();
        let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
        let address = first.ok_or_else(|| io::Error::other(format!("{host} has no address")))?;
        bind(*address)
    }

    /// One socket takes both families where there is IPv6; else IPv4 alone.
    fn bind_all(&self) -> io::Result<TcpListener> {
        let of = |address: IpAddr| SocketAddr::new(address, self.port);
        match bind(of(Ipv6Addr::UNSPECIFIED.into())) {
            Err(error) if no_ipv6(&error) => bind(of(Ipv4Addr::UNSPECIFIED.into())),
            result => result,
        }
    }
}

fn no_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Listen, ListenError> {
        text.parse()
    }

    #[test]
    fn an_address_is_written_as_it_was_read() {
        for text in ["127.0.0.1:9435", "[::1]:9435", "localhost:0", ":9435", "[::]:65535"] {
            assert_eq!(read(text).map(|listen| listen.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_address_says_how_to_write_one() {
        for (text, part) in [
            ("127.0.0.1", "names no port"),
            ("[::1]", "names no port"),
            ("::1:9435", "[::1]:9435"),
            ("host:", "is not a port"),
            ("host:+80", "is not a port"),
            ("host:65536", "is not a port"),
            ("", "names no port"),
        ] {
            let error = read(text).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn all_addresses_are_those_of_both_families() {
        let listener = read(":0").unwrap().bind().unwrap();
        let port = listener.local_addr().unwrap().port();
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    }

    #[test]
    fn a_taken_address_is_named_with_a_way_out() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = read(&taken.local_addr().unwrap().to_string()).unwrap();
        let source = listen.bind().unwrap_err();
        let words = super::super::Error::Bind { listen, source }.to_string();
        assert!(words.contains("ss -ltnp") && words.contains("127.0.0.1:"), "{words}");
    }
}

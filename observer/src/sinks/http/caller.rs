//! Who sent a request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Who sent a request and by what they are known: an extension of each request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The address of this host that the connection came to.
    pub local: SocketAddr,
    /// The user whose password was right; `None` where the web configuration has no users.
    pub user: Option<Arc<str>>,
    /// Whether the client proved by a certificate of the configured authority who it is.
    pub certificate: bool,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

impl Caller {
    /// Whether a password or a certificate says who it is.
    pub fn is_authenticated(&self) -> bool {
        self.user.is_some() || self.certificate
    }

    /// Whether the connection comes from this host over loopback. A proxy on this host looks the same.
    pub fn is_loopback(&self) -> bool {
        is_loopback(self.peer.ip())
    }
}

/// Whether an address is loopback's, also where IPv4 comes in the form of IPv6.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

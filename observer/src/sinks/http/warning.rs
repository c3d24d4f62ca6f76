//! What is unsafe about a server as it was asked for, in words.

use std::fmt;
use std::net::SocketAddr;

/// What is unsafe about a server as it was asked for. It serves nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Other hosts reach it, and it asks nobody who they are.
    Unauthenticated(SocketAddr),
    /// Other hosts reach it, and passwords travel in clear text.
    Unencrypted(SocketAddr),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unauthenticated(address) => write!(
                f,
                "{address} is reachable from other hosts without authentication: whoever reaches it reads what runs \
                 on this host; name users in --web.config.file (docs/http.md), or listen on 127.0.0.1"
            ),
            Self::Unencrypted(address) => write!(
                f,
                "passwords travel to {address} unencrypted: add tls_server_config to the web configuration file \
                 (docs/http.md), or listen on 127.0.0.1"
            ),
        }
    }
}

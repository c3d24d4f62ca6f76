//! Why a server does not start.

use std::io;

use super::config::ConfigError;
use super::listen::{Listen, ListenError};

/// Why a server does not start. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What `--listen` was given is no address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The web configuration file, or what it names, cannot be used.
    #[error("--web.config.file: {0}")]
    Config(#[from] ConfigError),
    /// The address cannot be had.
    #[error("cannot listen on {listen}: {source}{}", way_out(.source))]
    Bind {
        /// The address asked for.
        listen: Listen,
        /// What the kernel said.
        source: io::Error,
    },
    /// The thread or its event loop did not start.
    #[error("the HTTP server did not start: {0}")]
    Start(#[source] io::Error),
}

fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program has it (`ss -ltnp` names it): stop that one, or choose another port with --listen"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; this host does not have that address (`ip address` lists its own)"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one with --listen"
        }
        _ => "",
    }
}

//! Where something happened, and what that is to the test.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Where a signal or usage was seen. Fields that are unknown or do not apply are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// Inode number of the network namespace.
    pub netns: Option<u32>,
    /// Own address of a listening socket; the wildcard address where it listens on all.
    pub listener: Option<SocketAddr>,
    /// Remote address of a connecting socket.
    pub destination: Option<SocketAddr>,
    /// Own address of a connecting socket, where ports are counted per source.
    pub source: Option<IpAddr>,
    /// Id of the cgroup: the inode number of its folder in the cgroup2 file system.
    pub cgroup: Option<u64>,
    /// Process (thread group) id as the initial pid namespace sees it.
    pub pid: Option<u32>,
}

impl Subject {
    /// The whole host.
    pub const HOST: Self =
        Self { netns: None, listener: None, destination: None, source: None, cgroup: None, pid: None };

    /// A network namespace as a whole.
    pub fn namespace(netns: u32) -> Self {
        Self { netns: Some(netns), ..Self::HOST }
    }

    /// A listener in a network namespace.
    pub fn listener(netns: u32, listener: SocketAddr) -> Self {
        Self { netns: Some(netns), listener: Some(listener), ..Self::HOST }
    }

    /// A process.
    pub fn process(pid: u32) -> Self {
        Self { pid: Some(pid), ..Self::HOST }
    }

    /// The same place without the cgroup, which a counter cannot know and a probe can.
    pub fn without_cgroup(&self) -> Self {
        Self { cgroup: None, ..self.clone() }
    }
}

/// What a subject is to the test (DESIGN section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A listener that the load reaches, or that the user named, and the processes that own it.
    Target,
    /// The observed command's process tree.
    Generator,
    /// Between the two, or the host as a whole.
    Path,
    /// Not part of the test.
    Bystander,
}

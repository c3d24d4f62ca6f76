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
    /// Id of the cgroup: the inode number of its folder in the hierarchy of `controller`.
    pub cgroup: Option<u64>,
    /// The controller that the cgroup is meant for; `None` where it is the one that owns a socket or process
    /// in the cgroup2 hierarchy.
    pub controller: Option<Controller>,
    /// Process (thread group) id as the initial pid namespace sees it.
    pub pid: Option<u32>,
}

impl Subject {
    /// The whole host.
    pub const HOST: Self = Self {
        netns: None,
        listener: None,
        destination: None,
        source: None,
        cgroup: None,
        controller: None,
        pid: None,
    };

    /// A network namespace as a whole.
    pub fn namespace(netns: u32) -> Self {
        Self { netns: Some(netns), ..Self::HOST }
    }

    /// A listener in a network namespace.
    pub fn listener(netns: u32, listener: SocketAddr) -> Self {
        Self { netns: Some(netns), listener: Some(listener), ..Self::HOST }
    }

    /// A cgroup under a controller.
    pub fn cgroup(controller: Controller, id: u64) -> Self {
        Self { cgroup: Some(id), controller: Some(controller), ..Self::HOST }
    }

    /// A process.
    pub fn process(pid: u32) -> Self {
        Self { pid: Some(pid), ..Self::HOST }
    }

    /// The same place without the cgroup that merely owns it, which a counter cannot know and a probe can.
    pub fn without_cgroup(&self) -> Self {
        if self.controller.is_some() {
            return self.clone();
        }
        Self { cgroup: None, ..self.clone() }
    }
}

/// A cgroup controller. On cgroup v1 each has a hierarchy of its own, with ids of its own; on v2 they share
/// the one hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Controller {
    /// CPU time.
    Cpu,
    /// Memory.
    Memory,
}

impl Controller {
    /// Every controller.
    pub const ALL: &'static [Self] = &[Self::Cpu, Self::Memory];

    /// Its name, as the kernel writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
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

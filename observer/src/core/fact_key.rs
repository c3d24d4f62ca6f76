//! What makes two facts speak of the same thing: the later one is then the news of it.

use std::net::SocketAddr;

use super::{frame::Fact, subject::Controller};

/// What a fact speaks of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FactKey {
    /// A process, by its id.
    Process(u32),
    /// A process that holds a listener: namespace, address, process.
    ListenerOwner(u32, SocketAddr, u32),
    /// A cgroup in the hierarchy of a controller.
    CgroupPath(u64, Option<Controller>),
    /// A process under a controller.
    ProcessCgroup(u32, Controller),
    /// What is told once and for all: a line of a log, by its instant on CLOCK_MONOTONIC and its text.
    Event(u64, String),
    /// A limit, by name and place.
    Limit(String, String),
}

impl FactKey {
    /// What this fact speaks of.
    pub fn of(fact: &Fact) -> Self {
        match fact {
            Fact::Process { pid, .. } => Self::Process(*pid),
            Fact::ListenerOwner { netns, listener, pid } => Self::ListenerOwner(*netns, *listener, *pid),
            Fact::CgroupPath { id, controller, .. } => Self::CgroupPath(*id, *controller),
            Fact::ProcessCgroup { pid, controller, .. } => Self::ProcessCgroup(*pid, *controller),
            Fact::KernelLog { at_ns, text, .. } => Self::Event(*at_ns, text.clone()),
            Fact::OomVictim { at_ns, pid, .. } => Self::Event(*at_ns, pid.to_string()),
            Fact::Limit { name, place, .. } => Self::Limit(name.clone(), place.clone()),
        }
    }

    /// Whether it speaks of this process and of nothing else.
    pub fn is_of_process(&self, pid: u32) -> bool {
        match self {
            Self::Process(of) | Self::ProcessCgroup(of, _) | Self::ListenerOwner(_, _, of) => *of == pid,
            Self::Limit(_, place) => place.strip_prefix("pid ").is_some_and(|rest| {
                rest.strip_prefix(pid.to_string().as_str()).is_some_and(|rest| rest.starts_with(' '))
            }),
            Self::CgroupPath(..) | Self::Event(..) => false,
        }
    }
}

//! What is part of the test: the roles of DESIGN section 1.

use std::{collections::BTreeSet, net::SocketAddr};

use observer_common::Signal;

use super::{
    frame::{RunHeader, Target},
    ledger::Ledger,
    subject::{Role, Subject},
};

/// The roles as far as they are known now. Facts arrive late, so this is made anew for each verdict.
#[derive(Debug)]
pub struct Scope<'a> {
    ledger: &'a Ledger,
    /// What the user named.
    named: &'a [Target],
    /// Listeners under test.
    targets: BTreeSet<(u32, SocketAddr)>,
    /// Where the observed command connected to, by network namespace.
    destinations: BTreeSet<(u32, SocketAddr)>,
    /// The network namespace that observer runs in: what reaches the host's containers passes it.
    own_netns: Option<u32>,
    /// Neither a target nor a generator is known: everything that carries load is in scope.
    unrestricted: bool,
}

impl<'a> Scope<'a> {
    /// Works out the roles.
    pub fn of(ledger: &'a Ledger, header: &'a RunHeader) -> Self {
        let destinations = generator_destinations(ledger);
        let unrestricted = header.targets.is_empty() && destinations.is_empty();
        let mut targets = BTreeSet::new();
        // Who named nothing and reached nobody has no targets.
        let candidates = if unrestricted { BTreeSet::new() } else { listeners(ledger) };
        for (netns, listener) in candidates {
            let named = header.targets.iter().any(|target| matches(ledger, target, netns, listener));
            let reached = header.targets.is_empty() && is_reached(ledger, &destinations, netns, listener);
            if named || reached {
                targets.insert((netns, listener));
            }
        }
        Self { ledger, named: &header.targets, targets, destinations, own_netns: header.netns, unrestricted }
    }

    /// Where the command connected to without reaching a listener that is known here: another host, or
    /// one of this host behind address translation.
    pub fn unanswered(&self) -> Option<SocketAddr> {
        if !self.named.is_empty() {
            return None;
        }
        let answers = |from: u32, to: SocketAddr| {
            self.targets.iter().any(|(netns, at)| is_listener_of(self.ledger, from, to, *netns, *at))
        };
        self.destinations.iter().find(|(from, to)| !answers(*from, *to)).map(|(_, to)| *to)
    }

    /// The first target that the user named and nothing that was seen answers to.
    pub fn unmatched(&self) -> Option<&'a Target> {
        self.named.iter().find(|target| {
            let listens = self.targets.iter().any(|(netns, at)| matches(self.ledger, target, *netns, *at));
            !listens && !self.ledger.processes.keys().any(|pid| is_named_process(self.ledger, target, *pid))
        })
    }

    /// What a subject is to the test. `generator` and `pid` are what the probes know of who did it.
    pub fn role(&self, subject: &Subject, generator: bool, pid: Option<u32>) -> Role {
        let pid = subject.pid.or(pid);
        if *subject == Subject::HOST {
            return Role::Path;
        }
        if subject.controller.is_some() {
            return self.role_of_cgroup(subject, pid);
        }
        if generator || pid.is_some_and(|pid| self.is_generator(pid)) {
            return Role::Generator;
        }
        if self.unrestricted {
            return Role::Target;
        }
        // A process in context says more than the address that it asked for.
        if let Some(pid) = pid {
            let under_test = self.serves_target(pid) || self.is_named(pid);
            return if under_test { Role::Target } else { Role::Bystander };
        }
        match (subject.netns, subject.listener) {
            (Some(netns), Some(listener)) if self.targets.contains(&(netns, listener)) => Role::Target,
            (Some(netns), None) if self.is_on_the_way(netns, subject.destination) => Role::Path,
            _ => Role::Bystander,
        }
    }

    /// What a cgroup is to the test: what the processes in it are.
    fn role_of_cgroup(&self, cgroup: &Subject, pid: Option<u32>) -> Role {
        let inside = |pid: &u32| self.ledger.is_in_cgroup(*pid, cgroup);
        if self.unrestricted || pid.is_some_and(|pid| self.serves_target(pid) || self.is_named(pid)) {
            return Role::Target;
        }
        if pid.is_some_and(|pid| self.is_generator(pid)) {
            return Role::Generator;
        }
        let named = || self.ledger.processes.keys().any(|pid| self.is_named(*pid) && inside(pid));
        if self.target_pids().iter().any(inside) || named() {
            return Role::Target;
        }
        let mut generator = self.ledger.processes.iter().filter(|(_, process)| process.generator);
        if generator.any(|(pid, _)| inside(pid)) { Role::Generator } else { Role::Bystander }
    }

    /// Whether what happens in a namespace, or towards a destination in it, happens between generator and
    /// target.
    fn is_on_the_way(&self, netns: u32, destination: Option<SocketAddr>) -> bool {
        let mut connections = self.destinations.iter();
        match destination {
            Some(to) => {
                let leads_to_target = |(at, listener): &(u32, SocketAddr)| {
                    is_listener_of(self.ledger, netns, to, *at, *listener)
                };
                connections.any(|from| *from == (netns, to)) || self.targets.iter().any(leads_to_target)
            }
            None => {
                let passes = connections.any(|(from, _)| *from == netns) || self.own_netns == Some(netns);
                passes || self.targets.iter().any(|(target, _)| *target == netns)
            }
        }
    }

    /// The listeners under test; `None` where every one is.
    pub fn targets(&self) -> Option<&BTreeSet<(u32, SocketAddr)>> {
        (!self.unrestricted).then_some(&self.targets)
    }

    /// Whether a listener is under test.
    pub fn is_target(&self, netns: u32, listener: SocketAddr) -> bool {
        self.unrestricted || self.targets.contains(&(netns, listener))
    }

    /// Processes under test.
    pub fn target_pids(&self) -> BTreeSet<u32> {
        self.ledger
            .owners
            .iter()
            .filter(|((netns, listener), _)| self.is_target(*netns, *listener))
            .flat_map(|(_, pids)| pids.iter().copied())
            .collect()
    }

    fn is_generator(&self, pid: u32) -> bool {
        self.ledger.processes.get(&pid).is_some_and(|process| process.generator)
    }

    fn is_named(&self, pid: u32) -> bool {
        self.named.iter().any(|target| is_named_process(self.ledger, target, pid))
    }

    fn serves_target(&self, pid: u32) -> bool {
        self.ledger
            .owners
            .iter()
            .any(|((netns, listener), pids)| pids.contains(&pid) && self.is_target(*netns, *listener))
    }
}

/// Where the observed command connected to, by network namespace.
fn generator_destinations(ledger: &Ledger) -> BTreeSet<(u32, SocketAddr)> {
    let attempts = ledger.of_signal(Signal::ConnectAttempt).filter(|(_, series)| series.generator);
    attempts.filter_map(|(subject, _)| Some((subject.netns?, subject.destination?))).collect()
}

/// Every listener that was ever seen.
fn listeners(ledger: &Ledger) -> BTreeSet<(u32, SocketAddr)> {
    let from_usages = ledger.usages.keys().map(|(_, subject)| subject);
    let from_signals = ledger.series.keys().map(|(_, subject)| subject);
    from_usages.chain(from_signals).filter_map(|subject| Some((subject.netns?, subject.listener?))).collect()
}

fn is_reached(
    ledger: &Ledger,
    destinations: &BTreeSet<(u32, SocketAddr)>,
    netns: u32,
    listener: SocketAddr,
) -> bool {
    destinations.iter().any(|(from, to)| is_listener_of(ledger, *from, *to, netns, listener))
}

/// A listener is known by the address at which it accepted connections, in whichever namespace it
/// lives; before it accepted any, by address and port in the namespace of the one who connects.
fn is_listener_of(ledger: &Ledger, from: u32, to: SocketAddr, netns: u32, listener: SocketAddr) -> bool {
    // A loopback address never leaves its namespace.
    if to.ip().is_loopback() && from != netns {
        return false;
    }
    if let Some(accepted) = ledger.accepted_at.get(&(netns, to)) {
        return *accepted == listener;
    }
    // A wildcard listener has all addresses of its namespace; of another host's it has none.
    let has_address = listener.ip() == to.ip() || (listener.ip().is_unspecified() && to.ip().is_loopback());
    from == netns && to.port() == listener.port() && has_address
}

fn matches(ledger: &Ledger, target: &Target, netns: u32, listener: SocketAddr) -> bool {
    match target {
        Target::Port(port) => listener.port() == *port,
        Target::Pid(pid) => ledger.owners.get(&(netns, listener)).is_some_and(|pids| pids.contains(pid)),
        Target::Cgroup(_) | Target::Container(_) => {
            is_in_cgroup(ledger, target, ledger.cgroups.get(&Subject::listener(netns, listener)).copied())
        }
    }
}

fn is_named_process(ledger: &Ledger, target: &Target, pid: u32) -> bool {
    match target {
        Target::Port(_) => false,
        Target::Pid(named) => *named == pid,
        Target::Cgroup(_) | Target::Container(_) => {
            is_in_cgroup(ledger, target, ledger.processes.get(&pid).and_then(|process| process.cgroup))
        }
    }
}

fn is_in_cgroup(ledger: &Ledger, target: &Target, cgroup: Option<u64>) -> bool {
    let Some(path) = cgroup.and_then(|id| ledger.cgroup_paths.get(&(None, id))) else { return false };
    match target {
        Target::Cgroup(ancestor) => is_below(path, ancestor),
        Target::Container(id) => container_id(path).is_some_and(|found| found.starts_with(id.as_str())),
        Target::Port(_) | Target::Pid(_) => false,
    }
}

/// Whether a cgroup's path is another's, or below it.
pub fn is_below(path: &str, ancestor: &str) -> bool {
    let ancestor = ancestor.trim_end_matches('/');
    path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The container id in a cgroup path: 64 hexadecimal digits, as every runtime writes them.
pub fn container_id(path: &str) -> Option<&str> {
    path.rsplit('/').find_map(|part| {
        let part = part.strip_suffix(".scope").unwrap_or(part);
        let id = part.rsplit(['-', ':']).next()?;
        (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_ids_are_found_in_the_paths_of_every_runtime() {
        let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        for path in [
            format!("/system.slice/docker-{id}.scope"),
            format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope"),
            format!("/docker/{id}"),
            format!("/docker/{id}/init"),
        ] {
            assert_eq!(container_id(&path), Some(id), "{path}");
        }
        assert_eq!(container_id("/system.slice/nginx.service"), None);
    }

    #[test]
    fn a_cgroup_contains_itself_and_what_is_below() {
        assert!(is_below("/a/b", "/a/b"));
        assert!(is_below("/a/b/c", "/a/b/"));
        assert!(!is_below("/a/bc", "/a/b"));
    }
}

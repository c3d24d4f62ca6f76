//! Where a sample is entered: at which subject, and at which listener a connection is accepted.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use observer_common::{Signal, SubjectKind};

use super::Ledger;
use crate::core::{frame::SignalSample, subject::Subject};

impl Ledger {
    /// The subject under which a sample is entered: cgroup and pid are attributes, not identity,
    /// and connections count at the listener that accepted them.
    pub fn place_of(&self, sample: &SignalSample) -> Subject {
        let mut subject = sample.subject.without_cgroup();
        match sample.signal {
            // The host's file table is nobody's in particular.
            Signal::FileTableFull => return Subject::HOST,
            signal if signal.subject_kind() != SubjectKind::Process => subject.pid = None,
            _ => {}
        }
        if is_of_connection(sample.signal)
            && let (Some(netns), Some(address)) = (subject.netns, subject.listener)
        {
            subject.listener = Some(self.listener_of(netns, address));
        }
        subject
    }

    /// The same, and keeps which listener is behind the address of a connection.
    pub(super) fn identity_of(&mut self, sample: &SignalSample) -> Subject {
        let subject = self.place_of(sample);
        let Subject { netns, listener: address, .. } = sample.subject;
        if is_of_connection(sample.signal)
            && let (Some(at), Some(listener)) = (netns.zip(address), subject.listener)
        {
            self.accepted_at.insert(at, listener);
        }
        subject
    }

    /// The listener that a subject leads to: itself, or the one behind a destination, in whichever namespace
    /// it lives.
    pub fn listener_behind(&self, subject: &Subject) -> Option<(u32, SocketAddr)> {
        let netns = subject.netns?;
        if let Some(listener) = subject.listener {
            return Some((netns, listener));
        }
        let to = subject.destination?;
        let here = self.accepted_at.get(&(netns, to)).map(|listener| (netns, *listener));
        let elsewhere = || {
            let mut others = self.accepted_at.iter().filter(|((_, at), _)| *at == to);
            others.next().map(|((netns, _), listener)| (*netns, *listener))
        };
        // A loopback address never leaves its namespace.
        let accepted = here.or_else(|| elsewhere().filter(|_| !to.ip().is_loopback()));
        accepted.or_else(|| {
            let listener = self.listener_of(netns, to);
            self.listeners.contains(&(netns, listener)).then_some((netns, listener))
        })
    }

    /// The listener at which a connection to `address` is accepted: the exact address, else the
    /// wildcard of its family, else the IPv6 wildcard.
    pub fn listener_of(&self, netns: u32, address: SocketAddr) -> SocketAddr {
        let wildcard = |v6: bool| -> SocketAddr {
            let ip = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
            SocketAddr::new(ip, address.port())
        };
        [address, wildcard(address.is_ipv6()), wildcard(true)]
            .into_iter()
            .find(|at| self.listeners.contains(&(netns, *at)))
            .unwrap_or(address)
    }
}

/// Whether a signal is counted at the accepted connection, and so tells the address it came to.
fn is_of_connection(signal: Signal) -> bool {
    matches!(signal, Signal::ConnectionAccepted | Signal::AcceptedClosed)
        || signal.subject_kind() == SubjectKind::Peer
}

/// Whether a signal is counted at the listening socket itself, and so tells its own address.
pub(super) fn is_at_listener_itself(signal: Signal) -> bool {
    matches!(
        signal,
        Signal::SynArrival
            | Signal::AcceptOverflowSyn
            | Signal::AcceptOverflowAck
            | Signal::SynQueueDrop
            | Signal::SynCookie
    )
}

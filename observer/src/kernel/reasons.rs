//! The kernel's reasons, by the names that its BTF gives them, since the numbers move from release to release; and
//! those that are error numbers, which do not.

use std::collections::HashMap;

use nix::errno::Errno;
use observer_common::Signal;

use super::btf::Btf;

/// Drops that mean something under load: a queue, buffer, table or filter gave way, or a packet arrived
/// damaged. The everyday ones (the queue of a closed socket, a packet for another host) are left out.
const COUNTED_DROPS: &[&str] = &[
    "SOCKET_RCVBUFF",
    "SOCKET_FILTER",
    "SOCKET_BACKLOG",
    "PROTO_MEM",
    "NOMEM",
    "TCP_LISTEN_OVERFLOW",
    "TCP_OFO_QUEUE_PRUNE",
    "TCP_CSUM",
    "UDP_CSUM",
    "IP_CSUM",
    "NETFILTER_DROP",
    "XDP",
    "TC_INGRESS",
    "TC_EGRESS",
    "CPU_BACKLOG",
    "FULL_RING",
    "QDISC_DROP",
    "QDISC_OVERLIMIT",
    "QDISC_CONGESTED",
    "QDISC_BURST_DROP",
    "CAKE_FLOOD",
    "FQ_BAND_LIMIT",
    "FQ_HORIZON_LIMIT",
    "FQ_FLOW_LIMIT",
    "NEIGH_QUEUEFULL",
    "NEIGH_FAILED",
    "IP_OUTNOROUTES",
    "IP_INNOROUTES",
    "IP_RPFILTER",
    "PKT_TOO_BIG",
];

/// The reasons of one kernel.
#[derive(Clone, Debug, Default)]
pub struct Reasons {
    drops: HashMap<u32, String>,
    resets: HashMap<u32, String>,
    constraints: HashMap<u32, String>,
}

impl Reasons {
    /// Reads them from BTF.
    pub fn read(btf: &Btf) -> Self {
        Self {
            drops: btf.enum_names("skb_drop_reason", "SKB_DROP_REASON_"),
            resets: btf.enum_names("sk_rst_reason", "SK_RST_REASON_"),
            constraints: btf.enum_names("oom_constraint", ""),
        }
    }

    /// The name of a reason in the key of a signal; `None` where it has none.
    pub fn name(&self, signal: Signal, reason: u16) -> Option<String> {
        if matches!(signal, Signal::ConnectRefused | Signal::ConnectTimedOut) {
            return (reason != 0).then(|| format!("{:?}", Errno::from_raw(i32::from(reason))));
        }
        let number = u32::from(reason).checked_sub(u32::from(signal == Signal::OomKill))?;
        let names = match signal {
            Signal::PacketDropped => &self.drops,
            // 0 is NOT_SPECIFIED, which says as much as none.
            Signal::ResetSent if number != 0 => &self.resets,
            // The probe adds one, since 0 (CONSTRAINT_NONE) means something.
            Signal::OomKill => &self.constraints,
            _ => return None,
        };
        Some(names.get(&number).cloned().unwrap_or_else(|| number.to_string()))
    }

    /// The drops to be counted, as the bit set that the probe wants.
    pub fn counted_drops(&self) -> [u64; 4] {
        let mut set = [0_u64; 4];
        for (number, name) in &self.drops {
            if let Some(word) = set.get_mut((number >> 6) as usize)
                && COUNTED_DROPS.contains(&name.as_str())
            {
                *word |= 1 << (number & 63);
            }
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[(u32, &str)]) -> HashMap<u32, String> {
        names.iter().map(|(number, name)| (*number, (*name).to_owned())).collect()
    }

    #[test]
    fn reasons_have_the_names_of_the_kernel() {
        let reasons = Reasons {
            drops: names(&[(2, "NOT_SPECIFIED"), (71, "CPU_BACKLOG")]),
            resets: names(&[(0, "NOT_SPECIFIED"), (11, "TCP_ABORT_ON_CLOSE")]),
            constraints: names(&[(0, "CONSTRAINT_NONE"), (3, "CONSTRAINT_MEMCG")]),
        };
        let name = |signal, reason| reasons.name(signal, reason);
        assert_eq!(name(Signal::PacketDropped, 71).as_deref(), Some("CPU_BACKLOG"));
        assert_eq!(name(Signal::PacketDropped, 72).as_deref(), Some("72"));
        assert_eq!(name(Signal::ResetSent, 11).as_deref(), Some("TCP_ABORT_ON_CLOSE"));
        assert_eq!(name(Signal::ResetSent, 0), None);
        assert_eq!(name(Signal::OomKill, 0), None);
        assert_eq!(name(Signal::OomKill, 1).as_deref(), Some("CONSTRAINT_NONE"));
        assert_eq!(name(Signal::OomKill, 4).as_deref(), Some("CONSTRAINT_MEMCG"));
        assert_eq!(name(Signal::SynArrival, 1), None);
        assert_eq!(name(Signal::ConnectRefused, 0), None);
        assert_eq!(name(Signal::ConnectRefused, 113).as_deref(), Some("EHOSTUNREACH"));
        assert_eq!(reasons.counted_drops(), [0, 1 << 7, 0, 0]);
    }

    #[test]
    fn the_running_kernel_names_what_is_counted() {
        let Ok(btf) = Btf::from_kernel() else {
            eprintln!("skipped: no BTF here");
            return;
        };
        let reasons = Reasons::read(&btf);
        assert!(reasons.constraints.values().any(|name| name == "CONSTRAINT_MEMCG"));
        if !reasons.drops.is_empty() {
            let counted: u32 = reasons.counted_drops().iter().map(|word| word.count_ones()).sum();
            assert!(counted >= 20, "{counted} of {}", COUNTED_DROPS.len());
        }
    }
}

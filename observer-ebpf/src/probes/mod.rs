//! One file per family of probes, each a few short programs.

mod connect;
mod conntrack;
mod descriptor;
mod drop;
mod listener;
mod memory;
mod oom;
mod pair;
mod reset;
mod retransmit;
mod throttle;
mod time_wait;
mod tree;

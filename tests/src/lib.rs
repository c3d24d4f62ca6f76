//! The lab: provokes real faults of a host, each in namespaces of its own, labels them by the kernel's own
//! counters, and checks that `observer run` names them.
//!
//! - [`scenarios`] says what to provoke and what is to be seen, [`roles`] are the processes that do it;
//! - [`stage`] starts them and puts observer in front of the load;
//! - [`label`] and [`counters`] know when and how often a fault really occurred, [`watch`] does of any number;
//! - [`cgroup`] makes the cgroups that limit them;
//! - [`verdict`], [`check`] and [`explain`] hold observer's verdict against that, [`totals`] its recording.
//!
//! [`bench`] measures what observing costs.

pub mod bench;
pub mod bpf;
pub mod cgroup;
pub mod check;
pub mod children;
pub mod cleanup;
pub mod cli;
pub mod clock;
pub mod counters;
pub mod demo;
pub mod explain;
pub mod label;
pub mod loss;
pub mod netlink;
pub mod netns;
pub mod nft;
pub mod nginx;
pub mod programs;
pub mod report;
pub mod roles;
pub mod runner;
pub mod scenarios;
pub mod stage;
pub mod tmux;
pub mod totals;
pub mod verdict;
pub mod veth;
pub mod watch;

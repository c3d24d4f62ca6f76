//! The kernel side as user space sees it: which probes this kernel takes, loading them, and draining
//! what they counted.

pub mod attach;
pub mod btf;
mod by_cpu;
mod cells;
pub mod coverage;
pub mod drain;
mod element;
mod hot;
pub mod load;
pub mod log;
mod memlock;
pub mod probes;
mod reasons;
mod symbols;

pub use load::{Kernel, KernelError, Options};

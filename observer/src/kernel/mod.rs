//! The kernel side as user space sees it: which probes this kernel takes, loading them, and draining
//! what they counted.

pub mod btf;
pub mod drain;
pub mod load;
pub mod log;
pub mod probes;

pub use load::{Kernel, KernelError, Options};

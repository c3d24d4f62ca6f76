//! Onset detectors: pure streaming objects that are told what happened in each tick.

pub mod cusum;
pub mod spell;

pub use cusum::{Cusum, Policy, Tick};
pub use spell::{QUIET_NS, Spells};

//! Where what the engine says goes to. A sink asks no source anything.

pub mod export;
pub mod http;
pub mod prometheus;
pub mod report;

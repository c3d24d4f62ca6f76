//! Cgroups: what they are called, which processes are in them, and what their limits did to them.

mod cpu;
mod follow;
mod group;
mod hierarchy;
mod memory;
mod origin;
mod paths;
mod place;
mod rhythm;

pub(super) use self::{
    follow::Follow,
    hierarchy::{CgroupMounts, of_process},
    paths::Paths,
};

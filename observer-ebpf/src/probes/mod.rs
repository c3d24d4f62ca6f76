//! One file per family of probes, each a few short programs.

mod connect;
mod descriptor;
mod listener;
mod tree;

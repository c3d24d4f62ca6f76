//! The pure part: no clock, no files, no runtime. `cargo xtask lint` fails when something else creeps in.
//!
//! [`engine::Engine`] is fed [`frame::Frame`]s and gives a [`verdict::Verdict`]. In between:
//! [`ledger`] keeps the counts, [`inference`] makes up for hooks this kernel refuses, [`detect`] finds
//! onsets, [`audit`] holds the probes against the counters, [`scope`] says what is part of the test, [`lines`] is the catalogue, [`chain`] links causes
//! to effects, [`phase`] cuts the load into phases, and [`assemble`] writes the verdict. Between two verdicts,
//! [`snapshot`] says how things stand, [`standing`] what was read, and [`event`] what happened; [`history`] keeps their course, and [`keyframe`]
//! what a recording has to tell that begins in the middle.

pub mod assemble;
pub mod audit;
pub mod chain;
pub mod compare;
pub mod detect;
pub mod engine;
pub mod episode;
pub mod event;
pub mod fact_key;
pub mod frame;
pub mod history;
pub mod inference;
pub mod keyframe;
pub mod ledger;
pub mod lines;
pub mod load;
pub mod phase;
pub mod scope;
pub mod snapshot;
pub mod standing;
pub mod subject;
pub mod time;
pub mod verdict;

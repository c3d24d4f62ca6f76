//! Judges recordings and does nothing else: `cargo xtask guard` counts the instructions that the engine takes for it.
//!
//! The two functions that are counted have names of their own, which callgrind finds whatever the compiler makes of
//! what is in them.

use std::{env, hint::black_box, path::Path};

use anyhow::Result;
use observer::{
    core::{engine::Engine, frame::Frame, verdict::Verdict},
    recording::Reader,
};

fn main() -> Result<()> {
    for recording in env::args().skip(1) {
        let reader = Reader::open(Path::new(&recording))?;
        let mut engine = Engine::new(reader.header().clone());
        // Read before they are judged, so that what is counted is the judging.
        let frames = reader.frames().collect::<Result<Vec<Frame>, _>>()?;
        guarded_steps(&mut engine, &frames);
        black_box(guarded_verdict(&engine));
    }
    Ok(())
}

#[inline(never)]
fn guarded_steps(engine: &mut Engine, frames: &[Frame]) {
    for frame in frames {
        black_box(engine.step(frame));
    }
}

#[inline(never)]
fn guarded_verdict(engine: &Engine) -> Verdict {
    engine.verdict(None)
}

//! `observer report`: a recording, judged again.

use anyhow::{Result, bail};

use super::{output::Output, say};
use crate::{cli::ReportArgs, core::engine::Engine, recording::Reader};

pub(super) fn report(args: &ReportArgs) -> Result<()> {
    let reader = Reader::open(&args.file)?;
    let mut engine = Engine::new(reader.header().clone());
    let mut frames = 0_u64;
    let mut damage = None;
    for frame in reader.frames() {
        match frame {
            Ok(frame) => {
                engine.step(&frame);
                frames += 1;
            }
            Err(error) => {
                damage = Some(error);
                break;
            }
        }
    }
    match damage {
        Some(error) if frames == 0 => return Err(error.into()),
        Some(error) => say(format_args!("{error}; judged on the {frames} frames before it")),
        None if frames == 0 => bail!("{}: nothing was recorded", args.file.display()),
        None => {}
    }
    say_what_is_missing(&reader, frames);
    let cost = reader.recorded_verdict().ok().flatten().and_then(|verdict| verdict.coverage.observer);
    let mut output = args.output.as_deref().map_or(Ok(Output::Stdout), Output::open)?;
    output.write(&engine.verdict(cost), args.format)
}

/// Tells the user what the recording lacks.
pub(super) fn say_what_is_missing(reader: &Reader, frames: u64) {
    if let Ok(lost @ 1..) = reader.frames_lost() {
        say(format_args!(
            "{lost} frames of this run were not recorded; the verdict may differ from the live one"
        ));
    } else if !reader.is_finished().unwrap_or(true) {
        say(format_args!("the recording was not finished; judged on the {frames} frames it holds"));
    }
}

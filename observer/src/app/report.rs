//! `observer report`: a recording, judged again; or two, compared.

use std::path::Path;

use anyhow::{Result, bail};

use super::{output::Output, say};
use crate::{
    cli::ReportArgs,
    core::{
        compare::{Judged, compare},
        engine::Engine,
        verdict::Verdict,
    },
    recording::Reader,
    sinks::report::{render, render_comparison},
};

pub(super) fn report(args: &ReportArgs) -> Result<()> {
    for recording in [Some(&args.file), args.against.as_ref()].into_iter().flatten() {
        spare(recording, args.output.as_deref())?;
    }
    let verdict = judge(&args.file)?;
    let before = args.against.as_deref().map(judge).transpose()?;
    let mut output = args.output.as_deref().map_or(Ok(Output::Stdout), Output::open)?;
    let text = match (&before, &args.against) {
        (Some(before), Some(file)) => {
            let (before_name, after_name) = (file.display().to_string(), args.file.display().to_string());
            let comparison = compare(
                Judged { recording: &before_name, verdict: before },
                Judged { recording: &after_name, verdict: &verdict },
            );
            render_comparison(&comparison, args.format, output.style())
        }
        _ => render(&verdict, args.format, output.style()),
    };
    output.write(&text)
}

/// A report written over its recording would be the end of both.
fn spare(recording: &Path, output: Option<&Path>) -> Result<()> {
    let same = |output: &Path| {
        recording.canonicalize().ok().zip(output.canonicalize().ok()).is_some_and(|(a, b)| a == b)
    };
    if output.is_some_and(same) {
        bail!("{} is a recording: write the report to another file", recording.display());
    }
    Ok(())
}

/// Judges a recording, and says where it is not whole.
fn judge(file: &Path) -> Result<Verdict> {
    let reader = Reader::open(file)?;
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
    let name = file.display();
    match damage {
        Some(error) if frames == 0 => return Err(error.into()),
        Some(error) => say(format_args!("{error}; judged on the {frames} frames before it")),
        None if frames == 0 => bail!("{name}: nothing was recorded"),
        None => {}
    }
    if let Ok(lost @ 1..) = reader.frames_lost() {
        say(format_args!(
            "{name}: {lost} frames of this run were not recorded; the verdict may differ from the live one"
        ));
    } else if !reader.is_finished().unwrap_or(true) {
        say(format_args!("{name}: the recording was not finished; judged on the {frames} frames it holds"));
    }
    let cost = reader.recorded_verdict().ok().flatten().and_then(|verdict| verdict.coverage.observer);
    Ok(engine.verdict(cost))
}

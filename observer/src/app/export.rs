//! `observer export`: a recording as rows.

use std::io::{self, Write};

use anyhow::{Context as _, Result, bail};

use super::{
    output::{Output, is_same_file},
    report::say_what_is_missing,
};
use crate::{
    cli::ExportArgs,
    core::{engine::Engine, verdict::Clock},
    recording::{Reader, RecordingError},
    sinks::export::{self, Export, Format},
};

pub(super) fn export(args: &ExportArgs) -> Result<()> {
    let reader = Reader::open(&args.file)?;
    let Some(clock) = export::origin(reader.frames())? else {
        bail!("{}: nothing was recorded", args.file.display());
    };
    let output = match args.output.as_deref() {
        Some(path) if is_same_file(path, &args.file) => {
            bail!("{}: is the recording itself; name another file", path.display())
        }
        Some(path) => Output::open(path)?,
        None => Output::Stdout,
    };
    match write(&reader, clock, output.into_writer(), args.format) {
        Ok(Written::Everything { frames }) => {
            say_what_is_missing(&args.file, &reader, frames);
            Ok(())
        }
        Ok(Written::Until { frames, damage }) => {
            Err(anyhow::Error::from(damage).context(format!("only {frames} frames are exported")))
        }
        // Who closed the pipe has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(error).context("cannot write the export"),
    }
}

/// How far it went.
enum Written {
    Everything { frames: u64 },
    Until { frames: u64, damage: RecordingError },
}

/// Writes everything, one frame at a time.
fn write(reader: &Reader, clock: Clock, writer: impl Write, format: Format) -> io::Result<Written> {
    let mut export = Export::begin(writer, format, reader.header(), clock)?;
    let mut engine = Engine::new(reader.header().clone());
    let mut frames = 0;
    for frame in reader.frames() {
        let frame = match frame {
            Ok(frame) => frame,
            Err(damage) => {
                export.cut()?;
                return Ok(Written::Until { frames, damage });
            }
        };
        let update = engine.step(&frame);
        export.frame(&frame, &update)?;
        frames += 1;
    }
    let cost = reader.recorded_verdict().ok().flatten().and_then(|verdict| verdict.coverage.observer);
    export.end(&engine.verdict(cost))?;
    Ok(Written::Everything { frames })
}

//! A recording as rows, for jq, pandas, DuckDB and spreadsheets. docs/export.md explains them.
//!
//! What is told is decided once, in `frames` and `verdicts`, as the rows of `row`; `jsonl` and `csv` only write
//! them down. Rows are written frame by frame: what is kept meanwhile grows with the places seen, not with time.

mod csv;
mod frames;
mod jsonl;
mod place;
mod row;
mod verdicts;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests;

use std::io::{self, Write};

use self::{frames::Frames, row::Row};
use crate::core::{
    engine::Update,
    frame::{Frame, Mark, RunHeader},
    verdict::{Clock, Verdict},
};

/// Name and version of what is written, in the first row.
pub const SCHEMA: &str = "observer.export/1";

/// In which form rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// JSON Lines: each row an object with the fields of its own, as the verdict names them
    Jsonl,
    /// One table: all rows have the same columns, and leave empty what is not theirs
    Csv,
}

/// Writes rows in one form.
trait Form {
    fn row(&mut self, row: &Row<'_>) -> io::Result<()>;
    fn flush(&mut self) -> io::Result<()>;
}

/// An export in progress.
pub struct Export<'w> {
    form: Box<dyn Form + 'w>,
    clock: Clock,
    frames: Frames,
}

impl<'w> Export<'w> {
    /// Begins with what is known of the run before its first frame. Seconds count from `clock`.
    pub fn begin(
        writer: impl Write + 'w,
        format: Format,
        header: &RunHeader,
        clock: Clock,
    ) -> io::Result<Self> {
        let form: Box<dyn Form + 'w> = match format {
            Format::Jsonl => Box::new(jsonl::JsonLines::new(writer)),
            Format::Csv => Box::new(csv::Table::new(writer)),
        };
        let mut export = Self { form, clock, frames: Frames::new(clock) };
        export.form.row(&verdicts::run(header, clock))?;
        Ok(export)
    }

    /// Writes what one frame said, and which onsets the engine found in it.
    pub fn frame(&mut self, frame: &Frame, update: &Update) -> io::Result<()> {
        let rows = self.frames.rows(frame, update);
        rows.iter().try_for_each(|row| self.form.row(row))
    }

    /// Ends with the verdict on all of it: phases, hits, and the whole in the last row.
    pub fn end(mut self, verdict: &Verdict) -> io::Result<()> {
        verdicts::rows(verdict, self.clock, self.frames.seen_s())
            .iter()
            .try_for_each(|row| self.form.row(row))?;
        self.form.flush()
    }

    /// Ends without a verdict, since not all of the recording could be read. The missing last row tells.
    pub fn cut(mut self) -> io::Result<()> {
        self.form.flush()
    }
}

/// The instant from which seconds count: the start of the command, or the first frame where there is none.
/// `None` without a frame; an error only where no frame comes before it.
pub fn origin<E>(frames: impl Iterator<Item = Result<Frame, E>>) -> Result<Option<Clock>, E> {
    let mut first = None;
    for frame in frames {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) if first.is_none() => return Err(error),
            Err(_) => break,
        };
        let start = frame.marks.iter().find_map(|mark| match mark {
            Mark::CommandStarted { at_ns, .. } => Some(row::clock_at(&frame, *at_ns)),
            _ => None,
        });
        if start.is_some() {
            return Ok(start);
        }
        first.get_or_insert_with(|| row::clock_at(&frame, frame.mono_ns));
    }
    Ok(first)
}

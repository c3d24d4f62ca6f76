//! JSON Lines: one object per row.

use std::io::{self, Write};

use super::{Form, row::Row};

/// Writes each row as an object on a line of its own.
pub(super) struct JsonLines<W> {
    writer: W,
}

impl<W: Write> JsonLines<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { writer }
    }
}

impl<W: Write> Form for JsonLines<W> {
    fn row(&mut self, row: &Row<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut self.writer, row)?;
        self.writer.write_all(b"\n")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

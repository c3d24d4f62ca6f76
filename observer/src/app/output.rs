//! Where a verdict or an export goes.

use std::{
    fs::{self, File},
    io::{self, BufWriter, IsTerminal as _, Write},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};

use crate::sinks::report::Style;

/// An opened place. Opened before the test begins, so that an unwritable one is known
/// while there is nothing to lose.
pub(super) enum Output {
    Stdout,
    Stderr,
    File(File),
}

impl Output {
    /// Opens FILE, or stdout for `-`.
    pub(super) fn open(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        File::create(path).map(Self::File).with_context(|| format!("cannot write to {}", path.display()))
    }

    /// Writes the verdict, as rendered.
    pub(super) fn write(&mut self, text: &str) -> Result<()> {
        let written = match self {
            Self::Stdout => io::stdout().write_all(text.as_bytes()),
            Self::Stderr => io::stderr().write_all(text.as_bytes()),
            Self::File(file) => file.write_all(text.as_bytes()),
        };
        match written {
            Ok(()) => Ok(()),
            // Who closed the pipe has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => {
                // An hour's test must not lose its verdict to a full disk.
                let _ = io::stderr().write_all(text.as_bytes());
                Err(error)
                    .context("cannot write the verdict where it was asked for; it is printed here instead")
            }
        }
    }

    /// As a place to write much to, little by little.
    pub(super) fn into_writer(self) -> Box<dyn Write> {
        match self {
            Self::Stdout => Box::new(BufWriter::new(io::stdout())),
            Self::Stderr => Box::new(BufWriter::new(io::stderr())),
            Self::File(file) => Box::new(BufWriter::new(file)),
        }
    }

    /// Colour for a terminal that wants it (<https://no-color.org>).
    pub(super) fn style(&self) -> Style {
        let terminal = match self {
            Self::Stdout => io::stdout().is_terminal(),
            Self::Stderr => io::stderr().is_terminal(),
            Self::File(_) => false,
        };
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Style { color: terminal && wanted, ..Style::default() }
    }
}

/// Whether both are one file, under whatever names.
pub(super) fn is_same_file(a: &Path, b: &Path) -> bool {
    let id = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    id(a).is_some_and(|a| id(b) == Some(a))
}

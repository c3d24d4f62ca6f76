//! `/proc/sys/fs/file-nr`: open files of the host against `fs.file-max`.

use super::{
    Clock, Pace, Samples, Source, Window,
    error::SourceError,
    text::{self, Kept},
    world::World,
};
use crate::core::{frame::Resource, subject::Subject};

const FILE: &str = "/proc/sys/fs/file-nr";
/// Above one half of the limit it is read at every tick.
const NEAR: u64 = 2;

/// Reads the table once a second, and at every tick when it fills.
#[derive(Debug)]
pub(super) struct Files {
    pace: Pace,
    near: bool,
    file: Kept,
    buffer: Vec<u8>,
}

impl Default for Files {
    fn default() -> Self {
        Self { pace: Pace::every_ms(1_000), near: false, file: Kept::default(), buffer: Vec::new() }
    }
}

impl Source for Files {
    fn name(&self) -> &'static str {
        "file-nr"
    }

    fn due(&self, now_ns: u64, _world: &World) -> bool {
        self.near || self.pace.is_due(now_ns)
    }

    fn read(
        &mut self,
        _world: &mut World,
        clock: Clock<'_>,
        out: &mut Samples<'_>,
    ) -> Result<(), SourceError> {
        let (window, text) = Window::around(clock, || self.file.read(FILE, &mut self.buffer));
        self.pace.ran(window.before_ns);
        // Allocated, free (always 0 since 2.6) and the limit.
        let [used, free, limit] =
            text::numbers(text?).map_err(|problem| SourceError::malformed(FILE, problem))?;
        let used = used.saturating_sub(free);
        self.near = used >= limit / NEAR;
        out.usage(Resource::FileTable, &Subject::HOST, used, Some((limit, "fs.file-max")), window);
        Ok(())
    }
}

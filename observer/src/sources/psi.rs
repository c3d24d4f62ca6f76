//! `/proc/pressure`: for how long some task had to wait for a CPU, for memory or for block I/O.

use observer_common::Signal;

use super::{
    Clock, Pace, Samples, Source, Window,
    error::{Problems, SourceError},
    text::{self, Kept},
    world::World,
};
use crate::core::subject::Subject;

/// The files, and the signal of each.
const FILES: [(&str, Signal); 3] = [
    ("/proc/pressure/cpu", Signal::CpuPressure),
    ("/proc/pressure/memory", Signal::MemoryPressure),
    ("/proc/pressure/io", Signal::IoPressure),
];

/// Reads the files once a second: they change at almost every read.
#[derive(Debug)]
pub(super) struct Psi {
    pace: Pace,
    /// Whether this kernel keeps them.
    kept: bool,
    open: [Kept; FILES.len()],
    buffer: Vec<u8>,
}

impl Default for Psi {
    fn default() -> Self {
        Self { pace: Pace::every_ms(1_000), kept: true, open: Default::default(), buffer: Vec::new() }
    }
}

impl Source for Psi {
    fn name(&self) -> &'static str {
        "psi"
    }

    fn due(&self, now_ns: u64, _world: &World) -> bool {
        self.kept && self.pace.is_due(now_ns)
    }

    fn read(
        &mut self,
        _world: &mut World,
        clock: Clock<'_>,
        out: &mut Samples<'_>,
    ) -> Result<(), SourceError> {
        let mut problems = Problems::default();
        self.pace.ran(clock());
        for ((file, signal), open) in FILES.into_iter().zip(&mut self.open) {
            let (window, text) = Window::around(clock, || open.read(file, &mut self.buffer));
            match text {
                // Left out when the kernel was built, or (psi=0) when it was started.
                Err(error) if is_absent(&error) => self.kept = false,
                Err(error) => problems.note(error),
                Ok(text) => {
                    let total = parse(text).map_err(|problem| SourceError::malformed(file, problem));
                    let Some(total) = problems.check(total) else { continue };
                    out.signal(signal, &Subject::HOST, total, window);
                }
            }
        }
        problems.finish()
    }
}

/// Whether there is no such file, or none that works.
fn is_absent(error: &SourceError) -> bool {
    let unsupported = |error: &std::io::Error| error.raw_os_error() == Some(libc::EOPNOTSUPP);
    error.is_gone() || matches!(error, SourceError::Unreadable { error, .. } if unsupported(error))
}

/// The microseconds of the line `some`.
fn parse(text: &str) -> Result<u64, String> {
    let line = text.split_inclusive('\n').find_map(|line| line.strip_prefix("some "));
    let line = text::line(line.ok_or("has no line some")?)?;
    let total = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("total="));
    text::number(total.ok_or("has no total")?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MEMORY: &str = "some avg10=0.18 avg60=1.06 avg300=0.71 total=43445072\n\
        full avg10=0.18 avg60=1.01 avg300=0.62 total=30580423\n";

    #[test]
    fn the_total_of_some_is_read() {
        assert_eq!(parse(MEMORY), Ok(43_445_072));
        let end = MEMORY.find("\nfull").expect("the next line");
        for end in 0..=end {
            assert!(parse(&MEMORY[..end]).is_err(), "{:?}", &MEMORY[..end]);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(some |total=|[ 0-9a-z\n]|\\PC){0,40}") {
            let _ = parse(&text);
        }
    }
}

//! What the probes have to say for themselves: nothing, unless asked through `OBSERVER_LOG`.

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Level, LevelFilter, Log, Metadata, Record};

/// Names the level: `error`, `warn`, `info`, `debug` or `trace`.
const VARIABLE: &str = "OBSERVER_LOG";

/// The level asked for, as the kernel side counts it: 0 is silence.
pub(super) fn level() -> u8 {
    let asked = std::env::var(VARIABLE).ok().and_then(|name| name.parse::<LevelFilter>().ok());
    asked.map_or(0, |level| level as u8)
}

/// Prints the probes' messages on stderr.
pub struct ProbeLog(EbpfLogger<Stderr>);

impl ProbeLog {
    /// Takes the messages of a loaded object; `None` when silence was asked for, or it has none.
    pub(super) fn open(ebpf: &mut Ebpf) -> Option<Self> {
        if level() == 0 {
            return None;
        }
        EbpfLogger::init_with_logger(ebpf, Stderr).ok().map(Self)
    }

    /// Prints what is waiting.
    pub fn flush(&mut self) {
        self.0.flush();
    }
}

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= Level::Trace
    }

    fn log(&self, record: &Record) {
        eprintln!("observer: probe {}: {}: {}", record.target(), record.level(), record.args());
    }

    fn flush(&self) {}
}

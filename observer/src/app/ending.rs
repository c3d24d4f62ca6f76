//! The end that a signal asked for, whatever the terminal does.
//!
//! The main thread ends the process within a moment, unless it is stuck in a write to a terminal that takes nothing any
//! more: a connection that hangs, a window that was stopped. Then what waits there is discarded; and where that does not
//! help, the process ends here, as it would have ended there.

use std::{io, thread, time::Duration};

use tokio::sync::mpsc::UnboundedReceiver;

use super::signals::Received;
use crate::tui;

/// How long a terminal may take for what is written to it at the end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sees to it that the process ends, in a thread of its own: nothing is left to be done but to tell of it.
pub(super) fn insist() -> io::Result<()> {
    thread::Builder::new().name("ending".into()).spawn(end).map(drop)
}

/// The same from the first signal on that asks for an end; tells of it first.
pub(super) fn insist_when_asked(
    mut signals: UnboundedReceiver<Received>,
    tell: impl FnOnce(Received) + Send + 'static,
) -> io::Result<()> {
    let wait = move || {
        while let Some(received) = signals.blocking_recv() {
            if received.ends() {
                tell(received);
                return end();
            }
        }
    };
    thread::Builder::new().name("ending".into()).spawn(wait).map(drop)
}

fn end() {
    thread::sleep(PATIENCE);
    tui::let_go();
    thread::sleep(PATIENCE);
    // Without flushing standard output, which the main thread may hold.
    signal_hook::low_level::exit(0);
}

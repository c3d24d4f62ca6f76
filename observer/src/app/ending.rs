//! The end that a signal asked for, whatever the terminal does.

use std::{thread, time::Duration};

use crate::tui;

/// How long a terminal may take for what is written to it at the end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sees to it that the process ends. The main thread ends it within a moment, unless it is stuck in a write to a
/// terminal that takes nothing any more: a connection that hangs, a window that was stopped. Then what waits there is
/// discarded; and where that does not help, the process ends here, as it would have ended there.
///
/// For when nothing is left to be done but to tell of it.
pub(super) fn insist() {
    let insist = || {
        thread::sleep(PATIENCE);
        tui::let_go();
        thread::sleep(PATIENCE);
        // Without flushing standard output, which the main thread may hold.
        signal_hook::low_level::exit(0);
    };
    // Without a thread for it, the end waits for the terminal.
    let _ = thread::Builder::new().name("ending".into()).spawn(insist);
}

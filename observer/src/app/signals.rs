//! Signals sent to observer.

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2},
    iterator::{SignalsInfo, exfiltrator::WithOrigin},
    low_level::siginfo::Cause,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A signal, and whether it was meant for observer alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    /// The signal.
    pub signal: Signal,
    /// A process sent it to us. What the terminal sends (Ctrl-C, hang-up) comes from the kernel and
    /// reaches the command as well.
    pub to_us_alone: bool,
}

/// Begins to catch them. They are told apart by who sent them, which tokio's own handlers do not say.
pub(super) fn catch() -> Result<UnboundedReceiver<Received>> {
    let (sender, receiver) = unbounded_channel();
    let mut signals = SignalsInfo::<WithOrigin>::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2])
        .context("cannot catch signals")?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for origin in signals.forever() {
                let Ok(signal) = Signal::try_from(origin.signal) else { continue };
                let to_us_alone = matches!(origin.cause, Cause::Sent(_));
                if sender.send(Received { signal, to_us_alone }).is_err() {
                    return;
                }
            }
        })
        .context("cannot start the thread that waits for signals")?;
    Ok(receiver)
}

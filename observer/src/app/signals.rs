//! Signals sent to observer.

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2},
    iterator::{SignalsInfo, exfiltrator::WithOrigin},
    low_level::siginfo::Cause,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::privileges;

/// A signal, and whether it was meant for observer alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    /// The signal.
    pub signal: Signal,
    /// A process sent it to us. What the terminal sends (Ctrl-C, hang-up) comes from the kernel and
    /// reaches the command as well.
    pub to_us_alone: bool,
}

impl Received {
    /// Whether it asks for an end, as a terminal, a user or an init system does.
    pub(super) fn ends(self) -> bool {
        matches!(self.signal, Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT)
    }
}

/// Begins to catch them. They are told apart by who sent them, which tokio's own handlers do not say.
pub(super) fn catch() -> Result<UnboundedReceiver<Received>> {
    let (sender, receiver) = unbounded_channel();
    let ignored = ignored();
    // What our caller had us ignore (nohup, a background job), the command is to ignore as well: a
    // handler here would give it the default instead.
    let caught = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2]
        .into_iter()
        .filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let mut signals = SignalsInfo::<WithOrigin>::new(caught).context("cannot catch signals")?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            // It was started before anything is given up, and needs nothing. Where giving up is refused, the
            // observation says so.
            let _ = privileges::keep_only(&[]);
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

/// The signals that are ignored, as a mask: signal 1 is the lowest bit.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

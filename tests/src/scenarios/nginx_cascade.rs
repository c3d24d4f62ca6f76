//! The cascade of [`super::cascade_fd_accept`] by programs that everybody has: nginx's worker runs out of
//! descriptors under wrk, rests from accepting for half a second at a time, and its accept queue overflows.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{PORT, QUIET, Scenario, cascade_fd_accept::check_cascade, overflow_at};
use crate::{
    check::{Count, Ending, Place, Truth},
    clock::{Bracket, mono_ns},
    counters::Counter,
    label::Labeller,
    nginx::{Limits, Nginx},
    programs::installed,
    roles::{Role, program::Program},
    stage::{Observed, PATIENCE, Stage},
};

pub const SCENARIO: Scenario = Scenario {
    name: "nginx_cascade",
    about: "nginx out of descriptors under wrk stops accepting, and its accept queue overflows",
    play,
};

/// Hardly any descriptors. That connections may stay matters: closing one after a thousand requests, as is nginx's default,
/// would at wrk's speed free descriptors milliseconds after there were none, while nginx still rests from accepting: too
/// short for a counter that is read ten times a second.
const LIMITS: Limits = Limits { descriptors: 48, connections: 1024, backlog: 16 };
/// A ramp for wrk, which knows none: its threads start one after the other, each with fewer connections
/// than the accept queue has places. All at once they would fill the queue before nginx has accepted any.
const RAMP: &str = r#"local ffi = require("ffi")
ffi.cdef("int poll(void *, unsigned long, int);")
function init(args) ffi.C.poll(nil, 0, 100) end
"#;
const WRK: [&str; 3] = ["--threads=20", "--connections=200", "--duration=4s"];
/// How nginx's log says EMFILE.
const EMFILE: &str = "(24: ";
/// Time between two looks at the log.
const PERIOD: Duration = Duration::from_millis(1);

fn play(stage: &Stage) -> Result<Ending> {
    let missing = |name| Ok(Ending::Skip(format!("{name} is not installed")));
    let Some(nginx) = installed("nginx") else { return missing("nginx") };
    let Some(wrk) = installed("wrk") else { return missing("wrk") };
    let nginx = Starved(Nginx::start(stage, nginx, LIMITS)?);
    let script = stage.folder().join("ramp.lua");
    fs::write(&script, RAMP)?;
    let mut argument: Vec<String> = WRK.map(str::to_owned).into();
    argument.push(format!("--script={}", script.display()));
    argument.push(format!("http://127.0.0.1:{PORT}/"));
    let role = Role::Program(Program { netns_of: Some(nginx.0.worker), path: wrk, argument });

    let labeller = Labeller::start(nginx.0.worker)?;
    let (finished, onset) = nginx.while_watched(|| stage.observe(&[], &role).and_then(Observed::finish));
    let finished = finished?;
    labeller.wait_quiet(QUIET, PATIENCE)?;
    let labels = labeller.finish();
    let cause = nginx.descriptor_truth(onset)?;
    ensure!(labels.count(Counter::ListenOverflows) > 0, "ListenOverflows did not rise");
    let effect = overflow_at(nginx.listener(), &labels)?;
    ensure!(cause.onset.to_ns < effect.onset.from_ns, "the overflow came before its cause");
    check_cascade(&cause, &effect, &finished)
}

/// The nginx that runs out of them.
struct Starved(Nginx);

impl Starved {
    fn listener(&self) -> Place {
        Place { listener_port: Some(PORT), netns: Some(self.0.netns), ..Place::default() }
    }

    /// Does `work`, and watches the log for the first EMFILE meanwhile.
    fn while_watched<T>(&self, work: impl FnOnce() -> T) -> (T, Option<Bracket>) {
        let (log, over) = (&self.0.log, AtomicBool::new(false));
        thread::scope(|scope| {
            let watch = scope.spawn(|| first_said(log, &over));
            let done = work();
            over.store(true, Ordering::Relaxed);
            (done, watch.join().ok().flatten())
        })
    }

    /// What nginx itself says: it logs each accept() that is refused a descriptor.
    fn descriptor_truth(&self, onset: Option<Bracket>) -> Result<Truth> {
        let log = fs::read_to_string(&self.0.log)?;
        let refused = log.lines().filter(|line| line.contains(EMFILE)).count() as u64;
        if let Some(line) = log.lines().find(|line| line.contains(EMFILE)) {
            println!("  nginx: {line} (and so on, {refused} in all)");
        }
        Ok(Truth {
            onset: onset.with_context(|| format!("nginx does not complain of {EMFILE:?}"))?,
            place: Place { pid: Some(self.0.worker), comm: Some("nginx".to_owned()), ..Place::default() },
            counts: vec![Count::of(&["descriptor_limit"]).app(refused)],
        })
    }
}

/// Around the instant at which the log first said EMFILE; microseconds before, accept() had failed.
fn first_said(log: &Path, over: &AtomicBool) -> Option<Bracket> {
    let mut from_ns = mono_ns();
    while !over.load(Ordering::Relaxed) {
        let read_ns = mono_ns();
        if fs::read_to_string(log).ok()?.contains(EMFILE) {
            return Some(Bracket { from_ns, to_ns: mono_ns() });
        }
        from_ns = read_ns;
        thread::sleep(PERIOD);
    }
    None
}

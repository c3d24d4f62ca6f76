//! The host's file table is full: whoever is not root gets ENFILE.

use std::{env, fs, path::Path};

use anyhow::{Context, Result};

use super::{FD_SATURATION, Scenario, errno_truth};
use crate::{
    check::{Ending, Expect, Place},
    cleanup::Guard,
    roles::{Role, files::Files},
    stage::Stage,
};

pub const SCENARIO: Scenario = Scenario {
    name: "file_table_full",
    about: "an ordinary user opens files up to fs.file-max; open fails with ENFILE",
    play,
};

/// Set where nobody else can suffer: in the virtual machine.
pub const OWN_MACHINE: &str = "OBSERVER_LAB_OWN_MACHINE";
const LIMIT: &str = "/proc/sys/fs/file-max";
const IN_USE: &str = "/proc/sys/fs/file-nr";
/// Room that is left to the role: less than its RLIMIT_NOFILE.
const ROOM: u64 = 200;
/// Nobody, by custom.
const NOBODY: u32 = 65534;
/// Half a second's worth, so that counters see it as well.
const FAILURES: u64 = 50;
const INTERVAL_MS: u64 = 10;

const FULL: Expect = Expect { role: "path", deciding: &["file_table_full"], ..FD_SATURATION };

fn play(stage: &Stage) -> Result<Ending> {
    if env::var_os(OWN_MACHINE).is_none() {
        return Ok(Ending::Skip("fs.file-max is the whole host's; needs a machine of its own".into()));
    }
    let role = Role::Files(Files { user: NOBODY, failures: FAILURES, interval_ms: INTERVAL_MS });
    let mut load = stage.observe(&[], &role)?;
    let limit = Guard::setting(Path::new(LIMIT))?;
    // Now that all programs run: what they have open is not to eat up the room.
    let full = files_in_use()? + ROOM;
    fs::write(LIMIT, full.to_string()).with_context(|| format!("cannot set {LIMIT}"))?;
    load.resume()?;
    load.wait_holding()?;
    drop(limit);
    let place = Place { pid: Some(load.pid), ..Place::default() };
    let finished = load.finish()?;
    // The kernel's quick look at its per-CPU count, which decides whether it looks twice, may lag behind.
    println!("  {} files were opened where there was room for {ROOM}", finished.tally.done);
    FULL.check_first(&errno_truth(&finished, libc::ENFILE, place, &["file_table_full"])?, &finished)
}

fn files_in_use() -> Result<u64> {
    let text = fs::read_to_string(IN_USE).with_context(|| format!("cannot read {IN_USE}"))?;
    let first = text.split_whitespace().next().and_then(|number| number.parse().ok());
    first.with_context(|| format!("{IN_USE} begins without a number: {text:?}"))
}

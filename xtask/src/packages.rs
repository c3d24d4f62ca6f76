//! Programs that come from the distribution, installed with apt-get where that is possible.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::elf;
use crate::process;
use crate::progress::step;

/// A program and the Debian package that has it.
pub struct Need {
    program: &'static str,
    package: &'static str,
}

/// What static binaries are linked with.
pub const STATIC_BUILD: &[Need] = &[Need { program: "musl-gcc", package: "musl-tools" }];

/// What a virtual machine is made of.
pub const VIRTUAL_MACHINE: &[Need] = &[
    Need { program: "qemu-system-x86_64", package: "qemu-system-x86" },
    Need { program: "busybox", package: "busybox-static" },
    Need { program: "depmod", package: "kmod" },
    Need { program: "xz", package: "xz-utils" },
];

/// What asks the HTTP server, and makes certificates for it.
pub const HTTP_CLIENTS: &[Need] =
    &[Need { program: "curl", package: "curl" }, Need { program: "openssl", package: "openssl" }];

/// What counts the instructions that a program takes.
pub const INSTRUCTION_COUNTS: &[Need] = &[Need { program: "valgrind", package: "valgrind" }];

/// What opens the HTML report.
pub const BROWSER: &[Need] = &[
    Need { program: "chromium", package: "chromium" },
    Need { program: "node", package: "nodejs" },
    Need { program: "npm", package: "npm" },
];

/// Installs what is missing. The error is a sentence that can stand as the reason of a skip.
pub fn ensure(needs: &[Need]) -> Result<()> {
    let missing: Vec<&str> = needs.iter().filter(|need| !need.is_there()).map(|need| need.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if process::find_program("apt-get").is_none() {
        bail!("this system has no apt-get: install what Debian calls {names} yourself");
    }
    if !process::is_root() {
        bail!("installing needs root: run `apt-get install --no-install-recommends {names}` as root");
    }
    step(format!("installing {names}"));
    if install(&missing).is_err() {
        step("that failed; trying once more with fresh package lists");
        update_lists()?;
        install(&missing).with_context(|| format!("{names} could not be installed"))?;
    }
    Ok(())
}

/// Fetches the package lists anew.
pub fn update_lists() -> Result<()> {
    process::read(apt_get().args(["update"]))
        .context("the package lists could not be fetched: is there a network?")
        .map(drop)
}

/// The statically linked busybox: alone in an initramfs, no other one runs.
pub fn static_busybox() -> Result<PathBuf> {
    let program = process::find_program("busybox").context("busybox is missing: run `cargo xtask setup`")?;
    let image = fs::read(&program).with_context(|| format!("{} cannot be read", program.display()))?;
    if !elf::is_static(&image) {
        bail!("{} needs shared libraries: install busybox-static", program.display());
    }
    Ok(program)
}

impl Need {
    fn is_there(&self) -> bool {
        match self.program {
            "busybox" => static_busybox().is_ok(),
            program => process::find_program(program).is_some(),
        }
    }
}

fn install(packages: &[&str]) -> Result<()> {
    process::read(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(packages)).map(drop)
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.arg("--quiet=2").env("DEBIAN_FRONTEND", "noninteractive");
    command
}

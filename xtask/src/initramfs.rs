//! What a virtual machine starts from: busybox, the programs under test, the kernel's modules, and the command.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::cpio::Archive;
use crate::elf;
use crate::kernels::Kernel;
use crate::modules::Modules;
use crate::packages;

const FOLDERS: &[&str] =
    &["bin", "dev", "etc", "etc/vm", "lib", "lib/modules", "proc", "root", "run", "sys", "tmp"];

/// The linux device numbers of /dev/console, which the kernel gives to process 1.
const CONSOLE: (u32, u32) = (5, 1);

/// The content of an initramfs.
pub struct Content<'a> {
    /// The kernel that boots it.
    pub kernel: &'a Kernel,
    /// The programs under test: where the VM has them, and where they are here.
    pub programs: &'a [(&'static str, PathBuf)],
    /// The modules to load; what they need comes with them.
    pub modules: &'a [&'a str],
    /// The modules to load where the kernel has them.
    pub optional_modules: &'a [&'a str],
    /// The command to run.
    pub command: &'a [String],
    /// The files of the VM to hand out afterwards.
    pub fetch: &'a [String],
    /// After this time the VM ends itself.
    pub limit: Duration,
}

impl Content<'_> {
    /// Puts the archive together.
    pub fn archive(&self) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        for folder in FOLDERS {
            archive.folder(folder)?;
        }
        archive.device("dev/console", CONSOLE.0, CONSOLE.1)?;
        archive.file("init", 0o755, include_bytes!("init.sh"))?;
        archive.file("bin/busybox", 0o755, &read(&packages::static_busybox()?)?)?;
        archive.symlink("bin/sh", "busybox")?;
        for (inside, outside) in self.programs {
            archive.file(inside, 0o755, &static_program(outside)?)?;
        }
        self.add_modules(&mut archive)?;
        archive.file("etc/vm/command", 0o755, command_script(self.command).as_bytes())?;
        archive.file("etc/vm/fetch", 0o644, relative_paths(self.fetch).as_bytes())?;
        archive.file("etc/vm/limit", 0o644, self.limit.as_secs().to_string().as_bytes())?;
        archive.finish()
    }

    fn add_modules(&self, archive: &mut Archive) -> Result<()> {
        let folder = &self.kernel.modules;
        let modules = Modules::read(folder)?;
        let optional = self.optional_modules.iter().filter(|name| modules.has(name));
        let order = modules.load_order(self.modules.iter().chain(optional).copied())?;
        for name in &order {
            let module = modules.open(folder, name)?;
            archive.file(&format!("lib/modules/{}.ko", module.name), 0o644, &module.object)?;
        }
        archive.file("etc/vm/modules", 0o644, lines(&order).as_bytes())
    }
}

fn static_program(path: &Path) -> Result<Vec<u8>> {
    let image = read(path)?;
    if !elf::is_static(&image) {
        bail!("{} needs shared libraries, which a VM does not have", path.display());
    }
    Ok(image)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn lines(words: &[String]) -> String {
    words.iter().map(|word| format!("{word}\n")).collect()
}

/// Paths below the root of the VM, quoted for xargs.
fn relative_paths(paths: &[String]) -> String {
    paths.iter().map(|path| format!("\"{}\"\n", path.trim_start_matches('/'))).collect()
}

/// A script that runs exactly these words, whatever is in them.
fn command_script(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    format!("#!/bin/sh\nexec {}\n", quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_survives_the_shell() -> Result<()> {
        let words = ["printf", "%s|", "it's", "$HOME", "a b", ""].map(str::to_owned);
        let output = std::process::Command::new("sh").args(["-c", &command_script(&words)]).output()?;
        assert_eq!(String::from_utf8(output.stdout)?, "it's|$HOME|a b||");
        Ok(())
    }
}

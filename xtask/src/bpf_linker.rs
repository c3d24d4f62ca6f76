//! bpf-linker, linked against the LLVM that rustc itself ships: it always matches, and needs no LLVM package.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;
use crate::progress::step;
use crate::toolchain::{self, Toolchain};
use crate::tree::Tree;

const VERSION: &str = "0.13.0";

/// Installs bpf-linker into the tools folder, unless it is there and fits the compiler.
pub fn ensure(tree: &Tree, toolchain: &Toolchain) -> Result<()> {
    let stamp = Stamp::new(tree, toolchain);
    if stamp.is_current() {
        return Ok(());
    }
    step(format!("building bpf-linker {VERSION} against rustc's own LLVM (about a minute)"));
    stamp.remove()?;
    let llvm = llvm_prefix(tree, toolchain)?;
    process::run(&mut install_command(tree, toolchain, &llvm)?).context(
        "bpf-linker could not be installed: cargo's own words are above (it needs a network the first time, and a C compiler)",
    )?;
    stamp.write()
}

/// Says for which compiler the tools folder was filled.
struct Stamp {
    path: PathBuf,
    program: PathBuf,
    content: String,
}

impl Stamp {
    fn new(tree: &Tree, toolchain: &Toolchain) -> Self {
        Self {
            path: tree.tools.join("bpf-linker.stamp"),
            program: tree.tools_bin().join("bpf-linker"),
            content: format!(
                "bpf-linker {VERSION}\nrustc {}\n{}\n",
                toolchain.commit,
                toolchain.sysroot.display()
            ),
        }
    }

    fn is_current(&self) -> bool {
        process::is_executable(&self.program)
            && fs::read_to_string(&self.path).is_ok_and(|content| content == self.content)
    }

    fn remove(&self) -> Result<()> {
        if self.path.exists() {
            step("the tools folder was made for another compiler");
            fs::remove_file(&self.path)
                .with_context(|| format!("{} cannot be removed", self.path.display()))?;
        }
        Ok(())
    }

    fn write(&self) -> Result<()> {
        fs::write(&self.path, &self.content)
            .with_context(|| format!("{} cannot be written", self.path.display()))
    }
}

/// Makes the folder that bpf-linker's build takes for an installed LLVM: a link to rustc's library.
fn llvm_prefix(tree: &Tree, toolchain: &Toolchain) -> Result<PathBuf> {
    let library = toolchain.llvm_library()?;
    let prefix = tree.tools.join("llvm");
    let folder = prefix.join("lib");
    let link = folder.join("libLLVM.so");
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    if link.is_symlink() {
        fs::remove_file(&link).with_context(|| format!("{} cannot be replaced", link.display()))?;
    }
    symlink(&library, &link).with_context(|| format!("{} cannot be made", link.display()))?;
    Ok(prefix)
}

fn install_command(tree: &Tree, toolchain: &Toolchain, llvm: &Path) -> Result<Command> {
    let mut command = toolchain::cargo(tree)?;
    command
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force", "--quiet"])
        .args(["--no-default-features", "--features", &format!("llvm-{}", toolchain.llvm_major)])
        .arg("--root")
        .arg(&tree.tools)
        // Its build is not ours: it would only fill the target folder.
        .env_remove("CARGO_TARGET_DIR")
        .env("LLVM_PREFIX", llvm)
        .env("RUSTFLAGS", format!("-C link-arg=-Wl,-rpath,{}", toolchain.sysroot.join("lib").display()));
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toolchain(commit: &str) -> Toolchain {
        Toolchain {
            channel: "1.95.0".into(),
            sysroot: "/sysroot".into(),
            commit: commit.into(),
            llvm_major: "22".into(),
        }
    }

    #[test]
    fn a_linker_for_another_compiler_is_stale() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let tree = Tree {
            root: folder.path().into(),
            tools: folder.path().join("tools"),
            target: folder.path().join("target"),
        };
        fs::create_dir_all(tree.tools_bin())?;
        let ours = Stamp::new(&tree, &toolchain("one"));
        ours.write()?;
        assert!(!ours.is_current(), "no program yet");
        fs::copy("/proc/self/exe", &ours.program)?;
        assert!(ours.is_current());
        assert!(!Stamp::new(&tree, &toolchain("two")).is_current());
        Ok(())
    }
}

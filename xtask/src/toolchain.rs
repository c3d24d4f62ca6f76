//! The pinned Rust toolchain: what it is, and that its components are there.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::process;
use crate::progress::step;
use crate::tree::{MUSL, Tree};

/// What is known of the compiler that cargo runs here.
pub struct Toolchain {
    /// The channel that rust-toolchain.toml pins.
    pub channel: String,
    /// Where the compiler and its libraries are installed.
    pub sysroot: PathBuf,
    /// The commit that the compiler was built from; names its LLVM as well.
    pub commit: String,
    /// The major version of its LLVM.
    pub llvm_major: String,
}

/// Part of a toolchain that rustup installs on its own.
enum Part {
    Component(&'static str),
    Target(&'static str),
}

#[derive(Deserialize)]
struct ToolchainFile {
    toolchain: Pinned,
}

#[derive(Deserialize)]
struct Pinned {
    channel: String,
}

impl Toolchain {
    /// Asks rustc, which rustup has already directed to the pinned version.
    pub fn inspect(tree: &Tree) -> Result<Self> {
        let version = process::read(rustc(tree).arg("-vV"))?;
        let sysroot = process::read(rustc(tree).args(["--print", "sysroot"]))?;
        let llvm = field(&version, "LLVM version")?;
        Ok(Self {
            channel: pinned_channel(tree)?,
            sysroot: PathBuf::from(sysroot.trim()),
            commit: field(&version, "commit-hash")?.to_owned(),
            llvm_major: llvm.split('.').next().unwrap_or(llvm).to_owned(),
        })
    }

    /// The LLVM library that rustc itself runs on.
    pub fn llvm_library(&self) -> Result<PathBuf> {
        let folder = self.sysroot.join("lib");
        for entry in fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libLLVM.so")) {
                return Ok(path);
            }
        }
        bail!(
            "{} has no libLLVM.so, which bpf-linker is linked against: this rustc does not come from rustup, \
             and one that does is needed (https://rustup.rs)",
            folder.display()
        )
    }

    /// Installs what building and linting need.
    pub fn ensure_components(&self) -> Result<()> {
        self.ensure(&Part::Component("rust-src"), "lib/rustlib/src/rust/library/core/src/lib.rs")?;
        self.ensure(&Part::Component("clippy"), "bin/cargo-clippy")?;
        self.ensure(&Part::Component("rustfmt"), "bin/cargo-fmt")
    }

    /// Installs the standard library for static binaries.
    pub fn ensure_musl(&self) -> Result<()> {
        self.ensure(&Part::Target(MUSL), &format!("lib/rustlib/{MUSL}/lib"))
    }

    fn ensure(&self, part: &Part, proof: &str) -> Result<()> {
        let (kind, name) = match part {
            Part::Component(name) => ("component", name),
            Part::Target(name) => ("target", name),
        };
        if self.sysroot.join(proof).exists() {
            return Ok(());
        }
        step(format!("installing {name} for Rust {}", self.channel));
        let Some(rustup) = process::find_program("rustup") else {
            bail!(
                "{name} is missing, and so is rustup to install it: get rustup (https://rustup.rs), or install {name} for Rust {} yourself",
                self.channel
            );
        };
        let mut command = Command::new(rustup);
        command.args([kind, "add", name, "--toolchain", &self.channel]);
        process::run(&mut command).with_context(|| {
            format!("the Rust {kind} {name} could not be installed; without a network, install it beforehand")
        })
    }
}

/// Cargo, the one that runs this xtask, in the root of the repository and with the tools folder in front of PATH.
pub fn cargo(tree: &Tree) -> Result<Command> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&tree.root).env("PATH", path_with_tools(tree)?).env("CARGO_TARGET_DIR", &tree.target);
    Ok(command)
}

/// PATH, with the tools folder in front.
pub fn path_with_tools(tree: &Tree) -> Result<OsString> {
    let bin = tree.tools_bin();
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths([bin.clone()].into_iter().chain(env::split_paths(&path)))
        .with_context(|| format!("{} cannot stand in PATH", bin.display()))
}

fn rustc(tree: &Tree) -> Command {
    let mut command = Command::new("rustc");
    command.current_dir(&tree.root);
    command
}

fn pinned_channel(tree: &Tree) -> Result<String> {
    let path = tree.root.join("rust-toolchain.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let file: ToolchainFile =
        toml::from_str(&text).with_context(|| format!("{} is not understood", path.display()))?;
    Ok(file.toolchain.channel)
}

fn field<'a>(version: &'a str, name: &str) -> Result<&'a str> {
    version
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .with_context(|| format!("`rustc -vV` does not tell its {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_from_rustc() -> Result<()> {
        let version = "rustc 1.95.0 (abc 2026-04-14)\ncommit-hash: 5980\nLLVM version: 22.1.2\n";
        assert_eq!(field(version, "commit-hash")?, "5980");
        assert_eq!(field(version, "LLVM version")?, "22.1.2");
        assert!(field(version, "host").is_err());
        Ok(())
    }
}

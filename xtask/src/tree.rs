//! Where things are: the repository, the tools folder, and what cargo leaves behind.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// The target of static binaries, which run in any virtual machine and on any host.
pub const MUSL: &str = "x86_64-unknown-linux-musl";

/// The places that the commands read and write.
pub struct Tree {
    /// The root of the repository.
    pub root: PathBuf,
    /// Tools and kernels; outlives `cargo clean`.
    pub tools: PathBuf,
    /// Cargo's target folder.
    pub target: PathBuf,
}

impl Tree {
    /// Finds them from what cargo and the user have set in the environment.
    pub fn find() -> Result<Self> {
        let manifest =
            env::var_os("CARGO_MANIFEST_DIR").context("xtask has to be started as `cargo xtask`")?;
        let root = Path::new(&manifest).parent().context("xtask has to lie in the repository")?.to_path_buf();
        let tools = match env::var_os("OBSERVER_TOOLS").map(PathBuf::from) {
            None => root.join(".tools"),
            Some(tools) if tools.is_absolute() => tools,
            Some(tools) => {
                bail!("OBSERVER_TOOLS is `{}`: it has to be an absolute path", tools.display())
            }
        };
        let target = match env::var_os("CARGO_TARGET_DIR") {
            None => root.join("target"),
            Some(target) => std::path::absolute(target).context("CARGO_TARGET_DIR is not a usable path")?,
        };
        Ok(Self { root, tools, target })
    }

    /// Where the tools folder keeps its programs.
    pub fn tools_bin(&self) -> PathBuf {
        self.tools.join("bin")
    }

    /// A release binary for this host.
    pub fn release(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// A static release binary.
    pub fn static_release(&self, name: &str) -> PathBuf {
        self.target.join(MUSL).join("release").join(name)
    }
}

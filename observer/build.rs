//! Compiles the kernel side with the pinned toolchain and puts it into OUT_DIR.

use std::{env, path::PathBuf};

use anyhow::{Context as _, Result, anyhow};
use aya_build::{Package, Toolchain, build_ebpf};

fn main() -> Result<()> {
    println!("cargo:rerun-if-env-changed=OBSERVER_TOOLS");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?)
        .parent()
        .ok_or_else(|| anyhow!("the observer crate has no parent folder"))?
        .to_owned();
    let tools = env::var_os("OBSERVER_TOOLS").map_or_else(|| root.join(".tools"), PathBuf::from);
    let path = env::join_paths(
        std::iter::once(tools.join("bin")).chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
    )?;
    // SAFETY: a build script is single-threaded here.
    unsafe {
        // BPF needs build-std, which the pinned stable compiler has behind this switch.
        env::set_var("RUSTC_BOOTSTRAP", "1");
        env::set_var("PATH", path);
    }
    let ebpf = root.join("observer-ebpf");
    // A change in the ABI must rebuild the kernel side as well.
    println!("cargo:rerun-if-changed={}", root.join("observer-common").display());
    build_ebpf(
        [Package {
            name: "observer-ebpf",
            root_dir: ebpf.to_str().context("the path of the repository is not UTF-8")?,
            ..Default::default()
        }],
        // The one that builds us: rust-toolchain.toml pins it.
        Toolchain::Custom(&env::var("RUSTUP_TOOLCHAIN").context("build with rustup's cargo")?),
    )
    .context("cannot build the kernel side; `cargo xtask setup` installs what it needs")
}

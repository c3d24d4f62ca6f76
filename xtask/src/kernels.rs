//! The kernels that virtual machines boot: Debian's packages, unpacked into the tools folder and kept there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::packages;
use crate::process;
use crate::progress::step;
use crate::tree::Tree;

/// The kernel of the tests, unless another one is asked for.
pub const DEFAULT: &str = "6.12";

/// A kernel series, and how its packages are called. One entry is all that a further kernel takes.
struct Series {
    name: &'static str,
    prefix: &'static str,
    suffix: &'static str,
}

const SERIES: &[Series] = &[
    Series { name: "6.12", prefix: "linux-image-6.12.", suffix: "-cloud-amd64" },
    Series { name: "6.1", prefix: "linux-image-6.1.0-", suffix: "-cloud-amd64" },
];

/// Arguments of `cargo xtask kernels`.
#[derive(clap::Args)]
pub struct Args {
    /// Kernel series, such as 6.12
    #[arg(default_value = DEFAULT)]
    versions: Vec<String>,
}

/// An unpacked kernel.
pub struct Kernel {
    /// The bootable image.
    pub image: PathBuf,
    /// Its folder below lib/modules.
    pub modules: PathBuf,
}

/// Runs `cargo xtask kernels`.
pub fn run(tree: &Tree, args: &Args) -> Result<ExitCode> {
    packages::ensure(packages::VIRTUAL_MACHINE)?;
    for version in &args.versions {
        let kernel = ensure(tree, version)?;
        println!("{version}: {}", kernel.image.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Fetches a kernel, unless it is there.
pub fn ensure(tree: &Tree, name: &str) -> Result<Kernel> {
    let Some(series) = SERIES.iter().find(|series| series.name == name) else {
        let known: Vec<_> = SERIES.iter().map(|series| series.name).collect();
        bail!("kernel {name} is not known; there are {}", known.join(", "));
    };
    let folder = tree.tools.join("kernels").join(name);
    if let Some(kernel) = Kernel::open(&folder) {
        return Ok(kernel);
    }
    fetch(series, &folder).with_context(|| format!("kernel {name} could not be fetched"))?;
    Kernel::open(&folder).with_context(|| format!("{} holds no kernel with its modules", folder.display()))
}

impl Kernel {
    /// Looks into the folder of an unpacked package; nothing, if it is not complete.
    fn open(folder: &Path) -> Option<Self> {
        let modules = only_entry(&folder.join("lib/modules"), "")?;
        let image = only_entry(&folder.join("boot"), "vmlinuz-")?;
        modules.join("modules.dep").is_file().then_some(Self { image, modules })
    }
}

/// Downloads and unpacks beside the final folder, so that what carries the final name is always whole.
fn fetch(series: &Series, folder: &Path) -> Result<()> {
    let package = newest(series)?;
    step(format!("downloading {package}"));
    let staging = folder.with_extension("partial");
    remove(&staging)?;
    fs::create_dir_all(&staging).with_context(|| format!("{} cannot be made", staging.display()))?;
    process::read(
        Command::new("apt-get")
            // Root's own folders are closed to the user that apt-get would otherwise download as.
            .args(["--quiet=2", "--option", "APT::Sandbox::User=root", "download", &package])
            .current_dir(&staging),
    )?;
    let archive = only_entry(&staging, "linux-").context("apt-get has left no package")?;
    process::run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&staging))?;
    fs::remove_file(&archive)?;
    index_modules(&staging)?;
    remove(folder)?;
    fs::rename(&staging, folder).with_context(|| format!("{} cannot be made", folder.display()))
}

/// Lets depmod write down which module needs which.
fn index_modules(root: &Path) -> Result<()> {
    let modules = only_entry(&root.join("lib/modules"), "").context("the package has no modules")?;
    let release = modules.file_name().context("the folder of the modules has no name")?;
    let depmod = process::find_program("depmod").context("depmod is missing: install kmod")?;
    process::run(Command::new(depmod).arg("--basedir").arg(root).arg(release))
}

fn newest(series: &Series) -> Result<String> {
    let listed = search(series)?;
    if let Some(package) = choose(series, &listed) {
        return Ok(package);
    }
    if process::is_root() {
        packages::update_lists()?;
        if let Some(package) = choose(series, &search(series)?) {
            return Ok(package);
        }
    }
    bail!(
        "the package sources of this system have no {}*{}: `apt-get update` as root may help",
        series.prefix,
        series.suffix
    )
}

fn search(series: &Series) -> Result<String> {
    process::read(Command::new("apt-cache").args(["search", "--names-only", series.prefix]))
        .context("the package lists cannot be searched (this takes Debian's apt-cache)")
}

/// Picks the highest version among the lines of `apt-cache search`.
fn choose(series: &Series, listed: &str) -> Option<String> {
    listed
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|package| package.starts_with(series.prefix) && package.ends_with(series.suffix))
        .max_by_key(|package| numbers(package))
        .map(str::to_owned)
}

/// The numbers in a version: 6.12.117+deb12 is [6, 12, 117, 12].
fn numbers(version: &str) -> Vec<u64> {
    version.split(|letter: char| !letter.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// The first entry of a folder whose name starts like that.
fn only_entry(folder: &Path, prefix: &str) -> Option<PathBuf> {
    fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "linux-image-6.12-cloud-amd64 - Linux for x86-64 cloud (meta-package)\n\
                          linux-image-6.12.100+deb12-cloud-amd64 - Linux 6.12 for x86-64 cloud (signed)\n\
                          linux-image-6.12.9+deb12-cloud-amd64 - Linux 6.12 for x86-64 cloud (signed)\n\
                          linux-image-6.12.117+deb12-cloud-amd64-unsigned - Linux 6.12 for x86-64 cloud\n\
                          linux-image-6.12.117+deb12-cloud-amd64-dbg - Debug symbols\n";

    #[test]
    fn the_newest_signed_package_is_chosen_by_number() {
        assert_eq!(choose(&SERIES[0], LISTED).as_deref(), Some("linux-image-6.12.100+deb12-cloud-amd64"));
        assert_eq!(choose(&SERIES[1], LISTED), None);
    }

    #[test]
    fn a_kernel_without_module_index_is_not_complete() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let modules = folder.path().join("lib/modules/6.12.1");
        fs::create_dir_all(&modules)?;
        fs::create_dir_all(folder.path().join("boot"))?;
        fs::write(folder.path().join("boot/vmlinuz-6.12.1"), "")?;
        assert!(Kernel::open(folder.path()).is_none());
        fs::write(modules.join("modules.dep"), "")?;
        assert!(Kernel::open(folder.path()).is_some());
        Ok(())
    }
}

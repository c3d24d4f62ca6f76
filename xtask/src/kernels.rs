//! The kernels that virtual machines boot: Debian's packages, unpacked into the tools folder and kept there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::apt::{self, Apt};
use crate::packages;
use crate::process;
use crate::progress::step;
use crate::tree::Tree;

/// The kernel that boots, unless another one is asked for.
pub const DEFAULT: &str = "6.12";

/// A kernel series, and what its packages are called. One entry is all that a further kernel takes.
struct Series {
    name: &'static str,
    /// How the names of its packages start. The first one is looked for, the others have the same version.
    packages: &'static [&'static str],
    /// How the version in these names starts.
    version: &'static str,
    /// Where Debian has it. What this machine's own package lists have comes first.
    suites: &'static [&'static str],
    /// Whether the tests boot it without being asked to.
    usual: bool,
}

/// How the names of all packages end: kernels for virtual machines have few drivers, and are small.
const SUFFIX: &str = "-cloud-amd64";

/// From old to new.
const SERIES: &[Series] = &[
    Series {
        name: "5.10",
        packages: &["linux-image-"],
        version: "5.10.0-",
        suites: &["bullseye-security", "bullseye"],
        usual: false,
    },
    Series {
        name: "6.1",
        packages: &["linux-image-"],
        version: "6.1.0-",
        suites: &["bookworm-security", "bookworm"],
        usual: true,
    },
    Series {
        name: "6.12",
        packages: &["linux-image-"],
        version: "6.12.",
        suites: &["trixie-security", "trixie"],
        usual: true,
    },
    Series {
        name: "7.x",
        packages: &["linux-binary-", "linux-base-", "linux-modules-"],
        version: "7.",
        suites: &["sid"],
        usual: false,
    },
];

/// Arguments of `cargo xtask kernels`.
#[derive(clap::Args)]
pub struct Args {
    /// Kernel series to fetch
    #[arg(default_value = DEFAULT, value_parser = parse)]
    series: Vec<&'static str>,
}

/// An unpacked kernel.
pub struct Kernel {
    /// The bootable image.
    pub image: PathBuf,
    /// Its folder below lib/modules.
    pub modules: PathBuf,
}

/// The names of all series, from old to new.
pub fn all() -> Vec<&'static str> {
    SERIES.iter().map(|series| series.name).collect()
}

/// The chosen series, each once, from old to new; if none is chosen, those that stand in for a choice.
pub fn chosen(names: &[&str], otherwise: &[&'static str]) -> Vec<&'static str> {
    if names.is_empty() {
        return otherwise.to_vec();
    }
    all().into_iter().filter(|name| names.contains(name)).collect()
}

/// Understands the name of a series on the command line.
pub fn parse(name: &str) -> Result<&'static str> {
    Ok(series(name)?.name)
}

fn series(name: &str) -> Result<&'static Series> {
    SERIES
        .iter()
        .find(|series| series.name == name)
        .with_context(|| format!("kernel {name} is not known; there are {}", all().join(", ")))
}

/// The names of the series that the tests boot without being asked to.
pub fn usual() -> Vec<&'static str> {
    SERIES.iter().filter(|series| series.usual).map(|series| series.name).collect()
}

/// Runs `cargo xtask kernels`.
pub fn run(tree: &Tree, args: &Args) -> Result<ExitCode> {
    packages::ensure(packages::VIRTUAL_MACHINE)?;
    for name in &args.series {
        let kernel = ensure(tree, name)?;
        println!("{name}: {}", kernel.image.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Fetches a kernel, unless it is there.
pub fn ensure(tree: &Tree, name: &str) -> Result<Kernel> {
    let series = series(name)?;
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
        // In newer packages the image lies beside its modules.
        let image =
            only_entry(&folder.join("boot"), "vmlinuz-").or_else(|| only_entry(&modules, "vmlinuz"))?;
        let indexed = ["modules.dep", "modules.builtin"].iter().all(|index| modules.join(index).is_file());
        indexed.then_some(Self { image, modules })
    }
}

/// Puts a kernel together beside the final folder, so that what carries the final name is always whole.
fn fetch(series: &Series, folder: &Path) -> Result<()> {
    let staging = folder.with_file_name(format!("{}.partial-{}", series.name, std::process::id()));
    fs::create_dir_all(&staging).with_context(|| format!("{} cannot be made", staging.display()))?;
    let result = fill(series, &staging).and_then(|root| publish(&root, folder));
    remove(&staging)?;
    result
}

/// Gives a finished kernel its final name, unless another process was faster.
fn publish(root: &Path, folder: &Path) -> Result<()> {
    if Kernel::open(folder).is_some() {
        return Ok(());
    }
    remove(folder)?;
    fs::rename(root, folder).with_context(|| format!("{} cannot be made", folder.display()))
}

/// Downloads and unpacks within the folder, and says where the kernel is.
fn fill(series: &Series, staging: &Path) -> Result<PathBuf> {
    let [downloads, root] = ["downloads", "root"].map(|name| staging.join(name));
    for folder in [&downloads, &root] {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    download(series, &downloads, &staging.join("apt"))?;
    apt::extract(&downloads, &root)?;
    // Newer packages know only /usr/lib; the tools for modules still look into /lib.
    if !root.join("lib").exists() {
        symlink("usr/lib", root.join("lib")).context("the folder lib of the kernel cannot be linked")?;
    }
    index_modules(&root)?;
    Ok(root)
}

/// Downloads the packages with this machine's own lists; if those have none, or are too old, from the suite that has
/// the series.
fn download(series: &Series, downloads: &Path, lists: &Path) -> Result<()> {
    let Err(own) = download_newest(series, &Apt::of_this_machine(), downloads) else { return Ok(()) };
    let suites = series.suites.join(" and ");
    step(format!("looking for kernel {} in {suites}", series.name));
    let apt = Apt::of_suites(series.suites, lists)?;
    // One suite that a mirror does not have says nothing about the others.
    let update = apt.update();
    download_newest(series, &apt, downloads).map_err(|error| {
        let update = update.err().map(|error| format!(" ({error:#})")).unwrap_or_default();
        anyhow!("{own:#}; {suites}: {error:#}{update}")
    })
}

fn download_newest(series: &Series, apt: &Apt, downloads: &Path) -> Result<()> {
    let wanted = format!("{}{}", series.packages[0], series.version);
    let Some(newest) = choose(&wanted, &apt.search(&wanted)?) else {
        bail!("the package lists have no {wanted}*{SUFFIX}");
    };
    let version = &newest[series.packages[0].len()..];
    let packages: Vec<String> = series.packages.iter().map(|package| format!("{package}{version}")).collect();
    step(format!("downloading {}", packages.join(", ")));
    apt.download(&packages, downloads)
}

/// Lets depmod write down which module needs which.
fn index_modules(root: &Path) -> Result<()> {
    let modules = only_entry(&root.join("lib/modules"), "").context("the packages have no modules")?;
    let release = modules.file_name().context("the folder of the modules has no name")?;
    let depmod = process::find_program("depmod").context("depmod is missing: install kmod")?;
    process::run(Command::new(depmod).arg("--basedir").arg(root).arg(release))
}

/// Picks the highest version among the lines of `apt-cache search`.
fn choose(prefix: &str, listed: &str) -> Option<String> {
    listed
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|package| package.starts_with(prefix) && package.ends_with(SUFFIX))
        .max_by_key(|package| numbers(package))
        .map(str::to_owned)
}

/// The numbers in a version: 6.12.117+deb12 is [6, 12, 117, 12].
fn numbers(version: &str) -> Vec<u64> {
    version.split(|letter: char| !letter.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// The first entry of a folder whose name starts like that.
fn only_entry(folder: &Path, prefix: &str) -> Option<PathBuf> {
    entries(folder)
        .into_iter()
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
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
        assert_eq!(
            choose("linux-image-6.12.", LISTED).as_deref(),
            Some("linux-image-6.12.100+deb12-cloud-amd64")
        );
        assert_eq!(choose("linux-image-6.1.0-", LISTED), None);
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
        fs::write(modules.join("modules.builtin"), "")?;
        assert!(Kernel::open(folder.path()).is_some());
        Ok(())
    }

    #[test]
    fn an_image_may_lie_beside_its_modules() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let modules = folder.path().join("usr/lib/modules/7.2.13");
        fs::create_dir_all(&modules)?;
        symlink("usr/lib", folder.path().join("lib"))?;
        for file in ["modules.dep", "modules.builtin", "vmlinuz"] {
            fs::write(modules.join(file), "")?;
        }
        assert!(Kernel::open(folder.path()).is_some_and(|kernel| kernel.image.ends_with("7.2.13/vmlinuz")));
        Ok(())
    }

    #[test]
    fn what_another_process_has_finished_stays() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let [ours, theirs] = ["ours", "theirs"].map(|name| folder.path().join(name));
        for (root, release) in [(&ours, "1"), (&theirs, "2")] {
            let modules = root.join("lib/modules").join(release);
            fs::create_dir_all(&modules)?;
            for file in ["modules.dep", "modules.builtin", "vmlinuz"] {
                fs::write(modules.join(file), "")?;
            }
        }
        publish(&ours, &theirs)?;
        assert!(Kernel::open(&theirs).is_some_and(|kernel| kernel.modules.ends_with("2")));
        fs::remove_file(theirs.join("lib/modules/2/modules.dep"))?;
        publish(&ours, &theirs)?;
        assert!(Kernel::open(&theirs).is_some_and(|kernel| kernel.modules.ends_with("1")));
        Ok(())
    }
}

//! Debian's package tools: with the sources that this machine has, or with other suites from the same mirrors.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::mirrors::{self, Mirror};
use crate::process;

/// The keys that Debian signs its suites with; the second file has those of suites that have had their time.
const KEYRINGS: &[&str] = &["debian-archive-keyring", "debian-archive-removed-keys"];

/// Where Debian keeps them, and how they end before and since trixie.
const KEYRINGS_FOLDER: &str = "/usr/share/keyrings";
const KEYRING_SUFFIXES: &[&str] = &["pgp", "gpg"];

/// The file with the sources of other suites; its suffix tells apt the form.
const SOURCES: &str = "suites.sources";

/// apt with one set of sources.
pub struct Apt {
    options: Vec<String>,
}

impl Apt {
    /// With the sources and the package lists that this machine has.
    pub fn of_this_machine() -> Self {
        // Root's own folders are closed to the user that apt-get would otherwise download as.
        Self { options: vec!["--option=APT::Sandbox::User=root".to_owned()] }
    }

    /// With other suites from this machine's mirrors. Lists and caches stay in the folder. Proxies and the like are
    /// still this machine's.
    pub fn of_suites(suites: &[&str], folder: &Path) -> Result<Self> {
        let sources = stanzas(suites, &mirrors::configured()?, &keyrings());
        if sources.is_empty() {
            bail!("this machine's mirrors have no place for {}", suites.join(" and "));
        }
        fs::create_dir_all(folder.join("lists/partial"))
            .and_then(|()| fs::create_dir_all(folder.join("cache/archives/partial")))
            .and_then(|()| fs::write(folder.join(SOURCES), sources))
            .and_then(|()| fs::write(folder.join("apt.conf"), configuration(folder)))
            .with_context(|| format!("{} cannot be filled", folder.display()))?;
        Ok(Self { options: vec![format!("--config-file={}", folder.join("apt.conf").display())] })
    }

    /// Fetches the package lists. Those that can be had are there even after an error.
    pub fn update(&self) -> Result<()> {
        process::read(self.command("apt-get").args(["--quiet=2", "update"]))
            .context("the package lists could not be fetched")
            .map(drop)
    }

    /// The names of the packages that contain this, each on a line with its description.
    pub fn search(&self, name: &str) -> Result<String> {
        process::read(self.command("apt-cache").args(["search", "--names-only", name]))
            .context("the package lists cannot be searched (this takes Debian's apt-cache)")
    }

    /// Downloads packages into a folder.
    pub fn download(&self, packages: &[String], folder: &Path) -> Result<()> {
        let mut command = self.command("apt-get");
        command.args(["--quiet=2", "download"]).args(packages).current_dir(folder);
        process::read(&mut command).map(drop)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(&self.options);
        command
    }
}

/// Unpacks every package in a folder; nothing is installed.
pub fn extract(downloads: &Path, root: &Path) -> Result<()> {
    let entries =
        fs::read_dir(downloads).with_context(|| format!("{} cannot be read", downloads.display()))?;
    for package in entries {
        process::run(Command::new("dpkg-deb").arg("--extract").arg(package?.path()).arg(root))?;
    }
    Ok(())
}

/// What differs from this machine's own configuration, in apt's form.
fn configuration(folder: &Path) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    let settings = [
        ("APT::Sandbox::User", "root".to_owned()),
        // Otherwise a network that is down is no error.
        ("APT::Update::Error-Mode", "any".to_owned()),
        ("Dir::Etc::sourcelist", at(SOURCES)),
        ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
        ("Dir::Etc::preferences", "/dev/null".to_owned()),
        ("Dir::Etc::preferencesparts", "/dev/null".to_owned()),
        ("Dir::State::lists", at("lists")),
        ("Dir::Cache", at("cache")),
        // Descriptions of programs: more than the lists themselves.
        ("Acquire::Languages", "none".to_owned()),
        ("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false".to_owned()),
    ];
    settings.iter().map(|(name, value)| format!("{name} \"{value}\";\n")).collect()
}

/// The keyrings that this machine has.
fn keyrings() -> Vec<PathBuf> {
    let file = |name: &&str| {
        let path = |suffix| Path::new(KEYRINGS_FOLDER).join(name).with_extension(suffix);
        KEYRING_SUFFIXES.iter().map(path).find(|path| path.is_file())
    };
    KEYRINGS.iter().filter_map(file).collect()
}

/// Sources in apt's own form: every suite, from the mirrors that have its kind.
fn stanzas(suites: &[&str], mirrors: &[Mirror], keyrings: &[PathBuf]) -> String {
    let mut text = String::new();
    for suite in suites {
        for mirror in mirrors.iter().filter(|mirror| mirror.security == suite.ends_with("-security")) {
            text.push_str(&stanza(suite, mirror, keyrings));
        }
    }
    text
}

fn stanza(suite: &str, mirror: &Mirror, keyrings: &[PathBuf]) -> String {
    let mut fields = vec![
        ("types", "deb".to_owned()),
        ("uris", mirror.uri.clone()),
        ("suites", suite.to_owned()),
        ("components", "main".to_owned()),
        ("architectures", "amd64".to_owned()),
        // Nobody signs the lists of an old suite anew; they do not expire by that.
        ("check-valid-until", "no".to_owned()),
    ];
    // A keyring that the machine names may have the keys of its own suite only.
    let own_key = keyrings.is_empty();
    fields.extend(
        mirror
            .trust
            .iter()
            .filter(|(name, _)| own_key || name != "signed-by")
            .map(|(name, value)| (name.as_str(), value.clone())),
    );
    if !own_key {
        let paths: Vec<String> = keyrings.iter().map(|path| path.display().to_string()).collect();
        fields.push(("signed-by", paths.join(" ")));
    }
    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    format!("{lines}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirrors() -> [Mirror; 2] {
        let trust = vec![("signed-by".to_owned(), "/own.gpg".to_owned()), ("trusted".into(), "yes".into())];
        [
            Mirror { uri: "http://a.example/debian".into(), security: false, trust },
            Mirror { uri: "http://a.example/security".into(), security: true, trust: Vec::new() },
        ]
    }

    #[test]
    fn a_suite_comes_from_the_mirror_of_its_kind() {
        let text = stanzas(&["bullseye-security", "bullseye"], &mirrors(), &["/debian.gpg".into()]);
        assert_eq!(
            text,
            "types: deb\nuris: http://a.example/security\nsuites: bullseye-security\ncomponents: main\n\
             architectures: amd64\ncheck-valid-until: no\nsigned-by: /debian.gpg\n\n\
             types: deb\nuris: http://a.example/debian\nsuites: bullseye\ncomponents: main\n\
             architectures: amd64\ncheck-valid-until: no\ntrusted: yes\nsigned-by: /debian.gpg\n\n"
        );
    }

    #[test]
    fn without_debians_keyrings_the_machines_own_key_counts() {
        let text = stanzas(&["sid"], &mirrors(), &[]);
        assert!(text.contains("signed-by: /own.gpg\n"), "{text}");
    }
}

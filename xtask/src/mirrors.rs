//! The Debian mirrors that this machine is configured to use. Other suites are fetched from the same ones: a machine
//! behind a firewall may reach no other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process;

/// Suites of the archive itself, whatever the machine runs. Other names are those of somebody else's packages.
const SUITES: &[&str] =
    &["oldoldstable", "oldstable", "stable", "testing", "unstable", "sid", "bullseye", "bookworm", "trixie"];

/// The options of a source that say how far it is trusted. They hold for its other suites as well.
const TRUST: &[&str] =
    &["signed-by", "trusted", "allow-insecure", "allow-weak", "allow-downgrade-to-insecure", "check-date"];

/// A folder tree with suites of packages, on some server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Its address.
    pub uri: String,
    /// Whether it has the suites of the security team: they lie apart from the others.
    pub security: bool,
    /// What the machine's configuration says about trusting it: names in lower case, and values.
    pub trust: Vec<(String, String)>,
}

/// An entry of apt's configuration, of either form.
#[derive(Debug, Default)]
struct Source {
    types: Vec<String>,
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    enabled: bool,
    trust: Vec<(String, String)>,
}

impl Source {
    fn has_main_packages(&self) -> bool {
        let has = |words: &[String], wanted: &str| words.iter().any(|word| word == wanted);
        self.enabled && has(&self.types, "deb") && has(&self.components, "main")
    }
}

/// Reads the mirrors out of apt's configuration.
pub fn configured() -> Result<Vec<Mirror>> {
    let mut sources = Vec::new();
    for path in source_files()? {
        let text = fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        sources.extend(parse(&path, &text));
    }
    let mirrors = mirrors(&sources, &codename());
    if mirrors.is_empty() {
        bail!("apt's sources on this machine name no mirror of Debian");
    }
    Ok(mirrors)
}

/// The files that apt reads its sources from.
fn source_files() -> Result<Vec<PathBuf>> {
    let folders = process::read(
        Command::new("apt-config")
            .args(["shell", "LIST", "Dir::Etc::sourcelist/f"])
            .args(["PARTS", "Dir::Etc::sourceparts/d"]),
    )
    .context("apt's configuration cannot be read (this takes Debian's apt)")?;
    let mut files: Vec<PathBuf> = assigned(&folders, "LIST").into_iter().collect();
    if let Some(parts) = assigned(&folders, "PARTS") {
        files.extend(fs::read_dir(parts).into_iter().flatten().flatten().map(|entry| entry.path()));
    }
    files.retain(|path| path.is_file() && matches!(suffix(path), "list" | "sources"));
    files.sort();
    Ok(files)
}

/// The path in a line like `NAME='path'`.
fn assigned(shell: &str, name: &str) -> Option<PathBuf> {
    let line = shell.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(PathBuf::from(line.trim_matches('\'')))
}

fn suffix(path: &Path) -> &str {
    path.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default()
}

/// The name of the Debian that this machine runs: it may be newer than the list above.
fn codename() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    codename.unwrap_or_default().trim_matches('"').to_owned()
}

/// Picks the sources that have Debian's own suites, each address once.
fn mirrors(sources: &[Source], codename: &str) -> Vec<Mirror> {
    let debian = |suite: &str| SUITES.contains(&suite) || (suite == codename && !codename.is_empty());
    let mut mirrors: Vec<Mirror> = Vec::new();
    for source in sources.iter().filter(|source| source.has_main_packages()) {
        let Some(security) = source.suites.iter().find_map(|suite| {
            // Until buster the security suites were called `buster/updates`; no such machine builds this.
            let security = suite.strip_suffix("-security");
            debian(security.unwrap_or(suite)).then_some(security.is_some())
        }) else {
            continue;
        };
        for uri in source.uris.iter().filter(|uri| !uri.starts_with("cdrom:")) {
            if !mirrors.iter().any(|known| known.uri == *uri && known.security == security) {
                mirrors.push(Mirror { uri: uri.clone(), security, trust: source.trust.clone() });
            }
        }
    }
    mirrors
}

fn parse(path: &Path, text: &str) -> Vec<Source> {
    if suffix(path) == "sources" { stanzas(text) } else { text.lines().filter_map(one_line).collect() }
}

/// Understands `deb [signed-by=KEYRING] URI SUITE COMPONENT...`.
fn one_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let (kind, rest) = line.split_once(char::is_whitespace)?;
    let (options, rest) = match rest.trim_start().strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    Some(Source {
        types: vec![kind.to_owned()],
        uris: vec![words.next()?.to_owned()],
        suites: vec![words.next()?.to_owned()],
        components: words.map(str::to_owned).collect(),
        enabled: true,
        trust: options.split_whitespace().filter_map(|option| trust(option.split_once('=')?)).collect(),
    })
}

/// Understands the stanzas of a `.sources` file.
fn stanzas(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')).chain([""]) {
        if line.trim().is_empty() {
            sources.extend((!fields.is_empty()).then(|| source(&fields)));
            fields.clear();
        } else if line.starts_with(char::is_whitespace) {
            // A value goes on, such as a key that is written into the file.
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    sources
}

fn source(fields: &[(String, String)]) -> Source {
    let value = |name: &str| fields.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value);
    let words = |name: &str| value(name).split_whitespace().map(str::to_owned).collect();
    Source {
        types: words("types"),
        uris: words("uris"),
        suites: words("suites"),
        components: words("components"),
        enabled: !["no", "false"].contains(&value("enabled").to_ascii_lowercase().as_str()),
        trust: fields.iter().filter_map(|(name, value)| trust((name, value))).collect(),
    }
}

fn trust((name, value): (&str, &str)) -> Option<(String, String)> {
    let name = name.to_ascii_lowercase();
    TRUST.contains(&name.as_str()).then(|| (name, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(uri: &str, security: bool, trust: &[(&str, &str)]) -> Mirror {
        let trust = trust.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Mirror { uri: uri.to_owned(), security, trust }
    }

    fn of(name: &str, text: &str) -> Vec<Mirror> {
        mirrors(&parse(Path::new(name), text), "forky")
    }

    #[test]
    fn one_line_sources_are_understood() {
        let text = "# deb http://a.example/old bookworm main\n\
                    deb [arch=amd64 signed-by=/k.gpg trusted=yes] http://a.example/debian bookworm main # ours\n\
                    deb http://a.example/debian bookworm-updates main\n\
                    deb-src http://s.example/debian bookworm main\n\
                    deb http://a.example/sec bookworm-security main contrib\n";
        let trust = [("signed-by", "/k.gpg"), ("trusted", "yes")];
        assert_eq!(
            of("a.list", text),
            [mirror("http://a.example/debian", false, &trust), mirror("http://a.example/sec", true, &[])]
        );
    }

    #[test]
    fn stanzas_are_understood() {
        let text = "Types: deb deb-src\n# http://old.example\nURIs: http://a.example/debian\n\
                    Suites: forky forky-updates\nComponents: main\nSigned-By:\n -----BEGIN\n .\n -----END\n\n\
                    Enabled: no\nTypes: deb\nURIs: http://off.example\nSuites: sid\nComponents: main\n";
        let key = [("signed-by", "\n -----BEGIN\n .\n -----END")];
        assert_eq!(of("a.sources", text), [mirror("http://a.example/debian", false, &key)]);
    }

    #[test]
    fn packages_of_others_are_no_mirror_of_debian() {
        let text = "deb http://b.example/pg bookworm-pgdg main\ndeb http://c.example nodistro main\n\
                    deb http://d.example bookworm stable\ndeb cdrom:[disk]/ bookworm main\n";
        assert_eq!(of("a.list", text), []);
    }

    #[test]
    fn the_configuration_of_apt_is_read_as_it_prints_it() {
        let text = "LIST='/etc/apt/sources.list'\nPARTS='/etc/apt/sources.list.d/'\n";
        assert_eq!(assigned(text, "PARTS"), Some("/etc/apt/sources.list.d/".into()));
        assert_eq!(assigned(text, "OTHER"), None);
    }
}

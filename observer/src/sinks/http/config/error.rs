//! What is wrong with a web configuration file.

use std::path::{Path, PathBuf};

/// What is wrong with a web configuration file or with a file that it names. Never has a secret in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {}{what}", .file.display(), line_text(.line), key_text(.key))]
pub struct ConfigError {
    /// The web configuration file.
    pub file: PathBuf,
    /// The line, from 1; `None` where it is not about one.
    pub line: Option<u64>,
    /// The key, with dots: `tls_server_config.cert_file`; empty where it is not about one.
    pub key: String,
    /// What is wrong, and what to do.
    pub what: String,
}

/// A key and where it stands.
#[derive(Clone, Debug)]
pub struct Key {
    /// With dots: `tls_server_config.cert_file`.
    pub name: String,
    /// The line, from 1, where it is known.
    pub line: Option<u64>,
}

impl ConfigError {
    pub(in crate::sinks::http) fn of_file(file: &Path, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, key: String::new(), what: what.into() }
    }

    pub(in crate::sinks::http) fn of_key(file: &Path, key: &Key, what: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: key.line, key: key.name.clone(), what: what.into() }
    }
}

fn line_text(line: &Option<u64>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}

fn key_text(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}

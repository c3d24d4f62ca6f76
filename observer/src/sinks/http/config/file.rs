//! What stands in a web configuration file: its keys and their types.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{ConfigError, Key};

/// A text with its place.
pub(super) type Text = Spanned<String>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub tls_server_config: Option<TlsServer>,
    pub http_server_config: Option<HttpServer>,
    pub basic_auth_users: Option<BTreeMap<String, Spanned<Secret>>>,
    pub rate_limit: Option<RateLimit>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TlsServer {
    pub cert: Option<Text>,
    pub key: Option<Spanned<Secret>>,
    pub client_ca: Option<Text>,
    pub cert_file: Option<Text>,
    pub key_file: Option<Text>,
    pub client_auth_type: Option<Text>,
    pub client_ca_file: Option<Text>,
    pub client_allowed_sans: Option<Spanned<Vec<String>>>,
    pub min_version: Option<Text>,
    pub max_version: Option<Text>,
    pub cipher_suites: Option<Vec<Text>>,
    pub prefer_server_cipher_suites: Option<bool>,
    pub curve_preferences: Option<Vec<Text>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HttpServer {
    pub http2: Option<bool>,
    pub headers: Option<BTreeMap<String, Text>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RateLimit {
    pub interval: Option<Text>,
    pub burst: Option<Spanned<i64>>,
}

/// A text that is not shown.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// The line that a value stands on, from 1.
pub(super) fn line<T>(value: &Spanned<T>) -> Option<u64> {
    Some(value.referenced.line()).filter(|line| *line > 0)
}

/// Reads the keys and their types.
pub(super) fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
    // A snippet of the file would show what stands beside the mistake: keys and hashes.
    let options = serde_saphyr::options! { with_snippet: false };
    let mut key = String::new();
    let parsed = serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| {
        serde_path_to_error::deserialize::<_, Option<File>>(deserializer).map_err(|error| {
            key = error.path().to_string();
            error.into_inner()
        })
    });
    parsed.map(Option::unwrap_or_default).map_err(|error| explain(path, &key, &error))
}

fn explain(path: &Path, key: &str, error: &serde_saphyr::Error) -> ConfigError {
    let line = error.location().map(|location| location.line()).filter(|line| *line > 0);
    // A value with its place is a field more to serde.
    let name = key.strip_suffix(".value").unwrap_or(key);
    let name = if name == "." { String::new() } else { name.to_owned() };
    let words = error.without_snippet().to_string();
    let what = words.split(" at line ").next().unwrap_or(&words);
    ConfigError::of_key(path, &Key { name, line }, what)
}

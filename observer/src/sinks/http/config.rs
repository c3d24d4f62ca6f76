//! The web configuration file, `--web.config.file`: the format that Prometheus exporters share.
//!
//! `file` is what stands in it, here it becomes what it means. Whatever cannot be honoured is an error: an operator
//! who asks for TLS 1.1, a cipher suite or a header must not believe to have it.

mod error;
mod file;
mod tls;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use serde_saphyr::Spanned;

pub use self::error::{ConfigError, Key};
pub(super) use self::tls::{ClientAuth, Pem, Source, TlsConfig};

/// A longer file is not read: it is not a web configuration, nor a certificate.
const LONGEST: u64 = 1024 * 1024;

/// A password check takes about 2^cost / 20,000 seconds: above this nobody could log in, and nothing else be checked.
const COSTLIEST: u32 = 16;

/// The headers that may be added to answers, and the values they may have if not any.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-XSS-Protection", &[]),
    ("Strict-Transport-Security", &[]),
];

/// What a web configuration file asks for.
#[derive(Debug)]
pub struct Config {
    /// `None` where there is no TLS.
    pub(super) tls: Option<TlsConfig>,
    /// Whether HTTP/2 is offered; only with TLS.
    pub(super) http2: bool,
    /// Added to each answer.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Each user's bcrypt hash; empty where nobody is asked for a password.
    pub(super) users: BTreeMap<String, String>,
    /// `None` where requests are not limited.
    pub(super) rate_limit: Option<RateLimit>,
}

/// How many requests are answered: a token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RateLimit {
    /// A request may come this often.
    pub interval: Duration,
    /// And this many at once, at least 1.
    pub burst: u32,
}

impl Default for Config {
    /// What an empty file asks for.
    fn default() -> Self {
        Self { tls: None, http2: true, headers: Vec::new(), users: BTreeMap::new(), rate_limit: None }
    }
}

impl Config {
    /// Reads a file. Paths in it count from its own directory.
    ///
    /// # Errors
    /// What cannot be read or honoured: the file, the line and the key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = read_file(path).map_err(|why| ConfigError::of_file(path, why))?;
        let text =
            String::from_utf8(text).map_err(|_| ConfigError::of_file(path, "it is not text in UTF-8"))?;
        Self::parse(path, &text)
    }

    /// As [`Config::read`], of a text that was read before.
    ///
    /// # Errors
    /// The same.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let file = file::parse(path, text)?;
        let about = |key| ConfigErrorAt { path, key };
        let http = file.http_server_config.unwrap_or_default();
        Ok(Self {
            tls: tls::check(path, file.tls_server_config.unwrap_or_default())?,
            http2: http.http2.unwrap_or(true),
            headers: headers(&http.headers.unwrap_or_default(), &about("http_server_config.headers"))?,
            users: users(file.basic_auth_users.unwrap_or_default(), &about("basic_auth_users"))?,
            rate_limit: rate_limit(file.rate_limit.unwrap_or_default(), &about("rate_limit"))?,
        })
    }
}

/// Makes errors about the keys of one section.
struct ConfigErrorAt<'a> {
    path: &'a Path,
    key: &'static str,
}

impl ConfigErrorAt<'_> {
    fn error<T>(&self, name: &str, value: &Spanned<T>, what: impl Into<String>) -> ConfigError {
        let key = Key { name: format!("{}.{name}", self.key), line: file::line(value) };
        ConfigError::of_key(self.path, &key, what)
    }
}

/// Reads a regular file of a sensible size: anything else might never end, also when it is read again.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let file = std::fs::metadata(path).and_then(|meta| {
        if meta.is_file() { File::open(path) } else { Err(std::io::Error::other("it is not a regular file")) }
    });
    let mut bytes = Vec::new();
    file.and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > LONGEST {
        return Err("it is longer than 1 MiB: is it the right file?".to_owned());
    }
    Ok(bytes)
}

fn headers(
    given: &BTreeMap<String, Spanned<String>>,
    at: &ConfigErrorAt<'_>,
) -> Result<Vec<(HeaderName, HeaderValue)>, ConfigError> {
    let mut headers = Vec::new();
    for (name, value) in given.iter().filter(|(_, value)| !value.value.is_empty()) {
        let Some((_, values)) = HEADERS.iter().find(|(known, _)| known == name) else {
            let known = HEADERS.map(|(known, _)| known).join(", ");
            return Err(at.error(name, value, format!("this header cannot be set; these can: {known}")));
        };
        if !values.is_empty() && !values.contains(&value.value.as_str()) {
            return Err(at.error(name, value, format!("may be {}", values.join(" or "))));
        }
        let (Ok(name), Ok(header)) = (HeaderName::from_str(name), HeaderValue::from_str(&value.value)) else {
            return Err(at.error(name, value, "a header's value is one line of visible ASCII"));
        };
        headers.push((name, header));
    }
    Ok(headers)
}

fn users(
    given: BTreeMap<String, Spanned<file::Secret>>,
    at: &ConfigErrorAt<'_>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut users = BTreeMap::new();
    for (name, hash) in given {
        // Basic authentication ends the name at the first colon.
        if name.contains(':') {
            return Err(at.error(&name, &hash, "a user's name cannot contain a colon"));
        }
        check_hash(&hash.value.0).map_err(|what| at.error(&name, &hash, what))?;
        users.insert(name, hash.value.0);
    }
    Ok(users)
}

fn check_hash(hash: &str) -> Result<(), String> {
    let parts = bcrypt::HashParts::from_str(hash).map_err(|_| {
        "is not a bcrypt hash of 60 characters: `htpasswd -nBC 10 \"\" | tr -d ':\\n'` makes one".to_owned()
    })?;
    // A check with a cost below 4 or above 31 would fail, whatever the password.
    match parts.get_cost() {
        4..=COSTLIEST => Ok(()),
        cost => Err(format!(
            "the hash has cost {cost}: a login would take too long or nothing; use 10 to 12 (4 to {COSTLIEST} are taken)"
        )),
    }
}

fn rate_limit(given: file::RateLimit, at: &ConfigErrorAt<'_>) -> Result<Option<RateLimit>, ConfigError> {
    let Some(interval) = given.interval else {
        return match given.burst {
            None => Ok(None),
            Some(burst) => Err(at.error("burst", &burst, "means nothing without an interval")),
        };
    };
    let duration = match interval.value.as_str() {
        "0" => Duration::ZERO,
        text => humantime::parse_duration(text)
            .map_err(|_| at.error("interval", &interval, "is not a duration such as 100ms, 1s or 1m30s"))?,
    };
    if duration.is_zero() {
        return Ok(None);
    }
    let Some(burst) = given.burst else {
        return Err(at.error(
            "interval",
            &interval,
            "needs burst beside it: how many requests may come at once",
        ));
    };
    match u32::try_from(burst.value) {
        Ok(count) if count > 0 => Ok(Some(RateLimit { interval: duration, burst: count })),
        _ => Err(at.error("burst", &burst, "is at least 1: with less no request would be answered")),
    }
}

/// A path as written in the file at `config`: relative ones count from its directory.
fn beside(config: &Path, written: &str) -> PathBuf {
    config.parent().unwrap_or(Path::new("")).join(written)
}

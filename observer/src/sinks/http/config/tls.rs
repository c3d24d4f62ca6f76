//! The section `tls_server_config`: what it asks for, and whether that can be had.

use std::path::{Path, PathBuf};

use rustls::crypto::{SupportedKxGroup, ring};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};
use serde_saphyr::Spanned;

use super::file::{self, Text, TlsServer};
use super::{ConfigError, Key, beside};

const SECTION: &str = "tls_server_config";

/// What a server that speaks TLS is made of; the files named are not read yet.
#[derive(Debug)]
pub struct TlsConfig {
    pub certificate: Pem,
    pub key: Pem,
    pub client_auth: ClientAuth,
    /// The names of which a client's certificate has to have one, if not any will do.
    pub allowed_sans: Option<Vec<String>>,
    pub versions: Vec<&'static SupportedProtocolVersion>,
    /// Most preferred first.
    pub suites: Vec<SupportedCipherSuite>,
    /// Most preferred first.
    pub groups: Vec<&'static dyn SupportedKxGroup>,
    pub prefer_server_order: bool,
}

/// Where something in PEM comes from.
#[derive(Debug)]
pub struct Pem {
    /// The key of the configuration that says so.
    pub key: Key,
    pub source: Source,
}

/// In the configuration itself, or in a file.
pub enum Source {
    Inline(String),
    File(PathBuf),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("Inline"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// What is asked of a client: Go's `tls.ClientAuthType`, whose five values are `No`, and each of the others with
/// `required` or without.
#[derive(Debug)]
pub enum ClientAuth {
    /// No certificate is asked for.
    No,
    /// Any will do, whoever signed it: the client has its key, no more. The authority is told to clients, so that they
    /// can choose among their certificates.
    Unverified { required: bool, authority: Option<Pem> },
    /// One that is sent has to be signed by the authority.
    Verified { required: bool, authority: Pem },
}

impl ClientAuth {
    /// Who signs the certificates of clients.
    pub fn authority(&self) -> Option<&Pem> {
        match self {
            Self::No => None,
            Self::Unverified { authority, .. } => authority.as_ref(),
            Self::Verified { authority, .. } => Some(authority),
        }
    }

    /// Whether no client comes in without a certificate.
    pub fn is_required(&self) -> bool {
        matches!(self, Self::Unverified { required: true, .. } | Self::Verified { required: true, .. })
    }
}

/// Checks the section; `None` where it is empty, which means no TLS.
pub(super) fn check(path: &Path, section: TlsServer) -> Result<Option<TlsConfig>, ConfigError> {
    if is_empty(&section) {
        return Ok(None);
    }
    let missing = |name: &str| {
        let key = Key { name: SECTION.to_owned(), line: None };
        ConfigError::of_key(
            path,
            &key,
            format!("{name}_file (or {name} with the PEM text itself) is missing"),
        )
    };
    let inline_key = section.key.map(|key| Spanned::new(key.value.0, key.referenced, key.defined));
    let certificate = pem(path, "cert", section.cert, section.cert_file)?.ok_or_else(|| missing("cert"))?;
    let key = pem(path, "key", inline_key, section.key_file)?.ok_or_else(|| missing("key"))?;
    let client_ca = pem(path, "client_ca", section.client_ca, section.client_ca_file)?;
    let client_auth = client_auth(path, section.client_auth_type, client_ca)?;
    Ok(Some(TlsConfig {
        certificate,
        key,
        allowed_sans: allowed_sans(path, section.client_allowed_sans, &client_auth)?,
        client_auth,
        versions: versions(path, section.min_version, section.max_version)?,
        suites: suites(path, &section.cipher_suites.unwrap_or_default())?,
        groups: groups(path, &section.curve_preferences.unwrap_or_default())?,
        prefer_server_order: section.prefer_server_cipher_suites.unwrap_or(true),
    }))
}

fn is_empty(section: &TlsServer) -> bool {
    let blank = |text: &Option<Text>| text.as_ref().is_none_or(|text| text.value.is_empty());
    blank(&section.cert)
        && section.key.is_none()
        && blank(&section.client_ca)
        && blank(&section.cert_file)
        && blank(&section.key_file)
        && blank(&section.client_auth_type)
        && blank(&section.client_ca_file)
        && section.client_allowed_sans.is_none()
        && blank(&section.min_version)
        && blank(&section.max_version)
        && section.cipher_suites.is_none()
        && section.curve_preferences.is_none()
}

fn error<T>(path: &Path, name: &str, value: &Spanned<T>, what: impl Into<String>) -> ConfigError {
    ConfigError::of_key(path, &key_of(name, value), what)
}

fn key_of<T>(name: &str, value: &Spanned<T>) -> Key {
    Key { name: format!("{SECTION}.{name}"), line: file::line(value) }
}

/// What `name` or `name_file` says; both at once is a mistake.
fn pem(
    path: &Path,
    name: &str,
    inline: Option<Text>,
    in_file: Option<Text>,
) -> Result<Option<Pem>, ConfigError> {
    let file_name = format!("{name}_file");
    let given = |text: Option<Text>| text.filter(|text| !text.value.is_empty());
    match (given(inline), given(in_file)) {
        (None, None) => Ok(None),
        (Some(_), Some(file)) => {
            Err(error(path, &file_name, &file, format!("{name} is given as well: leave one of the two")))
        }
        (Some(text), None) => Ok(Some(Pem { key: key_of(name, &text), source: Source::Inline(text.value) })),
        (None, Some(file)) => {
            let source = Source::File(beside(path, &file.value));
            Ok(Some(Pem { key: key_of(&file_name, &file), source }))
        }
    }
}

fn client_auth(path: &Path, given: Option<Text>, ca: Option<Pem>) -> Result<ClientAuth, ConfigError> {
    let Some(given) = given.filter(|given| !given.value.is_empty() && given.value != "NoClientCert") else {
        let what = "nobody is asked for a certificate: set client_auth_type: RequireAndVerifyClientCert";
        return ca.map_or(Ok(ClientAuth::No), |ca| Err(ConfigError::of_key(path, &ca.key, what)));
    };
    let verified = |required, ca| match ca {
        Some(authority) => Ok(ClientAuth::Verified { required, authority }),
        None => {
            let what = "needs client_ca_file (or client_ca): who signs the certificates of clients";
            Err(error(path, "client_auth_type", &given, what))
        }
    };
    match given.value.as_str() {
        "RequestClientCert" => Ok(ClientAuth::Unverified { required: false, authority: ca }),
        // The second is the name of earlier days.
        "RequireAnyClientCert" | "RequireClientCert" => {
            Ok(ClientAuth::Unverified { required: true, authority: ca })
        }
        "VerifyClientCertIfGiven" => verified(false, ca),
        "RequireAndVerifyClientCert" => verified(true, ca),
        _ => {
            let what = "may be NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or \
                        RequireAndVerifyClientCert";
            Err(error(path, "client_auth_type", &given, what))
        }
    }
}

fn allowed_sans(
    path: &Path,
    given: Option<Spanned<Vec<String>>>,
    auth: &ClientAuth,
) -> Result<Option<Vec<String>>, ConfigError> {
    let Some(given) = given else { return Ok(None) };
    let name = "client_allowed_sans";
    if !auth.is_required() {
        let what = "needs client_auth_type RequireAndVerifyClientCert (or RequireAnyClientCert): else a client may \
                    come without a certificate, and there is no name to compare";
        return Err(error(path, name, &given, what));
    }
    if given.value.is_empty() {
        return Err(error(path, name, &given, "names nobody: no client could connect"));
    }
    Ok(Some(given.value))
}

fn versions(
    path: &Path,
    min: Option<Text>,
    max: Option<Text>,
) -> Result<Vec<&'static SupportedProtocolVersion>, ConfigError> {
    let of = |name: &str, given: &Option<Text>, default: u8| match given {
        None => Ok(default),
        Some(given) => match given.value.as_str() {
            "" => Ok(default),
            "TLS12" => Ok(2),
            "TLS13" => Ok(3),
            "TLS10" | "TLS11" => {
                Err(error(path, name, given, "is not spoken any more: it is broken; TLS12 and TLS13 are"))
            }
            _ => Err(error(path, name, given, "may be TLS12 or TLS13")),
        },
    };
    let (lowest, highest) = (of("min_version", &min, 2)?, of("max_version", &max, 3)?);
    if let Some(min) = min.filter(|_| lowest > highest) {
        return Err(error(path, "min_version", &min, "is above max_version"));
    }
    let all = [(3, &version::TLS13), (2, &version::TLS12)];
    Ok(all.into_iter().filter(|(n, _)| (lowest..=highest).contains(n)).map(|(_, version)| version).collect())
}

/// As with Go, the suites of TLS 1.3 are all there whatever is chosen for 1.2.
fn suites(path: &Path, given: &[Text]) -> Result<Vec<SupportedCipherSuite>, ConfigError> {
    if given.is_empty() {
        return Ok(ring::ALL_CIPHER_SUITES.to_vec());
    }
    let is_13 = |suite: &SupportedCipherSuite| suite.tls13().is_some();
    let mut suites: Vec<_> = ring::ALL_CIPHER_SUITES.iter().copied().filter(is_13).collect();
    for wanted in given {
        let known = ring::ALL_CIPHER_SUITES.iter().find(|suite| name_of(suite) == wanted.value);
        match known {
            Some(suite) if suites.contains(suite) => {}
            Some(suite) => suites.push(*suite),
            None => {
                let all: Vec<String> = ring::ALL_CIPHER_SUITES.iter().map(name_of).collect();
                let what = format!("this suite is not spoken, or unknown; these are: {}", all.join(", "));
                return Err(error(path, "cipher_suites", wanted, what));
            }
        }
    }
    Ok(suites)
}

/// The name that the standard gives it, and Go: rustls writes `TLS13_` where that has `TLS_`.
fn name_of(suite: &SupportedCipherSuite) -> String {
    let name = format!("{:?}", suite.suite());
    name.strip_prefix("TLS13_").map_or(name.clone(), |rest| format!("TLS_{rest}"))
}

fn groups(path: &Path, given: &[Text]) -> Result<Vec<&'static dyn SupportedKxGroup>, ConfigError> {
    if given.is_empty() {
        return Ok(ring::ALL_KX_GROUPS.to_vec());
    }
    let one = |wanted: &Text| match wanted.value.as_str() {
        "X25519" => Ok(ring::kx_group::X25519),
        "CurveP256" => Ok(ring::kx_group::SECP256R1),
        "CurveP384" => Ok(ring::kx_group::SECP384R1),
        _ => {
            let what = "this curve is not offered, or unknown; X25519, CurveP256 and CurveP384 are";
            Err(error(path, "curve_preferences", wanted, what))
        }
    };
    given.iter().map(one).collect()
}

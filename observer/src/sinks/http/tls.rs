//! What rustls serves with, made of what the web configuration asks for.

mod client;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier};
use rustls::{RootCertStore, ServerConfig};

use self::client::{NamedClient, UnverifiedClient};
use super::config::{ClientAuth, ConfigError, Pem, Source, TlsConfig, read_file};
use super::expiry::Expiry;

/// The files that `tls` names: when one of them changes, it has to be built anew.
pub(super) fn files(tls: &TlsConfig) -> impl Iterator<Item = &PathBuf> {
    [Some(&tls.certificate), Some(&tls.key), tls.client_auth.authority()].into_iter().flatten().filter_map(
        |pem| match &pem.source {
            Source::File(path) => Some(path),
            Source::Inline(_) => None,
        },
    )
}

/// What rustls serves with.
pub(super) struct Tls {
    pub server: Arc<ServerConfig>,
    /// `None` where it cannot be read from the certificates.
    pub expiry: Option<Expiry>,
}

/// Reads certificates and keys and makes what rustls serves with. `config` is the web configuration file, for errors.
///
/// # Errors
/// A file that is missing or has not in it what it should; a key that is not the certificate's.
pub(super) fn build(config: &Path, tls: &TlsConfig, http2: bool) -> Result<Tls, ConfigError> {
    let provider = Arc::new(CryptoProvider {
        cipher_suites: tls.suites.clone(),
        kx_groups: tls.groups.clone(),
        ..ring::default_provider()
    });
    let about = |pem: &Pem, what: String| ConfigError::of_key(config, &pem.key, what);
    let chain = certificates(config, &tls.certificate)?;
    let expiry = Expiry::of(&chain);
    let key = private_key(config, &tls.key)?;
    let verifier = client_verifier(config, tls, &provider)?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&tls.versions)
        .map_err(|error| about(&tls.certificate, format!("TLS cannot be had like this: {error}")))?;
    let mut server = builder
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| about(&tls.key, format!("does not go with the certificate: {error}")))?;
    server.ignore_client_order = tls.prefer_server_order;
    if !matches!(tls.client_auth, ClientAuth::No) {
        // A session taken up again would not show whether the certificate is valid still.
        server.session_storage = Arc::new(NoServerSessionStorage {});
    }
    if http2 {
        server.alpn_protocols.push(b"h2".to_vec());
    }
    server.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(Tls { server: Arc::new(server), expiry })
}

fn client_verifier(
    config: &Path,
    tls: &TlsConfig,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
    let verifier: Arc<dyn ClientCertVerifier> = match &tls.client_auth {
        ClientAuth::No => WebPkiClientVerifier::no_client_auth(),
        ClientAuth::Unverified { required, authority } => {
            let hints = authority.as_ref().map(|ca| roots(config, ca)).transpose()?;
            let hints = hints.map(|roots| roots.subjects()).unwrap_or_default();
            Arc::new(UnverifiedClient::new(*required, hints, provider.signature_verification_algorithms))
        }
        ClientAuth::Verified { required, authority } => {
            let roots = roots(config, authority)?.into();
            let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
            let builder = if *required { builder } else { builder.allow_unauthenticated() };
            builder.build().map_err(|error| ConfigError::of_key(config, &authority.key, error.to_string()))?
        }
    };
    Ok(match &tls.allowed_sans {
        Some(allowed) => Arc::new(NamedClient::new(verifier, allowed.clone())),
        None => verifier,
    })
}

fn roots(config: &Path, ca: &Pem) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(config, ca)? {
        roots.add(certificate).map_err(|error| {
            ConfigError::of_key(
                config,
                &ca.key,
                format!("has a certificate that cannot sign others: {error}"),
            )
        })?;
    }
    Ok(roots)
}

fn certificates(config: &Path, pem: &Pem) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let text = read(config, pem)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| wrong(config, pem, &format!("is not sound PEM: {error}")))?;
    if found.is_empty() {
        return Err(wrong(config, pem, "has no certificate in PEM (-----BEGIN CERTIFICATE-----) in it"));
    }
    Ok(found)
}

fn private_key(config: &Path, pem: &Pem) -> Result<PrivateKeyDer<'static>, ConfigError> {
    let text = read(config, pem)?;
    // What is wrong with a key is not repeated: it might be the key.
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        wrong(config, pem, "has no private key in PEM in it (PKCS#8, PKCS#1 or SEC1, without a passphrase)")
    })
}

fn read(config: &Path, pem: &Pem) -> Result<Vec<u8>, ConfigError> {
    match &pem.source {
        Source::Inline(text) => Ok(text.as_bytes().to_vec()),
        Source::File(path) => {
            read_file(path).map_err(|why| wrong(config, pem, &format!("cannot be read: {why}")))
        }
    }
}

fn wrong(config: &Path, pem: &Pem, what: &str) -> ConfigError {
    let what = match &pem.source {
        Source::Inline(_) => what.to_owned(),
        Source::File(path) => format!("{} {what}", path.display()),
    };
    ConfigError::of_key(config, &pem.key, what)
}

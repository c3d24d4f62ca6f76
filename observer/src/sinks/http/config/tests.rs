//! What a web configuration may be, and what is said of one that may not.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("/etc/observer/web.yml"), text)
}

fn refusal(text: &str) -> String {
    read(text).expect_err(text).to_string()
}

const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

#[test]
fn an_empty_file_asks_for_nothing() {
    for text in ["", "# nothing\n", "---\n", "tls_server_config: {}\n", "basic_auth_users:\nrate_limit:\n"] {
        let config = read(text).expect(text);
        assert!(config.tls.is_none() && config.users.is_empty() && config.headers.is_empty());
        assert!(config.http2 && config.rate_limit.is_none());
    }
}

#[test]
fn everything_that_the_format_has_is_read() {
    let config = read(&format!(
        "tls_server_config:
  cert_file: web.crt
  key_file: /keys/web.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ../ca.crt
  client_allowed_sans: [prometheus.example, 'mailto:a@b']
  min_version: TLS12
  max_version: TLS12
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [CurveP384, X25519]
http_server_config:
  http2: false
  headers:
    X-Frame-Options: deny
    X-Content-Type-Options: nosniff
    Content-Security-Policy: default-src 'self'
    X-XSS-Protection: ''
basic_auth_users:
  alice: {HASH}
  böb: '{HASH}'
rate_limit: {{ interval: 1m30s, burst: 20 }}
"
    ))
    .unwrap();
    let tls = config.tls.unwrap();
    let path = |pem: &Pem| match &pem.source {
        Source::File(path) => path.to_string_lossy().into_owned(),
        Source::Inline(_) => "inline".to_owned(),
    };
    assert_eq!(path(&tls.certificate), "/etc/observer/web.crt");
    assert_eq!(path(&tls.key), "/keys/web.key");
    assert_eq!(tls.client_auth.authority().map(path).as_deref(), Some("/etc/observer/../ca.crt"));
    assert!(matches!(tls.client_auth, ClientAuth::Verified { required: true, .. }));
    assert_eq!(tls.allowed_sans.unwrap().len(), 2);
    assert_eq!(tls.versions, [&rustls::version::TLS12]);
    assert_eq!(tls.suites.iter().filter(|suite| suite.tls13().is_none()).count(), 1);
    assert_eq!(tls.groups.len(), 2);
    assert!(!tls.prefer_server_order && !config.http2);
    assert_eq!(config.headers.len(), 3);
    assert_eq!(config.users.keys().collect::<Vec<_>>(), ["alice", "böb"]);
    assert_eq!(config.rate_limit, Some(RateLimit { interval: Duration::from_secs(90), burst: 20 }));
}

#[test]
fn the_five_ways_of_asking_for_a_certificate_mean_what_they_mean_in_go() {
    let auth = |kind: &str, ca: &str| {
        let text = format!("tls_server_config: {{cert: c, key: k, client_auth_type: {kind}{ca}}}");
        read(&text).map(|config| config.tls.unwrap().client_auth)
    };
    let ca = ", client_ca: x";
    assert!(matches!(auth("NoClientCert", ""), Ok(ClientAuth::No)));
    for (kind, required) in
        [("RequestClientCert", false), ("RequireAnyClientCert", true), ("RequireClientCert", true)]
    {
        for ca in ["", ca] {
            assert!(
                matches!(auth(kind, ca), Ok(ClientAuth::Unverified { required: r, .. }) if r == required)
            );
        }
    }
    for (kind, required) in [("VerifyClientCertIfGiven", false), ("RequireAndVerifyClientCert", true)] {
        assert!(matches!(auth(kind, ca), Ok(ClientAuth::Verified { required: r, .. }) if r == required));
        // Go would take the certificates of every public authority: nobody can mean that.
        assert!(auth(kind, "").unwrap_err().to_string().contains("client_ca_file"));
    }
}

#[test]
fn what_cannot_be_honoured_is_named_with_file_line_and_key() {
    let tls = "tls_server_config:\n  cert: c\n  key: k\n";
    for (text, parts) in [
        (format!("{tls}  min_version: TLS11\n"), ["web.yml:4: ", "min_version: ", "TLS12 and TLS13"]),
        (format!("{tls}  max_version: SSL30\n"), ["web.yml:4: ", "max_version: ", "may be TLS12 or TLS13"]),
        (format!("{tls}  min_version: TLS13\n  max_version: TLS12\n"), [":4: ", "min_version: ", "above"]),
        (
            format!("{tls}  cipher_suites:\n  - TLS_AES_128_GCM_SHA256\n  - TLS_RSA_WITH_AES_128_CBC_SHA\n"),
            ["web.yml:6: ", "cipher_suites: ", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
        ),
        (format!("{tls}  curve_preferences: [CurveP521]\n"), [":4: ", "curve_preferences: ", "X25519"]),
        (format!("{tls}  cert_file: web.crt\n"), [":4: ", "tls_server_config.cert_file: ", "cert is given"]),
        (format!("{tls}  client_ca: x\n"), [":4: ", "client_ca: ", "client_auth_type"]),
        (format!("{tls}  client_auth_type: Some\n"), [":4: ", "client_auth_type: ", "may be NoClientCert"]),
        (format!("{tls}  client_allowed_sans: [a]\n"), [":4: ", "client_allowed_sans: ", "needs"]),
        (format!("{tls}  clientca: x\n"), [":4", "tls_server_config", "clientca"]),
        (
            "tls_server_config:\n  min_version: TLS13\n".to_owned(),
            ["web.yml", "tls_server_config", "cert_file"],
        ),
        ("http_server_config:\n  http2: maybe\n".to_owned(), [":2", "http_server_config.http2", "bool"]),
        (
            "http_server_config:\n  headers:\n    Server: x\n".to_owned(),
            [":3: ", "headers.Server: ", "X-Frame-Options"],
        ),
        (
            "http_server_config:\n  headers:\n    X-Frame-Options: DENY\n".to_owned(),
            [":3: ", "headers.X-Frame-Options: ", "deny or sameorigin"],
        ),
        (
            "http_server_config:\n  headers:\n    X-XSS-Protection: \"a\\nb\"\n".to_owned(),
            [":3: ", "X-XSS-Protection: ", "one line"],
        ),
        ("basic_auth_users:\n  alice: secret\n".to_owned(), [":2: ", "basic_auth_users.alice: ", "htpasswd"]),
        (
            format!("basic_auth_users:\n  alice: {}\n", HASH.replace("$10$", "$31$")),
            [":2: ", "alice: ", "cost 31"],
        ),
        (format!("basic_auth_users:\n  'a:b': {HASH}\n"), [":2: ", "a:b: ", "colon"]),
        (format!("basic_auth_users:\n  a: {HASH}\n  a: {HASH}\n"), [":3", "duplicate", "a"]),
        ("rate_limit:\n  interval: soon\n  burst: 1\n".to_owned(), [":2: ", "interval: ", "duration"]),
        ("rate_limit:\n  interval: 1s\n  burst: 0\n".to_owned(), [":3: ", "burst: ", "at least 1"]),
        ("rate_limit:\n  interval: 1s\n".to_owned(), [":2: ", "interval: ", "burst"]),
        ("rate_limit:\n  burst: many\n".to_owned(), [":2: ", "rate_limit.burst: ", "i64"]),
        ("web: 1\n".to_owned(), [":1", "web", "tls_server_config"]),
        ("a: [1\n".to_owned(), ["web.yml:", "", ""]),
    ] {
        let words = refusal(&text);
        assert!(parts.iter().all(|part| words.contains(part)), "{words:?} has not all of {parts:?}");
    }
}

#[test]
fn no_secret_is_told() {
    for text in [
        "basic_auth_users:\n  alice: hunter2\n",
        "basic_auth_users: hunter2\n",
        "basic_auth_users: [hunter2]\n",
        "basic_auth_users:\n  alice: [hunter2]\n",
        "basic_auth_users:\n  alice: hunter2\n  bob: \"\n",
        "tls_server_config:\n  key: {hunter2: 1}\n",
        "tls_server_config:\n  key: [hunter2]\n",
    ] {
        let words = refusal(text);
        assert!(!words.contains("hunter2"), "{words}");
    }
}

#[test]
fn a_file_that_is_none_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let words = |path: &Path| Config::read(path).expect_err("no configuration").to_string();
    assert!(words(&folder.path().join("missing.yml")).contains("missing.yml: No such file"));
    assert!(words(folder.path()).contains("not a regular file"));
    assert!(words(Path::new("/dev/zero")).contains("not a regular file"));
    let path = folder.path().join("web.yml");
    std::fs::write(&path, [0xff, 0xfe, 0xff]).unwrap();
    assert!(words(&path).contains("UTF-8"));
    std::fs::write(&path, "#".repeat(2 << 20)).unwrap();
    assert!(words(&path).contains("longer than 1 MiB"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = read(&text);
    }

    #[test]
    fn no_yaml_makes_it_panic(text in "[-a-z_:{}\\[\\]&*!|>'\"%@`, \n\t~0-9<]{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_value_makes_it_panic(
        key in proptest::sample::select(vec![
            "cert", "key", "client_auth_type", "client_ca", "min_version", "cipher_suites", "curve_preferences",
            "client_allowed_sans", "prefer_server_cipher_suites", "cert_file",
        ]),
        value in any::<String>(),
    ) {
        let quoted = serde_json::to_string(&value).unwrap();
        for text in [&quoted, &format!("[{quoted}]"), &value] {
            let _ = read(&format!("tls_server_config:\n  {key}: {text}\n"));
        }
    }

    #[test]
    fn whatever_is_taken_as_a_hash_can_be_checked(hash in "\\$2[abxy]\\$(0[4-5]|[0-9+][0-9])\\$[./A-Za-z0-9]{53}") {
        if read(&format!("basic_auth_users: {{a: '{hash}'}}")).is_ok() && hash.starts_with("$2y$0") {
            prop_assert!(bcrypt::verify("x", &hash).is_ok());
        }
    }
}

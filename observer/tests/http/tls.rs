//! TLS, as curl and openssl find it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use observer::sinks::http::{Bound, ConfigState, Count, Notice};

use crate::bench::{Authority, Bench, openssl, wait_until};

const MUTUAL: &str = "client_auth_type: RequireAndVerifyClientCert\nclient_ca_file: clients.crt\n";

/// A bench whose clients are known by certificates of the authority `clients`: alice; and of another: mallory.
fn mutual(more: &str) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    Authority::new(folder.path(), "ca").issue("web", "DNS:localhost");
    let clients = Authority::new(folder.path(), "clients");
    clients.issue("alice", "DNS:alice.example,IP:192.0.2.1,email:alice@example,URI:spiffe://example/alice");
    clients.issue("bob", "DNS:bob.example");
    Authority::new(folder.path(), "others").issue("mallory", "DNS:alice.example");
    let more: String = more.lines().map(|line| format!("  {line}\n")).collect();
    Bench::of(folder, &format!("tls_server_config:\n  cert_file: web.crt\n  key_file: web.key\n{more}"))
}

fn with(bench: &Bench, name: &str) -> (u16, String) {
    let (certificate, key) = (format!("{name}.crt"), format!("{name}.key"));
    let answer = bench.curl_tls("/who", &["--cert", &certificate, "--key", &key]);
    (answer.code, answer.text)
}

fn without(bench: &Bench) -> (u16, String) {
    let answer = bench.curl_tls("/who", &[]);
    (answer.code, answer.text)
}

fn s_client(bench: &Bench, arguments: &[&str]) -> String {
    let address = bench.address().to_string();
    let all =
        [&["s_client", "-connect", &address, "-CAfile", "ca.crt", "-servername", "localhost"], arguments]
            .concat();
    openssl(bench.folder.path(), &all).text()
}

#[test]
fn tls_is_spoken_and_http2_with_it() {
    let bench = Bench::tls("");
    let answer = bench.curl_tls("/who", &[]);
    assert_eq!((answer.code, answer.version.as_str()), (200, "2"), "{answer:?}");
    assert_eq!(answer.text, "nobody certificate=false tls=true loopback=true\n");
    let answer = bench.curl_tls("/who", &["--http1.1"]);
    assert_eq!((answer.code, answer.version.as_str()), (200, "1.1"));
    assert_eq!(bench.curl_tls("/length", &["--data", "four"]).text, "4\n");
    assert_eq!(bench.curl("/", &[]).code, 0, "plain HTTP is not answered");
}

/// The beginning of HTTP/2 as a client speaks it, its settings, and a request for /: by the numbers of RFC 7540 and 7541.
const HTTP2_REQUEST: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \x00\x00\x00\x04\x00\x00\x00\x00\x00\
    \x00\x00\x0e\x01\x05\x00\x00\x00\x01\x82\x87\x84\x41\x09localhost";

#[test]
fn an_http2_client_that_looks_elsewhere_does_not_keep_a_server_from_stopping() {
    let bench = Bench::tls("");
    let address = bench.address().to_string();
    // It answers no ping, and never closes.
    let arguments = ["s_client", "-connect", &address, "-alpn", "h2", "-quiet", "-servername", "localhost"];
    let mut command = openssl(bench.folder.path(), &arguments).command();
    let mut client =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut requests = client.stdin.take().unwrap();
    requests.write_all(HTTP2_REQUEST).unwrap();
    let mut answers = BufReader::new(client.stdout.take().unwrap());
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello\n") {
        assert!(answers.read_until(b'\n', &mut answer).unwrap() > 0, "{}", answer.escape_ascii());
    }
    let status = bench.status();
    assert_eq!(status.open_connections(), 1);
    bench.server.stop();
    assert_eq!(status.count(Count::TooSlow), 0, "it was waited for until all that was left was cut");
    drop(requests);
    client.wait().unwrap();
}

#[test]
fn http2_can_be_left_out() {
    let bench = Bench::tls("");
    let config = fs::read_to_string(bench.path("web.yml")).unwrap();
    fs::write(bench.path("web.yml"), format!("{config}http_server_config: {{http2: false}}\n")).unwrap();
    assert_eq!(bench.curl_tls("/", &[]).version, "1.1");
}

#[test]
fn versions_and_suites_are_those_configured() {
    let bench = Bench::tls("max_version: TLS12\ncipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n");
    let text = s_client(&bench, &[]);
    assert!(text.contains("TLSv1.2") && text.contains("ECDHE-ECDSA-AES256-GCM-SHA384"), "{text}");
    assert!(s_client(&bench, &["-tls1_3"]).contains("protocol version"));
    let bench = Bench::tls("min_version: TLS13\ncurve_preferences: [CurveP384]\n");
    assert!(s_client(&bench, &["-tls1_2"]).contains("protocol version"));
    let text = s_client(&bench, &[]);
    assert!(text.contains("TLSv1.3") && (text.contains("P-384") || text.contains("secp384r1")), "{text}");
}

#[test]
fn only_a_certificate_of_the_authority_comes_in_where_one_is_required() {
    let bench = mutual(MUTUAL);
    assert_eq!(with(&bench, "alice"), (200, "nobody certificate=true tls=true loopback=true\n".to_owned()));
    assert_eq!(with(&bench, "mallory").0, 0);
    assert_eq!(without(&bench).0, 0);
    assert_eq!(with(&bench, "alice").0, 200);
}

#[test]
fn the_weaker_ways_of_asking_are_as_in_go() {
    let bench = mutual("client_auth_type: RequestClientCert\n");
    for answer in [with(&bench, "alice"), with(&bench, "mallory"), without(&bench)] {
        assert_eq!(answer, (200, "nobody certificate=false tls=true loopback=true\n".to_owned()));
    }
    let bench = mutual("client_auth_type: RequireAnyClientCert\n");
    assert_eq!([with(&bench, "alice").0, with(&bench, "mallory").0, without(&bench).0], [200, 200, 0]);
    let bench = mutual("client_auth_type: VerifyClientCertIfGiven\nclient_ca_file: clients.crt\n");
    assert_eq!([with(&bench, "alice").0, with(&bench, "mallory").0, without(&bench).0], [200, 0, 200]);
    assert!(with(&bench, "alice").1.contains("certificate=true"));
    assert!(without(&bench).1.contains("certificate=false"));
}

#[test]
fn a_name_in_the_certificate_can_be_asked_for() {
    for name in ["alice.example", "192.0.2.1", "alice@example", "spiffe://example/alice"] {
        let bench = mutual(&format!("{MUTUAL}client_allowed_sans: ['{name}', nobody.example]\n"));
        assert_eq!(
            [with(&bench, "alice").0, with(&bench, "bob").0, with(&bench, "mallory").0],
            [200, 0, 0],
            "{name}"
        );
    }
}

#[test]
fn what_nothing_can_be_served_with_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    authority.issue("web", "DNS:localhost");
    authority.issue("other", "DNS:localhost");
    fs::write(
        folder.path().join("garbage"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    fs::write(folder.path().join("broken"), "-----BEGIN CERTIFICATE-----\n?").unwrap();
    let encrypt = ["pkcs8", "-topk8", "-in", "web.key", "-passout", "pass:hunter2", "-out", "locked.key"];
    openssl(folder.path(), &encrypt).succeed();
    let clients = "\n  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file";
    for (certificate, key, more, parts) in [
        (
            "missing.crt",
            "web.key",
            "",
            ["web.yml:2: tls_server_config.cert_file: ", "missing.crt cannot be read"],
        ),
        ("web.key", "web.key", "", ["web.yml:2: ", "web.key has no certificate"]),
        ("broken", "web.key", "", ["web.yml:2: ", "broken is not sound PEM"]),
        ("garbage", "web.key", "", ["web.yml:3: ", "does not go with the certificate"]),
        (
            "web.crt",
            "other.key",
            "",
            ["web.yml:3: tls_server_config.key_file: ", "does not go with the certificate"],
        ),
        ("web.crt", "web.crt", "", ["web.yml:3: ", "web.crt has no private key"]),
        ("web.crt", "locked.key", "", ["web.yml:3: ", "without a passphrase"]),
        (
            "web.crt",
            "web.key",
            "missing.crt",
            ["web.yml:5: tls_server_config.client_ca_file: ", "cannot be read"],
        ),
        ("web.crt", "web.key", "garbage", ["web.yml:5: ", "cannot sign others"]),
    ] {
        let path = folder.path().join("web.yml");
        let more = if more.is_empty() { String::new() } else { format!("{clients}: {more}") };
        let text = format!("tls_server_config:\n  cert_file: {certificate}\n  key_file: {key}{more}\n");
        fs::write(&path, text).unwrap();
        let error = Bound::open(&"127.0.0.1:0".parse().unwrap(), Some(&path)).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error:?} has not all of {parts:?}");
    }
}

#[test]
fn certificate_and_key_may_stand_in_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    Authority::new(folder.path(), "ca").issue("web", "DNS:localhost");
    let indented = |name: &str| {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        text.lines().map(|line| format!("    {line}\n")).collect::<String>()
    };
    let config =
        format!("tls_server_config:\n  cert: |\n{}  key: |\n{}", indented("web.crt"), indented("web.key"));
    assert_eq!(Bench::of(folder, &config).curl_tls("/", &[]).code, 200);
}

#[test]
fn a_new_certificate_is_served_at_once_and_a_bad_one_never() {
    let bench = Bench::tls("");
    let serial = |bench: &Bench| {
        let text = s_client(bench, &[]);
        let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----").expect(&text);
        rest.split_once("-----END").unwrap().0.to_owned()
    };
    let first = serial(&bench);
    assert_eq!(serial(&bench), first);

    fs::remove_file(bench.path("web.crt")).unwrap();
    assert_eq!(serial(&bench), first);
    let told = bench.told();
    assert!(
        matches!(&told[..], [Notice::Config(ConfigState::Stale(why))] if why.contains("tls_server_config.cert_file")),
        "{told:?}"
    );
    assert_eq!(bench.curl_tls("/", &[]).code, 200);
    assert_eq!(bench.told(), []);

    Authority { folder: bench.folder.path(), name: "ca" }.issue("web", "DNS:localhost");
    assert_ne!(serial(&bench), first);
    // The key is written before the certificate: in between they do not go together.
    assert_eq!(bench.told().last(), Some(&Notice::Config(ConfigState::Current)));
    assert_eq!(bench.curl_tls("/", &[]).code, 200);
}

#[test]
fn a_certificate_that_ends_soon_is_told_once_and_served() {
    let folder = tempfile::tempdir().unwrap();
    Authority::new(folder.path(), "ca").issue_for_days(6, "web", "DNS:localhost,IP:127.0.0.1");
    let bench = Bench::of(folder, "tls_server_config: {cert_file: web.crt, key_file: web.key}\n");
    assert!((0..3).all(|_| bench.curl_tls("/", &[]).code == 200));
    let told = bench.told();
    let [notice @ Notice::CertificateEnds(end)] = &told[..] else { panic!("{told:?}") };
    assert!(notice.to_string().contains(end), "{notice}");

    let authority = Authority { folder: bench.folder.path(), name: "ca" };
    authority.issue("web", "DNS:localhost,IP:127.0.0.1");
    assert_eq!(bench.curl_tls("/", &[]).code, 200);
    assert_eq!(bench.told().last(), None);
    // OpenSSL takes no negative days: one of none has ended by the next second.
    authority.issue_for_days(0, "web", "DNS:localhost,IP:127.0.0.1");
    wait_until(|| {
        bench.curl_tls("/", &["--insecure"]).code == 200
            && matches!(bench.told().last(), Some(Notice::CertificateOver(_)))
    });
}

#[test]
fn tls_cannot_be_lost_by_a_reload() {
    let bench = Bench::tls("");
    fs::write(bench.path("web.yml"), "").unwrap();
    assert_eq!(bench.curl_tls("/", &[]).code, 200);
    let answer = bench.curl("/", &[]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(matches!(bench.status().config(), ConfigState::Stale(why) if why.contains("start it anew")));
    wait_until(|| bench.status().count(Count::HandshakeFailed) == 1);
}

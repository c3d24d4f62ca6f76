//! A server with a trivial router, certificates made by openssl, and curl.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use axum::{
    Extension, Router,
    body::Bytes,
    routing::{get, post},
};
use observer::sinks::http::{Bound, Caller, Notice, Server, Status};
use tempfile::TempDir;

/// What nothing here should ever wait for: only a test that fails does.
pub const FOREVER: Duration = Duration::from_secs(60);

/// A folder with a web configuration and what it names, and the server that reads it.
pub struct Bench {
    pub folder: TempDir,
    pub server: Server,
    pub notices: Arc<Mutex<Vec<Notice>>>,
    pub held: Arc<Held>,
}

/// Requests to /held wait here.
#[derive(Default)]
pub struct Held {
    waiting: Mutex<usize>,
    arrived: Condvar,
    release: tokio::sync::Notify,
}

impl Held {
    /// Returns once so many requests wait.
    pub fn wait_for(&self, count: usize) {
        let waiting = self.waiting.lock().unwrap();
        let (_waiting, outcome) =
            self.arrived.wait_timeout_while(waiting, FOREVER, |waiting| *waiting < count).unwrap();
        assert!(!outcome.timed_out(), "{count} requests never came");
    }

    pub fn release(&self) {
        self.release.notify_waiters();
    }

    async fn hold(&self) -> &'static str {
        let released = self.release.notified();
        *self.waiting.lock().unwrap() += 1;
        self.arrived.notify_all();
        released.await;
        "released\n"
    }
}

impl Bench {
    /// Serves plain HTTP.
    pub fn plain() -> Self {
        Self::start(TempDir::new().unwrap(), None)
    }

    /// Serves with a web configuration.
    pub fn with(config: &str) -> Self {
        Self::of(TempDir::new().unwrap(), config)
    }

    /// Serves TLS: the certificate is there, and `more` is added to its section.
    pub fn tls(more: &str) -> Self {
        let folder = TempDir::new().unwrap();
        Authority::new(folder.path(), "ca").issue("web", "DNS:localhost,IP:127.0.0.1");
        let more = more.lines().map(|line| format!("  {line}\n")).collect::<String>();
        Self::of(folder, &format!("tls_server_config:\n  cert_file: web.crt\n  key_file: web.key\n{more}"))
    }

    pub fn of(folder: TempDir, config: &str) -> Self {
        let path = folder.path().join("web.yml");
        fs::write(&path, config).unwrap();
        Self::start(folder, Some(&path))
    }

    fn start(folder: TempDir, config: Option<&Path>) -> Self {
        let held = Arc::new(Held::default());
        let bound = Bound::open(&"127.0.0.1:0".parse().unwrap(), config).unwrap();
        let notices: Arc<Mutex<Vec<Notice>>> = Arc::default();
        let told = Arc::clone(&notices);
        let server = bound.serve(router(&held), move |notice| told.lock().unwrap().push(notice)).unwrap();
        Self { folder, server, notices, held }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    pub fn status(&self) -> Arc<Status> {
        self.server.status()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn told(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.notices.lock().unwrap())
    }

    /// What curl makes of a path, given further arguments.
    pub fn curl(&self, path: &str, arguments: &[&str]) -> Answer {
        Answer::of(&self.curl_command("http", path, arguments).output().expect("curl runs"))
    }

    /// As [`Bench::curl`], over TLS with the bench's own authority.
    pub fn curl_tls(&self, path: &str, arguments: &[&str]) -> Answer {
        let mut command = self.curl_command("https", path, arguments);
        Answer::of(&command.arg("--cacert").arg(self.path("ca.crt")).output().expect("curl runs"))
    }

    pub fn curl_command(&self, scheme: &str, path: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "60", "--noproxy", "*", "--write-out"]);
        command.arg("\n%{http_code} %{http_version}").args(arguments);
        command.arg(format!("{scheme}://localhost:{}{path}", self.address().port()));
        command.arg("--resolve").arg(format!("localhost:{}:127.0.0.1", self.address().port()));
        command.current_dir(self.folder.path());
        command
    }

    /// A connection of a client that does as it likes.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(FOREVER)).unwrap();
        stream.set_write_timeout(Some(FOREVER)).unwrap();
        stream
    }

    /// What the server says to these bytes until it closes.
    pub fn say(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        rest(&mut stream)
    }
}

/// What comes until the other side closes, one way or the other.
pub fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the server never closes"),
        _ => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// For what the server counts after the client has seen it.
pub fn wait_until(condition: impl Fn() -> bool) {
    let step = Duration::from_millis(50);
    for _ in 0..FOREVER.as_millis() / step.as_millis() {
        if condition() {
            return;
        }
        thread::sleep(step);
    }
    panic!("it never came to that");
}

/// What curl got.
#[derive(Debug)]
pub struct Answer {
    /// 0 where there was no answer.
    pub code: u16,
    pub version: String,
    /// The body, and before it the headers where they were asked for.
    pub text: String,
    /// What curl says went wrong; for the words of a failed test.
    #[allow(dead_code, reason = "only shown")]
    pub complaint: String,
}

impl Answer {
    pub fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (text, last) = text.rsplit_once('\n').unwrap_or_default();
        let (code, version) = last.split_once(' ').unwrap_or_default();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: code.parse().unwrap(), version: version.to_owned(), text: text.to_owned(), complaint }
    }
}

fn router(held: &Arc<Held>) -> Router {
    let held = Arc::clone(held);
    Router::new()
        .route("/", get(|| async { "hello\n" }))
        .route("/metrics", get(|| async { "observer_signal_total{signal=\"retransmit\"} 1\n".repeat(1000) }))
        .route("/endless", get(|| async { vec![b'x'; 64 << 20] }))
        .route(
            "/panic",
            get(|| async {
                if true {
                    panic!("something unforeseen")
                }
            }),
        )
        .route("/held", get(move || async move { held.hold().await }))
        .route("/length", post(|body: Bytes| async move { format!("{}\n", body.len()) }))
        .route("/who", get(|Extension(caller): Extension<Caller>| async move { who(&caller) }))
}

fn who(caller: &Caller) -> String {
    let user = caller.user.as_deref().unwrap_or("nobody");
    format!(
        "{user} certificate={} tls={} loopback={}\n",
        caller.certificate,
        caller.tls,
        caller.is_loopback()
    )
}

/// An authority whose files lie in a folder, by its name.
pub struct Authority<'a> {
    pub folder: &'a Path,
    pub name: &'a str,
}

impl<'a> Authority<'a> {
    pub fn new(folder: &'a Path, name: &'a str) -> Self {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
        let subject = format!("/CN={name}");
        openssl(folder, &["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
            .args(["-days", "30", "-subj", &subject, "-keyout", &key, "-out", &certificate])
            .args(["-addext", "keyUsage=critical,keyCertSign"])
            .succeed();
        Self { folder, name }
    }

    /// Makes NAME.key and NAME.crt with these names in it, for a server or a client.
    pub fn issue(&self, name: &str, sans: &str) {
        self.issue_for_days(30, name, sans);
    }

    /// The same, of which the certificate is good for so many days.
    pub fn issue_for_days(&self, days: u32, name: &str, sans: &str) {
        let days = days.to_string();
        let (key, request, certificate) =
            (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt.new"));
        openssl(
            self.folder,
            &["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
        )
        .args(["-subj", &format!("/CN={name}"), "-keyout", &key, "-out", &request])
        .args(["-addext", &format!("subjectAltName={sans}")])
        .succeed();
        let (ca, ca_key) = (format!("{}.crt", self.name), format!("{}.key", self.name));
        openssl(self.folder, &["x509", "-req", "-days", &days, "-copy_extensions", "copy", "-in", &request])
            .args(["-CA", &ca, "-CAkey", &ca_key, "-out", &certificate])
            .succeed();
        fs::rename(self.folder.join(&certificate), self.folder.join(format!("{name}.crt"))).unwrap();
    }
}

/// A run of openssl that has to succeed.
pub struct OpenSsl(Command);

pub fn openssl(folder: &Path, arguments: &[&str]) -> OpenSsl {
    let mut command = Command::new("openssl");
    command.current_dir(folder).args(arguments);
    OpenSsl(command)
}

impl OpenSsl {
    fn args<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.0.args(arguments);
        self
    }

    /// The command itself, for what is neither.
    pub fn command(self) -> Command {
        self.0
    }

    pub fn succeed(mut self) {
        let output = self.0.output().expect("openssl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What it prints, whether it succeeds or not, when it has nothing to send.
    pub fn text(mut self) -> String {
        let output = self.0.stdin(std::process::Stdio::null()).output().expect("openssl runs");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }
}

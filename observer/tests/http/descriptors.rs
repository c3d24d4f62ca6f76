//! A server that runs out of descriptors waits, says so, and goes on when there are some again.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use axum::{Router, routing::get};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use observer::sinks::http::{Bound, Count};

/// Set where this program is the server of the other test.
const PART: &str = "OBSERVER_HTTP_TEST";
const LIMIT: u64 = 32;

/// Not a test of its own: the server with few descriptors, which ends with its input.
#[test]
fn a_server_with_few_descriptors() {
    if std::env::var_os(PART).is_none() {
        return;
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, LIMIT, hard).unwrap();
    let bound = Bound::open(&"127.0.0.1:0".parse().unwrap(), None).unwrap();
    let status = bound.status();
    println!("\naddress {}", bound.local_addr());
    let failures = get(move || async move { status.count(Count::AcceptFailed).to_string() });
    let _server =
        bound.serve(Router::new().route("/", failures), |notice| println!("notice {notice}")).unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

#[test]
fn want_of_descriptors_is_told_once_and_does_not_spin() {
    let name = "descriptors::a_server_with_few_descriptors";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(PART, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let address = lines.find_map(|line| line.strip_prefix("address ").map(str::to_owned)).unwrap();
    let address: SocketAddr = address.parse().unwrap();

    let held: Vec<TcpStream> = (0..LIMIT).map(|_| TcpStream::connect(address).unwrap()).collect();
    let notice = lines.find(|line| line.starts_with("notice ")).unwrap();
    assert!(notice.contains("Too many open files"), "{notice}");
    drop(held);

    let output = Command::new("curl")
        .args(["--silent", "--max-time", "60"])
        .arg(format!("http://{address}/"))
        .output();
    let failures: u64 = String::from_utf8(output.unwrap().stdout).unwrap().parse().unwrap();
    assert!((1..1000).contains(&failures), "{failures} attempts");

    drop(child.stdin.take());
    assert_eq!(lines.filter(|line| line.starts_with("notice ")).count(), 0);
    assert!(child.wait().unwrap().success());
}

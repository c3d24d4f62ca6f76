//! Basic authentication, as curl does it.

use std::fs;

use observer::sinks::http::{ConfigState, Count, Notice};

use crate::bench::Bench;

fn users(names: &[&str]) -> String {
    let line = |name: &&str| format!("  {name}: {}\n", bcrypt::hash(format!("{name}'s"), 5).unwrap());
    format!("basic_auth_users:\n{}", names.iter().map(line).collect::<String>())
}

#[test]
fn only_the_right_password_opens() {
    let bench = Bench::with(&users(&["alice", "bob"]));
    for _ in 0..2 {
        let right = bench.curl("/who", &["--user", "alice:alice's"]);
        assert_eq!(
            (right.code, right.text.as_str()),
            (200, "alice certificate=false tls=false loopback=true\n")
        );
        for wrong in ["alice:bob's", "carol:alice's", "alice:", ":"] {
            assert_eq!(bench.curl("/who", &["--user", wrong]).code, 401, "{wrong}");
        }
    }
    assert_eq!(bench.status().count(Count::Unauthenticated), 8);
}

#[test]
fn who_says_nothing_is_asked() {
    let bench = Bench::with(&users(&["alice"]));
    let answer = bench.curl("/metrics", &["--include"]);
    assert_eq!(answer.code, 401);
    assert!(answer.text.contains("www-authenticate: Basic realm=\"observer\""), "{answer:?}");
    assert!(!answer.text.contains("retransmit"));
    assert_eq!(bench.curl("/nothing", &[]).code, 401);
    assert_eq!(bench.curl("/length", &["--data", "x"]).code, 401);
}

#[test]
fn who_is_known_may_change_something_by_any_name_but_not_from_a_foreign_page() {
    let bench = Bench::with(&users(&["alice"]));
    let post = |header: &str| {
        bench.curl("/length", &["--data", "four", "--user", "alice:alice's", "--header", header]).code
    };
    assert_eq!(post("Host: observer.example"), 200);
    assert_eq!(post("Origin: https://evil.example"), 403);
}

#[test]
fn a_change_of_users_is_in_force_at_once_and_a_bad_one_is_not() {
    let bench = Bench::with(&users(&["alice"]));
    let code = |user: &str| bench.curl("/", &["--user", user]).code;
    assert_eq!((code("alice:alice's"), code("bob:bob's")), (200, 401));
    fs::write(bench.path("web.yml"), users(&["bob"])).unwrap();
    assert_eq!((code("alice:alice's"), code("bob:bob's")), (401, 200));
    fs::write(bench.path("web.yml"), "basic_auth_users: {bob: bobs}\n").unwrap();
    assert_eq!((code("alice:alice's"), code("bob:bob's")), (401, 200));
    let told = bench.told();
    assert!(
        matches!(&told[..], [Notice::Config(ConfigState::Stale(why))] if why.contains("web.yml:1")),
        "{told:?}"
    );
    assert!(bench.status().count(Count::ReloadFailed) >= 1);
}

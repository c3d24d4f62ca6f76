//! Who is right, who is not, and what a check may cost others.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc;

use super::*;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn users() -> BTreeMap<String, String> {
    ["alice", "bob"].map(|name| (name.to_owned(), bcrypt::hash(format!("{name}'s"), 4).unwrap())).into()
}

fn header(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
}

fn given(user: &str, password: &str) -> Credentials {
    Credentials { user: user.to_owned(), password: password.as_bytes().to_vec() }
}

fn check(passwords: &Passwords, users: &BTreeMap<String, String>, user: &str, password: &str) -> Checked {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(passwords.check(users, Peer::of(PEER), given(user, password)))
}

#[test]
fn a_header_is_read_as_the_standard_has_it() {
    let of = |value: &str| Credentials::of(&header(value)).map(|given| (given.user, given.password));
    let expected = Some(("a".to_owned(), b"b:c".to_vec()));
    for value in ["Basic YTpiOmM=", "basic YTpiOmM=", "BASIC  YTpiOmM="] {
        assert_eq!(of(value), expected);
    }
    for value in ["", "Basic", "Basic ", "Basic !", "Bearer YTpiOmM=", "Basic YWI=", "Basic //86eA=="] {
        assert_eq!(of(value), None, "{value:?}");
    }
    assert!(Credentials::of(&HeaderMap::new()).is_none());
}

#[test]
fn only_the_right_password_of_a_known_user_is_right() {
    let (passwords, users) = (Passwords::new().unwrap(), users());
    for _ in 0..2 {
        assert_eq!(check(&passwords, &users, "alice", "alice's"), Checked::Right("alice".into()));
        for (user, password) in
            [("alice", "bob's"), ("carol", "alice's"), ("carol", "bob's"), ("", ""), ("alice", "")]
        {
            assert_eq!(check(&passwords, &users, user, password), Checked::Wrong, "{user} {password}");
        }
    }
    assert_eq!(check(&passwords, &BTreeMap::new(), "alice", "alice's"), Checked::Wrong);
}

#[test]
fn what_was_right_is_known_again_until_the_hash_changes() {
    let (passwords, mut users) = (Passwords::new().unwrap(), users());
    check(&passwords, &users, "alice", "alice's");
    assert!(passwords.was_right(&given("alice", "alice's"), &users["alice"]));
    assert!(!passwords.was_right(&given("alice", "alice"), &users["alice"]));
    users.insert("alice".to_owned(), bcrypt::hash("new", 4).unwrap());
    assert_eq!(check(&passwords, &users, "alice", "alice's"), Checked::Wrong);
    assert_eq!(check(&passwords, &users, "alice", "new"), Checked::Right("alice".into()));
}

#[test]
fn no_more_is_remembered_than_there_is_room_for() {
    let (mut passwords, users) = (Passwords::new().unwrap(), users());
    passwords.rest = Arc::new(|_| ());
    for n in 0..2 * WRONG_ONES {
        check(&passwords, &users, &format!("user {n}"), "x");
    }
    assert_eq!(lock(&passwords.outcomes).wrong.len(), WRONG_ONES);
    assert!(lock(&passwords.outcomes).right.is_empty() && lock(&passwords.waiting).is_empty());
}

#[test]
fn who_gave_up_waiting_is_known_the_next_time() {
    let (passwords, users) = (Passwords::new().unwrap(), users());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut asked = Box::pin(passwords.check(&users, Peer::of(PEER), given("alice", "alice's")));
        // Begins the check, and does not wait for its outcome.
        tokio::select! {
            biased;
            _ = &mut asked => {}
            () = std::future::ready(()) => {}
        }
    });
    // Ends when the check does.
    drop(runtime);
    assert!(passwords.was_right(&given("alice", "alice's"), &users["alice"]));
}

#[test]
fn who_is_known_passes_while_others_wait_and_a_flood_is_put_off() {
    let (passwords, users) = (Passwords::new().unwrap(), users());
    check(&passwords, &users, "alice", "alice's");
    let held = Arc::clone(&passwords.turn).try_acquire_owned().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let attempts = (0..20).map(|n| passwords.check(&users, Peer::of(PEER), given("eve", &n.to_string())));
        let mut attempts: Vec<_> = attempts.map(Box::pin).collect();
        let mut busy = 0;
        for attempt in &mut attempts {
            tokio::select! {
                biased;
                checked = attempt => { assert_eq!(checked, Checked::Busy); busy += 1 }
                () = std::future::ready(()) => {}
            }
        }
        assert_eq!(busy, 20 - WAITING_PER_PEER);
        let known = passwords.check(&users, Peer::of(PEER), given("alice", "alice's")).await;
        assert_eq!(known, Checked::Right("alice".into()));
    });
    drop(held);
    assert!(lock(&passwords.waiting).is_empty());
}

#[test]
fn after_a_wrong_password_checking_rests_and_after_a_right_one_not() {
    let (mut passwords, users) = (Passwords::new().unwrap(), users());
    let (begins, begun) = mpsc::channel();
    let (end, ended) = mpsc::channel();
    let ended = Mutex::new(ended);
    passwords.rest = Arc::new(move |time| {
        begins.send(time).unwrap();
        let _ = lock(&ended).recv_timeout(Duration::from_secs(60));
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let check =
        |user, password| runtime.block_on(passwords.check(&users, Peer::of(PEER), given(user, password)));
    assert_eq!(check("alice", "alice's"), Checked::Right("alice".into()));
    // Right for bob, whose hash may stand in; nobody may see from the rest that it was.
    for (user, password) in [("alice", "x"), ("carol", "alice's"), ("carol", "bob's")] {
        assert_eq!(check(user, password), Checked::Wrong);
        let rest = begun.recv_timeout(Duration::from_secs(60)).expect("no rest");
        assert!(!rest.is_zero());
        // Nobody else is checked meanwhile, and who is known does not wait.
        assert_eq!(passwords.turn.available_permits(), 0);
        assert_eq!(check("alice", "alice's"), Checked::Right("alice".into()));
        end.send(()).unwrap();
    }
    assert_eq!(check("bob", "bob's"), Checked::Right("bob".into()));
    drop(runtime);
    assert!(begun.try_recv().is_err());
}

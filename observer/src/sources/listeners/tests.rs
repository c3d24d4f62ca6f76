use super::*;

fn entry(address: &str, cookie: u64, queued: u32, backlog: u32, drops: u32) -> Entry {
    Entry {
        own: address.parse().expect("an address"),
        remote: "0.0.0.0:0".parse().expect("an address"),
        interface: 0,
        state: states::LISTEN,
        cookie,
        queued,
        backlog,
        inode: cookie as u32,
        drops: Some(drops),
        cgroup: Some(5),
    }
}

fn window(at: u64) -> Window {
    Window { before_ns: at, after_ns: at + 1 }
}

const WEB: &str = "0.0.0.0:80";

fn address() -> SocketAddr {
    WEB.parse().expect("an address")
}

#[test]
fn of_several_sockets_on_one_address_the_fullest_counts() {
    let groups = group(&[entry(WEB, 1, 1, 128, 0), entry(WEB, 2, 3, 4, 0), entry(WEB, 3, 0, 128, 0)]);
    let web = &groups[&address()];
    assert_eq!((web.used, web.limit), (3, 4));
    assert_eq!((web.listener.inodes.len(), web.listener.backlog, web.listener.cgroup), (3, 260, Some(5)));
}

#[test]
fn sockets_of_different_cgroups_have_none_together() {
    let other = Entry { cgroup: Some(6), ..entry(WEB, 2, 0, 4, 0) };
    assert_eq!(group(&[entry(WEB, 1, 0, 4, 0), other])[&address()].listener.cgroup, None);
}

#[test]
fn a_socket_that_is_closed_does_not_take_its_drops_away() {
    let mut drops = Drops::default();
    assert!(drops.update(&[entry(WEB, 1, 0, 4, 7), entry(WEB, 2, 0, 4, 3)], Extent::All, window(10)));
    assert_eq!(drops.totals[&address()], Total { count: 10, born: None });
    assert!(drops.update(&[entry(WEB, 2, 0, 4, 4)], Extent::All, window(20)));
    assert_eq!(drops.totals[&address()].count, 11);
    assert!(drops.update(&[entry(WEB, 9, 0, 4, 2)], Extent::All, window(30)));
    assert_eq!(drops.totals[&address()].count, 13);
    assert!(!drops.update(&[entry(WEB, 9, 0, 4, 2)], Extent::Known, window(40)), "nothing was dropped");
}

#[test]
fn a_listener_that_came_between_two_dumps_had_dropped_nothing_at_the_first() {
    let mut drops = Drops::default();
    drops.update(&[], Extent::All, window(10));
    drops.update(&[entry(WEB, 1, 0, 4, 7)], Extent::All, window(20));
    assert_eq!(drops.totals[&address()], Total { count: 7, born: Some(window(10)) });
    drops.update(&[entry(WEB, 1, 0, 4, 7)], Extent::All, window(30));
    assert_eq!(drops.totals[&address()], Total { count: 7, born: None });
}

#[test]
fn a_listener_may_be_as_old_as_the_latest_dump_of_all() {
    let mut drops = Drops::default();
    drops.update(&[], Extent::All, window(10));
    drops.update(&[], Extent::Known, window(20));
    drops.update(&[entry(WEB, 1, 0, 4, 7)], Extent::All, window(30));
    assert_eq!(drops.totals[&address()].born, Some(window(10)));
}

#[test]
fn known_listeners_are_enough_until_something_is_dropped_and_for_a_while() {
    let read = |entries: &[Entry]| {
        let mut latest = Latest { entries: entries.to_vec(), dropped: Some(3), ..Latest::default() };
        latest.take_in(Extent::All, window(10));
        latest
    };
    let namespace = |dropped| {
        let mut namespace = Namespace::new(1, 1, true);
        namespace.dropped = Some(dropped);
        namespace
    };
    let one = read(&[entry(WEB, 1, 0, 4, 0)]);
    assert!(one.are_enough(&namespace(3), DUMP_NS));
    assert!(!one.are_enough(&namespace(4), DUMP_NS));
    assert!(!one.are_enough(&namespace(3), DUMP_NS + 10));
    assert!(!Latest::default().are_enough(&namespace(3), DUMP_NS));
    // The kernel would choose which one answers.
    assert!(!read(&[entry(WEB, 1, 0, 4, 0), entry(WEB, 2, 0, 4, 0)]).are_enough(&namespace(3), DUMP_NS));
    let many: Vec<_> =
        (0..=MOST_ASKED).map(|at| entry(&format!("0.0.0.0:{}", 80 + at), at as u64, 0, 4, 0)).collect();
    assert!(!read(&many).are_enough(&namespace(3), DUMP_NS));
}

#[test]
fn drops_run_over_without_harm() {
    let mut drops = Drops::default();
    drops.update(&[entry(WEB, 1, 0, 4, u32::MAX)], Extent::All, window(10));
    let before = drops.totals[&address()].count;
    drops.update(&[entry(WEB, 1, 0, 4, 2)], Extent::All, window(20));
    assert_eq!(drops.totals[&address()].count - before, 3);
}

#[test]
fn the_binding_limit_is_named() {
    let limit_set_by =
        |entries: &[Entry], somaxconn| group(entries)[&address()].listener.limit_set_by(somaxconn);
    let (one, other) = (entry(WEB, 1, 0, 4_096, 0), entry(WEB, 2, 0, 4_096, 0));
    assert_eq!(limit_set_by(&[one], Some(4_096)), "net.core.somaxconn");
    assert_eq!(limit_set_by(&[one, other], Some(4_096)), "net.core.somaxconn");
    assert_eq!(limit_set_by(&[entry(WEB, 1, 0, 128, 0)], Some(4_096)), "backlog argument");
    assert_eq!(limit_set_by(&[one], None), "backlog argument");
}

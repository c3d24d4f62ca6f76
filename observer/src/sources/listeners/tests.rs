use super::*;

fn entry(address: &str, cookie: u64, queued: u32, backlog: u32, drops: u32) -> Entry {
    Entry {
        own: address.parse().expect("an address"),
        remote: "0.0.0.0:0".parse().expect("an address"),
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
    drops.update(&[entry(WEB, 1, 0, 4, 7), entry(WEB, 2, 0, 4, 3)], window(10));
    assert_eq!(drops.totals[&address()], Total { count: 10, born: None });
    drops.update(&[entry(WEB, 2, 0, 4, 4)], window(20));
    assert_eq!(drops.totals[&address()].count, 11);
    drops.update(&[entry(WEB, 9, 0, 4, 2)], window(30));
    assert_eq!(drops.totals[&address()].count, 13);
}

#[test]
fn a_listener_that_came_between_two_dumps_had_dropped_nothing_at_the_first() {
    let mut drops = Drops::default();
    drops.update(&[], window(10));
    drops.update(&[entry(WEB, 1, 0, 4, 7)], window(20));
    assert_eq!(drops.totals[&address()], Total { count: 7, born: Some(window(10)) });
    drops.update(&[entry(WEB, 1, 0, 4, 7)], window(30));
    assert_eq!(drops.totals[&address()], Total { count: 7, born: None });
}

#[test]
fn drops_run_over_without_harm() {
    let mut drops = Drops::default();
    drops.update(&[entry(WEB, 1, 0, 4, u32::MAX)], window(10));
    let before = drops.totals[&address()].count;
    drops.update(&[entry(WEB, 1, 0, 4, 2)], window(20));
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

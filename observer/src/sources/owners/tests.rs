//! Who holds a listener, with this process as the one who does.

use std::{
    fs::File,
    net::TcpListener,
    os::fd::{AsFd as _, FromRawFd as _},
    os::unix::process as unix,
    process,
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        stat::fstat,
    },
};

use super::*;
use crate::{
    core::frame::Frame,
    sources::{changes::Changes, world::Process},
};

#[test]
fn the_link_of_a_socket_names_its_inode() {
    assert_eq!(socket_inode("socket:[4242]"), Some(4_242));
    for other in ["/dev/null", "pipe:[4242]", "socket:[]", "socket:[-1]", "socket:[99999999999]", ""] {
        assert_eq!(socket_inode(other), None, "{other}");
    }
}

/// What looks for the owner of a listener, who is this process, and what it works on.
struct Bench {
    owners: Owners,
    world: World,
    frame: Frame,
    changes: Changes,
}

impl Bench {
    fn looking_for(listener: &TcpListener) -> Self {
        let inode = fstat(listener.as_fd()).expect("its inode").st_ino as u32;
        let mut bench = Self {
            owners: Owners::default(),
            world: World::default(),
            frame: Frame::default(),
            changes: Changes::default(),
        };
        bench.owners.listeners.insert(inode, (7, listener.local_addr().expect("an address")));
        bench
    }

    fn comes(&mut self, pid: u32) {
        self.world.processes.insert(pid, Process::default());
        self.world.process_changes += 1;
    }

    fn step(&mut self) -> bool {
        let out = &mut Samples::new(&mut self.frame, &mut self.changes);
        self.owners.step(&mut self.world, out)
    }

    /// Looks through all that is queued.
    fn search(&mut self) {
        self.owners.queue(&self.world);
        while self.step() {}
        assert!(!self.owners.is_busy());
    }

    fn is_found(&self) -> bool {
        let found = self.world.owners.contains_key(&process::id());
        assert_eq!(found, self.owners.wanted.is_empty());
        found
    }

    /// What has become of the one listener.
    fn wanted(&self) -> Vec<Wanted> {
        self.owners.wanted.values().copied().collect()
    }
}

/// A listener on the last of more than [`FIRST`] descriptors, and those.
fn last_of_many() -> (TcpListener, Vec<File>) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(4 * FIRST as u64), hard).expect("a higher limit");
    let null = File::open("/dev/null").expect("a file");
    // Some more, as other tests of the same process may have closed some before.
    let files = (0..FIRST + 100).map(|_| null.try_clone().expect("a descriptor")).collect();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let last = fcntl(&listener, FcntlArg::F_DUPFD_CLOEXEC(3 * FIRST as i32)).expect("a descriptor");
    // SAFETY: it was just made, and nobody else has it.
    (unsafe { TcpListener::from_raw_fd(last) }, files)
}

#[test]
fn a_listener_among_the_later_descriptors_is_found_after_all_first_ones() {
    let (listener, _files) = last_of_many();
    let mut bench = Bench::looking_for(&listener);
    bench.comes(process::id());
    bench.owners.queue(&bench.world);
    while bench.owners.has_first() {
        assert_eq!(bench.owners.budget_ns(), BUDGET_NS);
        assert!(bench.step());
    }
    assert!(!bench.is_found(), "it is not among the first");
    assert_eq!(bench.owners.budget_ns(), LATER_BUDGET_NS);
    assert!(bench.step() && bench.wanted() == [Wanted::Later]);
    while bench.step() {}
    assert!(bench.is_found());
}

#[test]
fn all_of_a_process_that_matters_is_looked_at_first() {
    let (listener, _files) = last_of_many();
    let mut bench = Bench::looking_for(&listener);
    bench.comes(process::id());
    bench.world.noted.insert(process::id());
    bench.owners.queue(&bench.world);
    while bench.owners.has_first() {
        assert!(bench.step());
    }
    assert!(bench.is_found());
}

#[test]
fn who_comes_later_is_looked_at_alone_for_those_that_were_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut bench = Bench::looking_for(&listener);
    let parent = unix::parent_id();
    bench.comes(parent);
    bench.search();
    assert_eq!(bench.wanted(), [Wanted::GivenUp]);
    assert!(!bench.is_found());

    bench.owners.queue(&bench.world);
    assert!(!bench.owners.is_busy(), "nobody came");
    bench.comes(process::id());
    bench.owners.queue(&bench.world);
    assert_eq!(bench.owners.others, [process::id()]);
    while bench.step() {}
    assert!(bench.is_found());
}

#[test]
fn all_of_who_comes_later_is_looked_at() {
    let (listener, _files) = last_of_many();
    let mut bench = Bench::looking_for(&listener);
    bench.comes(unix::parent_id());
    bench.search();
    assert_eq!(bench.wanted(), [Wanted::GivenUp]);
    bench.comes(process::id());
    bench.search();
    assert!(bench.is_found());
}

#[test]
fn nobody_waits_for_ever_while_new_listeners_keep_coming() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut bench = Bench::looking_for(&listener);
    let likely: Vec<u32> = (1..=20).map(|number| u32::MAX - number).collect();
    likely.iter().for_each(|pid| bench.comes(*pid));
    bench.world.noted.extend(&likely);
    bench.comes(process::id());
    for news in (1..).take(likely.len() + 1) {
        bench.owners.listeners.insert(u32::MAX - news, (7, ([127, 0, 0, 1], 80).into()));
        bench.owners.queue(&bench.world);
        assert!(bench.step(), "one process at a time");
    }
    assert!(bench.owners.seen.contains_key(&process::id()));
}

#[test]
fn a_new_listener_is_no_reason_to_look_through_all_for_an_older_one() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mut bench = Bench::looking_for(&listener);
    let newer = std::mem::take(&mut bench.owners.listeners);
    let nobodys = ([127, 0, 0, 1], 80).into();
    bench.owners.listeners.insert(u32::MAX, (7, nobodys));
    bench.comes(1);
    bench.search();
    assert_eq!(bench.wanted(), [Wanted::GivenUp]);

    bench.owners.listeners.extend(newer);
    bench.comes(process::id());
    bench.owners.queue(&bench.world);
    assert_eq!(bench.owners.others, [process::id(), 1], "the likely one first");
    while bench.step() {}
    assert_eq!(bench.world.owners.len(), 1);
    assert_eq!(bench.wanted(), [Wanted::GivenUp]);
    assert_ne!(bench.owners.seen.get(&1), Some(&bench.owners.round), "who is found needs no further search");
    bench.search();
    assert_ne!(bench.owners.seen.get(&1), Some(&bench.owners.round), "nor does the older one");
}

//! What changes on disk is in force at once, unless it cannot be.

use std::fs;

use super::*;

const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

struct Bench {
    folder: tempfile::TempDir,
    live: Live,
    status: Arc<Status>,
    told: Arc<Mutex<Vec<Notice>>>,
}

impl Bench {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let status = Arc::new(Status::default());
        fs::write(folder.path().join("web.yml"), text).unwrap();
        let live = Live::open(Some(&folder.path().join("web.yml")), Arc::clone(&status)).unwrap();
        Self { folder, live, status, told: Arc::default() }
    }

    fn write(&self, text: &str) {
        fs::write(self.folder.path().join("web.yml"), text).unwrap();
    }

    fn users(&self) -> usize {
        let told = Arc::clone(&self.told);
        let notify: Notify = Arc::new(move |notice| lock(&told).push(notice));
        self.live.current(&notify).config.users.len()
    }

    fn told(&self) -> Vec<Notice> {
        std::mem::take(&mut *lock(&self.told))
    }
}

#[test]
fn a_change_is_in_force_at_once() {
    let bench = Bench::new("");
    assert_eq!(bench.users(), 0);
    assert!(!bench.live.known().authenticates());
    // Written within the same tick of the clock, and of the same length: the times may not tell.
    for name in ["a", "b", "c"] {
        bench.write(&format!("basic_auth_users: {{{name}: {HASH}}}"));
        assert_eq!(bench.users(), 1);
        assert!(bench.live.known().config.users.contains_key(name));
    }
    assert!(bench.live.known().authenticates());
    assert_eq!(bench.told(), []);
}

#[test]
fn a_bad_change_leaves_the_former_in_force_and_is_told_once() {
    let bench = Bench::new(&format!("basic_auth_users: {{a: {HASH}}}"));
    bench.write("basic_auth_users: {a: nonsense}");
    for _ in 0..3 {
        assert_eq!(bench.users(), 1);
    }
    let told = bench.told();
    assert!(
        matches!(&told[..], [Notice::Config(ConfigState::Stale(why))] if why.contains("htpasswd")),
        "{told:?}"
    );
    assert!(matches!(bench.status.config(), ConfigState::Stale(_)));
    bench.write("");
    assert_eq!(bench.users(), 0);
    assert_eq!(bench.told(), [Notice::Config(ConfigState::Current)]);
}

#[test]
fn a_missing_file_is_a_bad_change_and_its_return_a_good_one() {
    let bench = Bench::new(&format!("basic_auth_users: {{a: {HASH}}}"));
    fs::remove_file(bench.folder.path().join("web.yml")).unwrap();
    assert_eq!(bench.users(), 1);
    assert!(matches!(bench.status.config(), ConfigState::Stale(why) if why.contains("No such file")));
    bench.write("");
    assert_eq!(bench.users(), 0);
    assert_eq!(bench.status.config(), ConfigState::Current);
}

#[test]
fn an_old_file_is_not_read_again() {
    let meta = fs::metadata("/proc/self/exe").unwrap();
    let changed = SystemTime::UNIX_EPOCH + Duration::new(meta.ctime() as u64, meta.ctime_nsec() as u32);
    assert!(is_settled(&meta, changed + Duration::from_secs(2)));
    assert!(!is_settled(&meta, changed + Duration::from_millis(900)));
    assert!(!is_settled(&meta, changed - Duration::from_secs(2)));
}

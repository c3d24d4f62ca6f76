//! The temporary folder of a ring: private, and gone when nobody needs it, killed or not.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::tempdir;

use super::{super::Ring, frame, header, ring::options};

/// Where the ring is, when this test is run again as the observer.
const KEEPS_IN: &str = "OBSERVER_TEST_KEEPS_IN";
const KEEP: Duration = Duration::from_secs(60);

fn rings_in(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn it_is_private_and_goes_with_its_ring() {
    let folder = tempdir().unwrap();
    let mut ring = Ring::create(&header(), options(folder.path(), KEEP)).unwrap();
    ring.frame(frame(0));
    let other = Ring::create(&header(), options(folder.path(), KEEP)).unwrap();
    let found = rings_in(folder.path());
    assert_eq!(found.len(), 2, "one observer's ring is not the other's");
    for ring in found {
        assert_eq!(fs::metadata(ring).unwrap().permissions().mode() & 0o777, 0o700);
    }
    drop((ring, other));
    assert_eq!(rings_in(folder.path()).len(), 0);
}

#[test]
fn a_folder_in_which_nothing_can_be_kept_is_named() {
    let folder = tempdir().unwrap();
    let missing = folder.path().join("missing");
    let error = Ring::create(&header(), options(&missing, KEEP)).unwrap_err().to_string();
    assert!(
        error.starts_with(missing.to_str().unwrap()) && error.contains("a folder that exists"),
        "{error}"
    );
}

#[test]
fn what_a_killed_observer_left_is_removed_at_the_next_start() {
    if let Some(folder) = env::var_os(KEEPS_IN) {
        return keep_until_killed(Path::new(&folder));
    }
    let folder = tempdir().unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "recording::tests::ring_folder::what_a_killed_observer_left_is_removed_at_the_next_start",
        ])
        .env(KEEPS_IN, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let told = folder.path().join("keeps");
    while !told.exists() {
        assert!(
            Instant::now() < deadline && child.try_wait().unwrap().is_none(),
            "it does not keep anything"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::remove_file(told).unwrap();
    let left = rings_in(folder.path());
    assert_eq!(left.len(), 1);
    drop(Ring::create(&header(), options(folder.path(), KEEP)).unwrap());
    assert_eq!(rings_in(folder.path()), left, "its observer is alive");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(rings_in(folder.path()), left);
    drop(Ring::create(&header(), options(folder.path(), KEEP)).unwrap());
    assert_eq!(rings_in(folder.path()).len(), 0);
}

fn keep_until_killed(folder: &Path) {
    let mut ring = Ring::create(&header(), options(folder, KEEP)).unwrap();
    let frame = frame(0);
    ring.frame(frame.clone());
    while ring.status().held_ns.is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    fs::write(folder.join("keeps"), "").unwrap();
    // It ends by itself if nobody is left to kill it.
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn what_is_not_surely_ours_is_left_alone() {
    let folder = tempdir().unwrap();
    let (open, link) = (folder.path().join("observer-ring-1-0"), folder.path().join("observer-ring-2-0"));
    let (other, file) = (folder.path().join("elsewhere"), folder.path().join("observer-ring-3-0"));
    for path in [&open, &other] {
        fs::create_dir(path).unwrap();
        fs::write(path.join("segment-0"), "").unwrap();
    }
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o700)).unwrap();
    symlink(&other, &link).unwrap();
    fs::write(&file, "").unwrap();
    let before = rings_in(folder.path());
    drop(Ring::create(&header(), options(folder.path(), KEEP)).unwrap());
    assert_eq!(rings_in(folder.path()), before);
    assert!(open.join("segment-0").exists() && other.join("segment-0").exists());
}

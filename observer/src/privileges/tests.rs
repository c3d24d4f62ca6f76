//! The table against what is said of it elsewhere, and against the kernel.

use std::{collections::BTreeSet, fs, thread};

use caps::{CapSet, Capability, CapsHashSet};

use super::{Privilege, TABLE, Until, after_attaching, effective, keep_only};
use crate::sources::{Collector, CollectorConfig};

const DOCUMENT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/privileges.md"));
const UNIT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/deploy/observer.service"));

/// The table as the document has it.
fn markdown() -> String {
    let row = |row: &Privilege| {
        let sources: Vec<String> = row.sources.iter().map(|source| format!("`{source}`")).collect();
        format!(
            "| `{}` | {} | {} | {} | {} |\n",
            row.capability,
            row.unlocks,
            row.without,
            sources.join(", "),
            row.until.words()
        )
    };
    let head = "| capability | what it unlocks | without it | sources that see less | how long |\n|---|---|---|---|---|\n";
    Until::ALL.iter().fold(head.to_owned(), |text, until| {
        text + &TABLE.iter().filter(|it| it.until == *until).map(row).collect::<String>()
    })
}

#[test]
fn the_document_has_the_table() {
    let table = markdown();
    assert!(DOCUMENT.contains(&table), "docs/privileges.md should have this table:\n{table}");
}

#[test]
fn the_unit_has_what_a_service_wants_and_no_more() {
    let wanted: BTreeSet<_> =
        TABLE.iter().filter(|row| row.for_service).map(|row| row.capability.to_string()).collect();
    for setting in ["AmbientCapabilities=", "CapabilityBoundingSet="] {
        let lines: Vec<&str> = UNIT.lines().filter_map(|line| line.strip_prefix(setting)).collect();
        let [line] = lines.as_slice() else { panic!("{setting} is there {} times", lines.len()) };
        let given: BTreeSet<String> = line.split_ascii_whitespace().map(str::to_owned).collect();
        assert_eq!(given, wanted, "{setting}");
    }
}

#[test]
fn a_capability_is_there_once_and_names_sources_that_there_are() {
    let mut seen = CapsHashSet::new();
    let collector = Collector::new(CollectorConfig { own_pid: 1, can_name_probed_pids: false });
    let names = format!("{collector:?} \"probes\" \"recording\" \"ring\"");
    for row in TABLE {
        assert!(seen.insert(row.capability), "{} is there twice", row.capability);
        for source in row.sources {
            assert!(names.contains(&format!("{source:?}")), "{}: no source {source}", row.capability);
        }
    }
}

/// Does something on a thread of its own, whose capabilities nobody else has.
fn elsewhere<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join().expect("the thread"))
}

fn held_of(capabilities: &[Capability]) -> CapsHashSet {
    let held = effective().expect("a set");
    capabilities.iter().copied().filter(|capability| held.contains(capability)).collect()
}

/// What the kernel says of the calling thread, not what the library says.
fn status(field: &str) -> String {
    let status = fs::read_to_string("/proc/thread-self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a line");
    line.trim_start_matches(':').trim().to_owned()
}

fn mask(capabilities: &CapsHashSet) -> String {
    format!("{:016x}", capabilities.iter().map(Capability::bitmask).sum::<u64>())
}

#[test]
fn what_is_needed_stays_and_the_rest_goes_from_every_set() {
    const FOR_GOOD: [Capability; 3] =
        [Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH, Capability::CAP_SYS_ADMIN];
    let with_command = [FOR_GOOD.as_slice(), &[Capability::CAP_KILL]].concat();
    for (command, kept) in [(false, FOR_GOOD.to_vec()), (true, with_command)] {
        elsewhere(|| {
            let kept = held_of(&kept);
            let could_shrink = !held_of(&[Capability::CAP_SETPCAP]).is_empty();
            after_attaching(command, || true).expect("given up");
            assert_eq!(status("CapEff"), mask(&kept));
            assert_eq!(status("CapPrm"), mask(&kept));
            assert_eq!(status("CapInh"), mask(&CapsHashSet::new()));
            assert_eq!(status("CapAmb"), mask(&CapsHashSet::new()));
            assert_eq!(status("NoNewPrivs"), "1");
            assert!(!could_shrink || status("CapBnd") == mask(&kept));
        });
    }
}

#[test]
fn what_the_maps_take_stays_where_they_cannot_be_read_without() {
    elsewhere(|| {
        let could = held_of(&[Capability::CAP_BPF]);
        // The kernel of the trial: it asks for CAP_BPF itself.
        let reads = || caps::has_cap(None, CapSet::Effective, Capability::CAP_BPF).expect("a set");
        after_attaching(false, reads).expect("given up");
        assert_eq!(held_of(&[Capability::CAP_BPF]), could);
        assert!(held_of(&[Capability::CAP_PERFMON]).is_empty());
    });
}

#[test]
fn a_thread_gives_up_its_own_and_those_it_starts_have_no_more() {
    let before = effective().expect("a set");
    elsewhere(|| {
        let kept = held_of(&[Capability::CAP_DAC_OVERRIDE]);
        keep_only(&[Until::Recorded]).expect("given up");
        assert_eq!(elsewhere(|| status("CapPrm")), mask(&kept));
        keep_only(&[]).expect("given up");
        assert_eq!(status("CapPrm"), mask(&CapsHashSet::new()));
    });
    assert_eq!(effective().expect("a set"), before);
}

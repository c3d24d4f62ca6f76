//! `observer export` as a user runs it, on the golden recordings.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden")
}

fn recordings() -> Vec<PathBuf> {
    let folders = fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path());
    let mut recordings: Vec<_> = folders.map(|folder| folder.join("run.observer")).collect();
    recordings.sort();
    assert!(!recordings.is_empty());
    recordings
}

fn export(recording: &Path, format: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_observer"));
    command.arg("export").arg(recording).args(["--format", format]);
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// How many rows of each kind the tables hold.
fn count(recording: &Path, table: &str) -> usize {
    let uri = format!("file:{}?immutable=1", recording.display());
    let connection = rusqlite::Connection::open(uri).unwrap();
    let rows: i64 =
        connection.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0)).unwrap();
    usize::try_from(rows).unwrap()
}

#[test]
fn a_golden_recording_gives_as_many_rows_as_it_holds_and_ends_with_its_verdict() {
    for recording in recordings() {
        let output = export(&recording, "jsonl").output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
        let rows: Vec<Value> = output
            .stdout
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        for (record, table) in [
            ("frame", "frame"),
            ("signal", "signal"),
            ("usage", "usage"),
            ("fact", "fact"),
            ("mark", "mark"),
            ("source", "source_status"),
            ("loss", "loss"),
        ] {
            let found = rows.iter().filter(|row| row["record"] == record).count();
            assert_eq!(found, count(&recording, table), "{record} of {}", recording.display());
        }
        // The last row is what `report` says.
        let report = Command::new(env!("CARGO_BIN_EXE_observer"))
            .arg("report")
            .arg(&recording)
            .args(["--format", "json"])
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&report.stdout).unwrap();
        let last = rows.last().unwrap().as_object().unwrap();
        for (key, value) in report.as_object().unwrap() {
            assert_eq!(&last[key], value, "{key} of {}", recording.display());
        }
        // What the verdict calls a hit was found on the way.
        for hit in rows.iter().filter(|row| row["record"] == "hit" && row["list"] != "pre_existing") {
            let found = |row: &&Value| row["record"] == "onset" && row["fault_line"] == hit["fault_line"];
            assert!(rows.iter().any(|row| found(&row)), "{hit}");
        }
    }
}

#[test]
fn both_forms_hold_the_same_rows_and_are_the_same_every_time() {
    for recording in recordings().iter().take(6) {
        let bytes = |format| export(recording, format).output().unwrap().stdout;
        let (json, table) = (bytes("jsonl"), bytes("csv"));
        assert_eq!((&json, &table), (&bytes("jsonl"), &bytes("csv")));
        let records: Vec<String> = json
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(&line.unwrap()).unwrap()["record"].as_str().unwrap().into()
            })
            .collect();
        let mut table = csv::Reader::from_reader(&*table);
        let lines: Vec<String> = table.records().map(|line| line.unwrap()[0].to_owned()).collect();
        assert_eq!(records, lines);
    }
}

#[test]
fn it_goes_to_a_file_but_never_over_the_recording() {
    let folder = tempfile::tempdir().unwrap();
    let (recording, file) = (folder.path().join("r"), folder.path().join("out.csv"));
    fs::copy(&recordings()[0], &recording).unwrap();
    let before = fs::read(&recording).unwrap();
    let output = export(&recording, "csv").arg("-o").arg(&file).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{}", stderr(&output));
    assert_eq!(fs::read(&file).unwrap(), export(&recording, "csv").output().unwrap().stdout);

    let link = folder.path().join("link");
    fs::hard_link(&recording, &link).unwrap();
    for same in [&recording, &link] {
        let output = export(&recording, "csv").arg("-o").arg(same).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("is the recording itself"), "{}", stderr(&output));
    }
    assert_eq!(fs::read(&recording).unwrap(), before);
}

#[test]
fn whoever_has_read_enough_is_no_error() {
    for format in ["jsonl", "csv"] {
        let mut child =
            export(&recordings()[0], format).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("{\"record\":\"run\"") || line.starts_with("record,"), "{line}");
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = export(&recordings()[0], "jsonl").stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot write the export: No space left"), "{}", stderr(&output));
}

#[test]
fn of_a_damaged_recording_what_comes_before_the_damage_is_exported() {
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("r");
    fs::copy(&recordings()[0], &recording).unwrap();
    let connection = rusqlite::Connection::open(&recording).unwrap();
    connection.execute("UPDATE signal_sample SET count = count + 1 WHERE id >> 20 >= 30", ()).unwrap();
    drop(connection);
    let output = export(&recording, "jsonl").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = stderr(&output);
    assert!(error.contains("frames are exported") && error.contains("is damaged: frame 3"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    let text = String::from_utf8(output.stdout).unwrap();
    let frames = text.lines().filter(|line| line.starts_with("{\"record\":\"frame\"")).count();
    assert!((30..40).contains(&frames), "{frames}");
    assert!(!text.contains("\"record\":\"verdict\""), "a verdict on half a recording");
}

#[test]
fn what_is_no_recording_or_holds_nothing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let refused = |why: &str| {
        let output = export(&path, "csv").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty() && stderr(&output).contains(why), "{}", stderr(&output));
    };
    refused("check its name");
    fs::write(&path, "hello").unwrap();
    refused("not a recording");
    let usage = export(&path, "xml").output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
}

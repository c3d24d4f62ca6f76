//! What is ready to use in docs/deploy, held against the privileges that observer has a use for and the options that it
//! takes; and the script for CI against what it promises.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use clap::Parser;
use observer::{
    cli::{Action, Cli},
    privileges::TABLE,
};
use serde_json::Value;

const DOCKERFILE: &str = include_str!("../../docs/deploy/Dockerfile");
const DAEMON_SET: &str = include_str!("../../docs/deploy/kubernetes/node/daemonset.yaml");
const REACHABLE: &str = include_str!("../../docs/deploy/kubernetes/scraped/reachable.yaml");
const UNIT: &str = include_str!("../../docs/deploy/observer.service");
const GITHUB: &str = include_str!("../../docs/deploy/ci/github.yml");
const PRIVILEGES: &str = include_str!("../../docs/privileges.md");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/deploy/ci/load-test.sh");

/// What a service wants, as containers have it: `SYS_ADMIN`.
fn wanted() -> BTreeSet<String> {
    let rows = TABLE.iter().filter(|row| row.for_service);
    rows.map(|row| row.capability.to_string().trim_start_matches("CAP_").to_owned()).collect()
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).expect("YAML")
}

/// The one container of a DaemonSet.
fn container(text: &str) -> Value {
    let containers = yaml(text)["spec"]["template"]["spec"]["containers"].take();
    assert_eq!(containers.as_array().map(Vec::len), Some(1));
    containers[0].clone()
}

fn words(list: &Value) -> Vec<String> {
    let list = list.as_array().expect("a list");
    list.iter().map(|word| word.as_str().expect("a word").to_owned()).collect()
}

#[test]
fn containers_and_files_get_the_capabilities_of_a_service_and_no_others() {
    let capabilities = &container(DAEMON_SET)["securityContext"]["capabilities"];
    assert_eq!(words(&capabilities["drop"]), ["ALL"]);
    assert_eq!(words(&capabilities["add"]).into_iter().collect::<BTreeSet<_>>(), wanted());

    let options = DOCKERFILE.split_ascii_whitespace();
    let added = options.filter_map(|word| word.strip_prefix("--cap-add=")).filter(|name| *name != "...");
    assert_eq!(added.map(str::to_owned).collect::<BTreeSet<_>>(), wanted());
    assert!(DOCKERFILE.contains("--cap-drop=ALL"));

    for (file, text) in [("github.yml", GITHUB), ("privileges.md", PRIVILEGES)] {
        let (_, rest) = text.split_once("setcap ").unwrap_or_else(|| panic!("{file} has no setcap"));
        let (names, _) = rest.split_once("+ep ").expect("the end of a list");
        let names = names.split(',').map(|name| name.trim_start_matches("cap_").to_uppercase());
        assert_eq!(names.collect::<BTreeSet<_>>(), wanted(), "{file}");
    }
}

#[test]
fn every_command_line_is_one_that_observer_takes_and_serves_where_it_is_looked_for() {
    let unit =
        UNIT.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/observer ")).expect("a command");
    let unit = unit.split(' ').map(str::to_owned).collect();
    let image = DOCKERFILE.lines().find_map(|line| line.strip_prefix("CMD ")).expect("a command");
    let image = words(&serde_json::from_str(image).expect("a list"));
    for (file, arguments, address) in [
        ("observer.service", unit, Some("127.0.0.1:9435")),
        ("Dockerfile", image, None),
        ("daemonset.yaml", words(&container(DAEMON_SET)["args"]), Some("127.0.0.1:9435")),
        ("reachable.yaml", words(&container(REACHABLE)["args"]), Some(":9435")),
    ] {
        let line = [vec!["observer".to_owned()], arguments].concat();
        let parsed = Cli::try_parse_from(&line).unwrap_or_else(|error| panic!("{file}: {error}"));
        let Some(Action::Serve(serve)) = parsed.action else { panic!("{file} does not serve") };
        assert_eq!(serve.expose.listen.map(|listen| listen.to_string()).as_deref(), address, "{file}");
        let is_reachable = address == Some(":9435");
        assert_eq!(serve.expose.web_config_file.is_some(), is_reachable, "{file}");
    }
}

/// Runs the script with `observer` in place of observer, and returns what it said, and what it left.
fn load_test(observer: &Path, folder: &Path, arguments: &[&str]) -> Output {
    let mut script = Command::new(SCRIPT);
    script.args(arguments).env("OBSERVER", observer).env("RESULTS", folder.join("results"));
    script.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", folder.join("summary"));
    script.output().expect("the script")
}

fn last_words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned()
}

#[test]
fn the_script_for_ci_says_whose_status_it_is() {
    for (status, of_command, words) in [
        (0, Some(0), "load-test: passed. It broke at 80 %."),
        (3, Some(0), "load-test: the load test passed, the host did not. It broke at 80 %."),
        (3, Some(3), "load-test: the load test failed by itself (3). It broke at 80 %."),
        (99, Some(99), "load-test: the load test failed by itself (99). It broke at 80 %."),
        (125, Some(125), "load-test: the load test failed by itself (125). It broke at 80 %."),
        (125, Some(0), "load-test: observer failed (125) after the load test had ended; its words are above"),
        (125, None, "load-test: observer failed (125); its words are above"),
        (127, None, "load-test: the load test could not be started (127)"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let stub = folder.path().join("observer");
        let writes = of_command.map_or(String::new(), |own| {
            format!(
                "case $1 in run) echo '**It broke at 80 %.**' >\"$RESULTS/verdict.md\" ;;\n\
                 report) [ \"$4\" = html ] || printf '{{\\n  \"exit_status\": {own},\\n}}\\n' >\"$6\"; exit 0 ;;\nesac\n"
            )
        });
        fs::write(&stub, format!("#!/bin/sh\n{writes}exit {status}\n")).expect("a stub");
        fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).expect("a mode");
        let output = load_test(&stub, folder.path(), &["--", "true"]);
        assert_eq!((output.status.code(), last_words(&output).as_str()), (Some(status), words));
        let told = String::from_utf8_lossy(&output.stdout);
        assert_eq!(told.contains("::error title=observer::"), status != 0, "{told}");
        assert!(!told.contains("80 % "), "a bare % in an annotation: {told}");
        assert_eq!(folder.path().join("summary").exists(), of_command.is_some());
    }
}

#[test]
fn the_script_for_ci_runs_a_load_test_and_leaves_what_is_to_be_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let observer = Path::new(env!("CARGO_BIN_EXE_observer"));
    let output =
        load_test(observer, folder.path(), &["--settle", "0s", "--", "sh", "-c", "echo loaded; exit 3"]);
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{words}");
    assert!(last_words(&output).starts_with("load-test: the load test failed by itself (3). "), "{words}");
    assert!(output.stdout.starts_with(b"loaded\n"));
    for file in ["verdict.md", "verdict.json", "report.html", "run.observer"] {
        let length = fs::metadata(folder.path().join("results").join(file)).map(|file| file.len());
        assert!(length.is_ok_and(|length| length > 0), "no {file}");
    }

    let output = load_test(observer, folder.path(), &["--target", ":8080"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(last_words(&output).contains("usage: "), "{}", last_words(&output));
}

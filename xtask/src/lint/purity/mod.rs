//! Keeps `observer/src/core` pure: no clock, no files, no threads, no runtime, nothing of the rest of observer.
//! Works on the syntax, so comments and strings may say what they like.

mod imports;
mod rules;
mod scan;
mod scope;
mod tokens;

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use self::scan::Scanned;
use crate::rust_files;

/// Checks the core of the crate whose sources lie in this folder. Answers with one line per finding.
pub fn check(sources: &Path) -> Result<Vec<String>> {
    let core = sources.join("core");
    if !core.is_dir() {
        bail!("{} does not exist: there is nothing to check", core.display());
    }
    let mut scanned = Vec::new();
    for path in rust_files::below(&core)? {
        let module = module_path(path.strip_prefix(sources)?);
        let text = rust_files::text(&path)?;
        let result =
            scan::scan(&text, module.clone()).with_context(|| format!("{} is no Rust", path.display()))?;
        scanned.push((path, module, result));
    }
    let test_modules: Vec<Vec<String>> =
        scanned.iter().flat_map(|(_, module, result)| test_modules(module, result)).collect();
    let mut findings = Vec::new();
    for (path, module, result) in &scanned {
        if test_modules.iter().any(|tests| module.starts_with(tests)) {
            continue;
        }
        let lines = result.findings.iter();
        findings
            .extend(lines.map(|finding| format!("{}:{}: {}", path.display(), finding.line, finding.what)));
    }
    Ok(findings)
}

/// The module in a file: core/lines/mod.rs is `crate::core::lines`.
fn module_path(file: &Path) -> Vec<String> {
    let without_suffix = file.with_extension("");
    let mut module = vec!["crate".to_owned()];
    module.extend(without_suffix.iter().map(|part| part.to_string_lossy().into_owned()));
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

fn test_modules(module: &[String], scanned: &Scanned) -> Vec<Vec<String>> {
    let below = |name: &String| module.iter().chain([name]).cloned().collect();
    scanned.test_modules.iter().map(below).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What is found in a file of the module crate::core::lines.
    fn findings(text: &str) -> Result<Vec<String>> {
        let module = ["crate", "core", "lines"].map(str::to_owned).to_vec();
        Ok(scan::scan(text, module)?.findings.into_iter().map(|finding| finding.what).collect())
    }

    #[track_caller]
    fn refused(text: &str, what: &str) {
        let findings = findings(text).unwrap_or_default();
        assert!(
            findings.len() == 1 && findings[0].contains(what),
            "`{text}` should give one finding with `{what}`, not {findings:?}"
        );
    }

    #[track_caller]
    fn allowed(text: &str) {
        let findings = findings(text);
        assert!(findings.as_ref().is_ok_and(Vec::is_empty), "`{text}` should be allowed, but: {findings:?}");
    }

    #[test]
    fn the_clock_is_refused() {
        refused("use std::time::Instant;", "std::time::Instant is about the clock");
        refused("use std::time::{Duration, SystemTime};", "SystemTime");
        refused("fn f() { let _ = std::time::Instant::now(); }", "Instant");
        refused("use std::time::*;", "std::time::*");
        refused("use std::time; fn f() { time::Instant::now(); }", "Instant");
        refused("use std::time as t; fn f() -> t::SystemTime { todo() }", "SystemTime");
        refused("const E: u8 = { core::time::UNIX_EPOCH; 0 };", "UNIX_EPOCH");
    }

    #[test]
    fn the_outside_is_refused() {
        refused("use std::fs;", "files");
        refused("use std::fs::{self, File as F};\n", "files");
        refused("use std::io::Write as _;", "input and output");
        refused("fn f() { std::process::exit(1) }", "processes");
        refused("fn f() { ::std::thread::yield_now() }", "threads");
        refused("fn f() -> bool { std::env::var(\"A\").is_ok() }", "the environment");
        refused("use std::os::fd::AsFd;", "the operating system");
        refused("use std::*;", "glob");
        refused("use std as s; fn f() { s::fs::read(\"a\"); }", "files");
    }

    #[test]
    fn sockets_are_refused_but_addresses_are_not() {
        refused("use std::net::TcpStream;", "the network");
        refused("use std::net::{IpAddr, UdpSocket};", "UdpSocket");
        refused("use std::net; fn f() { net::TcpListener::bind(\"a\"); }", "TcpListener");
        allowed("use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};");
    }

    #[test]
    fn foreign_crates_are_refused() {
        for name in ["tokio", "aya", "ratatui", "rusqlite", "libc", "nix", "procfs", "anyhow", "rand"] {
            refused(&format!("use {name}::thing;"), name);
            refused(&format!("fn f() {{ {name}::thing() }}"), name);
            refused(&format!("fn f(_: ::{name}::Thing) {{}}"), name);
            refused(&format!("extern crate {name};"), name);
        }
        refused("#[derive(procfs::Thing)] struct A;", "procfs");
        refused("extern \"C\" { fn clock_gettime(); }", "foreign function");
    }

    #[test]
    fn the_rest_of_observer_is_refused() {
        refused("use crate::kernel::load;", "crate::kernel");
        refused("use super::super::sources;", "crate::sources");
        refused("use crate::*;", "crate::*");
        refused("mod inner { use super::super::super::app::App; }", "crate::app");
        refused("fn f() { crate::recording::open() }", "crate::recording");
    }

    #[test]
    fn macros_hide_nothing() {
        refused("fn f() { let _ = vec![std::time::Instant::now()]; }", "Instant");
        refused("fn f() { assert!(x(|| tokio::spawn(y))); }", "tokio");
        refused("macro_rules! m { () => { std::fs::read(\"a\") }; }", "files");
        refused("fn f() { println!(\"hello\"); }", "prints");
        refused("fn f() { let _ = vec![dbg!(1)]; }", "prints");
    }

    #[test]
    fn what_is_pure_is_allowed() {
        allowed(
            "use std::collections::BTreeMap; use std::fmt::{self, Write as _}; use core::time::Duration;",
        );
        allowed("use observer_common::Signal; use serde::{Serialize, de::Error}; use thiserror::Error;");
        allowed("use crate::core::frame::Frame; use super::verdict; use super::super::core::load;");
        allowed("use std::time; fn f() -> time::Duration { time::Duration::from_secs(1) }");
        allowed("mod fs; mod tokio { pub fn spawn() {} } fn f() { tokio::spawn(); fs::read(); }");
        allowed("pub(crate) struct A; pub(super) fn f() { let _ = u64::MAX; let _ = Vec::<u8>::new(); }");
        allowed("enum Kind { A } use Kind::A; fn f() -> Kind { Kind::A }");
        allowed("#[allow(clippy::unwrap_used)] fn f(fs: u8, io: u8) -> u8 { fs + io }");
        allowed("// std::fs::read\n/// tokio::spawn\nfn f() -> &'static str { \"std::time::Instant\" }");
        allowed("fn f() { let x = vec![Vec::<u8>::new(), <Vec<u8> as Default>::default()]; }");
    }

    #[test]
    fn tests_may_do_as_they_like() {
        allowed("#[cfg(test)] mod tests { use std::fs; use proptest::prelude::*; }");
        allowed("#[test] fn f() { std::fs::read(\"a\"); }");
        refused("#[cfg(not(test))] mod inner { use std::fs; }", "files");
    }

    #[test]
    fn lines_and_files_are_named_and_test_files_left_out() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let core = folder.path().join("core");
        fs::create_dir_all(core.join("lines"))?;
        fs::write(core.join("mod.rs"), "pub mod lines;\n\nuse crate::app;\n")?;
        fs::write(core.join("lines/mod.rs"), "#[cfg(test)]\nmod tests;\n")?;
        fs::write(core.join("lines/tests.rs"), "use std::fs;\n")?;
        let found = check(folder.path())?;
        let expected = format!("{}:3: crate::app lies outside the core", core.join("mod.rs").display());
        assert_eq!(found, [expected]);
        Ok(())
    }

    #[test]
    fn a_missing_core_is_an_error() {
        assert!(check(Path::new("/nonexistent")).is_err());
    }
}

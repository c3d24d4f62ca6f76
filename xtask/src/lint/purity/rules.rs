//! What the core may name: the rules, on absolute paths.

/// Crates that the core may use besides the standard library.
const CRATES: &[&str] = &["observer_common", "serde", "thiserror"];

/// Modules of the standard library that reach outside the process, and what they stand for.
const OUTSIDE: &[(&str, &str)] = &[
    ("env", "the environment"),
    ("fs", "files"),
    ("io", "input and output"),
    ("os", "the operating system"),
    ("process", "processes"),
    ("thread", "threads"),
];

/// What is pure in modules that are mixed. Their other items, and globs, are not allowed.
const MIXED: &[(&str, &[&str], &str)] = &[
    (
        "net",
        &["AddrParseError", "IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "SocketAddrV4", "SocketAddrV6"],
        "the network",
    ),
    ("time", &["Duration", "TryFromFloatSecsError"], "the clock"),
];

/// Namespaces of attributes, which name no crate.
const TOOLS: &[&str] = &["clippy", "diagnostic", "rustdoc", "rustfmt"];

/// Macros of the standard library that print.
const PRINTING: &[&str] = &["dbg", "eprint", "eprintln", "print", "println"];

/// Judges an absolute path: it starts with `crate`, or with the name of a crate. The answer says what is wrong.
pub fn objection(path: &[String]) -> Option<String> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => outside_the_core(rest),
        "std" | "core" | "alloc" => impure_std(rest),
        name if CRATES.contains(&name) || TOOLS.contains(&name) => None,
        name => Some(format!("the crate {name} is not one of {}", CRATES.join(", "))),
    }
}

/// Judges the name of a macro.
pub fn macro_objection(name: &str) -> Option<String> {
    PRINTING.contains(&name).then(|| format!("{name}! prints"))
}

fn outside_the_core(rest: &[String]) -> Option<String> {
    match rest.first().map(String::as_str) {
        Some("core") => None,
        Some(module) => Some(format!("crate::{module} lies outside the core")),
        None => Some("the whole crate lies outside the core".to_owned()),
    }
}

fn impure_std(rest: &[String]) -> Option<String> {
    let (module, items) = rest.split_first()?;
    if module == "*" {
        return Some("a glob over the standard library hides what is used".to_owned());
    }
    if let Some((_, what)) = OUTSIDE.iter().find(|(name, _)| name == module) {
        return Some(format!("std::{module} is about {what}"));
    }
    let (_, pure, what) = MIXED.iter().find(|(name, ..)| name == module)?;
    let item = items.first()?;
    (!pure.contains(&item.as_str())).then(|| format!("std::{module}::{item} is about {what}"))
}

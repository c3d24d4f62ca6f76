//! No source may hold a path that only one machine has.

use std::path::Path;

use anyhow::Result;

use crate::rust_files;

/// Where people and build machines keep their own things. Put together here, so as not to find themselves.
const FOLDERS: &[&str] =
    &[concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];

/// Checks every Rust file below the root. Answers with one line per finding.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for path in rust_files::below(root)? {
        for (line, folder) in found(&rust_files::text(&path)?) {
            findings
                .push(format!("{}:{line}: a path below {folder} exists on one machine only", path.display()));
        }
    }
    Ok(findings)
}

/// The lines with such a path, and how it starts. A folder of that name inside another path is none.
fn found(text: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for folder in FOLDERS {
            let starts_a_path = |at: usize| {
                !line[..at].ends_with(|before: char| before.is_alphanumeric() || "}._-/".contains(before))
            };
            if line.match_indices(folder).any(|(at, _)| starts_a_path(at)) {
                found.push((index + 1, *folder));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_paths_of_people_are_found() {
        let text =
            format!("fine\nlet a = \"{}ann/x\";\n// {}x\n", concat!("/ho", "me/"), concat!("/ro", "ot/"));
        assert_eq!(found(&text), [(2, FOLDERS[1]), (3, FOLDERS[0])]);
    }

    #[test]
    fn relative_paths_are_not() {
        let text = format!("tests{}x {{base}}{}y", concat!("/wo", "rk/"), concat!("/ho", "me/"));
        assert_eq!(found(&text), []);
    }
}

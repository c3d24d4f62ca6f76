//! A test that is ignored in the code has to be on the list of expected skips, with its reason.

use std::path::Path;

use anyhow::{Context as _, Result};
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ItemFn, Lit, Meta};

use crate::rust_files;
use crate::skips::{ExpectedSkips, LIST};

/// Checks every Rust file below the root. Answers with one line per finding.
pub fn check(root: &Path, expected: &ExpectedSkips) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for path in rust_files::below(root)? {
        let text = rust_files::text(&path)?;
        let ignored = ignored(&text).with_context(|| format!("{} is no Rust", path.display()))?;
        for (test, reason) in ignored {
            let Some(reason) = reason else {
                findings.push(format!("{}: the ignored test {test} gives no reason", path.display()));
                continue;
            };
            if !expected.allows_ignored(&test, &reason) {
                findings
                    .push(format!("{}: the ignored test {test} ({reason}) is not in {LIST}", path.display()));
            }
        }
    }
    Ok(findings)
}

/// The ignored tests of a file, with their reasons.
fn ignored(text: &str) -> syn::Result<Vec<(String, Option<String>)>> {
    let mut found = Ignored(Vec::new());
    found.visit_file(&syn::parse_file(text)?);
    Ok(found.0)
}

struct Ignored(Vec<(String, Option<String>)>);

impl<'ast> Visit<'ast> for Ignored {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        if let Some(attribute) = function.attrs.iter().find(|attribute| attribute.path().is_ident("ignore")) {
            self.0.push((function.sig.ident.to_string(), reason(attribute)));
        }
        visit::visit_item_fn(self, function);
    }
}

/// The text of `#[ignore = "text"]`.
fn reason(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else { return None };
    match &pair.value {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_tests_are_found_with_their_reasons() -> syn::Result<()> {
        let text =
            "mod t { #[test] #[ignore] fn a() {} #[test] #[ignore = \"slow\"] fn b() {} #[test] fn c() {} }";
        let expected = [("a".to_owned(), None), ("b".to_owned(), Some("slow".to_owned()))];
        assert_eq!(ignored(text)?, expected);
        Ok(())
    }
}

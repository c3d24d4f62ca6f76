//! Takes a `use` apart into the names that it brings.

use syn::UseTree;
use syn::spanned::Spanned as _;

/// One name that a `use` brings.
pub struct Import {
    /// The path as written, ending in `*` for a glob.
    pub path: Vec<String>,
    /// The name under which it is known from then on; nothing for a glob.
    pub name: Option<String>,
    /// The line, from 1 on.
    pub line: usize,
}

/// All names of one `use`.
pub fn of(tree: &UseTree) -> Vec<Import> {
    let mut found = Vec::new();
    collect(tree, &mut Vec::new(), &mut found);
    found
}

fn collect(tree: &UseTree, prefix: &mut Vec<String>, found: &mut Vec<Import>) {
    let line = tree.span().start().line;
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            collect(&path.tree, prefix, found);
            prefix.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| collect(tree, prefix, found)),
        UseTree::Name(name) => {
            let path = extended(prefix, &name.ident.to_string());
            found.push(Import { name: path.last().cloned(), path, line });
        }
        UseTree::Rename(rename) => {
            let path = extended(prefix, &rename.ident.to_string());
            found.push(Import { name: Some(rename.rename.to_string()), path, line });
        }
        UseTree::Glob(_) => found.push(Import { path: extended(prefix, "*"), name: None, line }),
    }
}

/// `use std::fs::{self}` names std::fs.
fn extended(prefix: &[String], last: &str) -> Vec<String> {
    let mut path = prefix.to_vec();
    if last != "self" || path.is_empty() {
        path.push(last.to_owned());
    }
    path
}

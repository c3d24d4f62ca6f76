//! A picture that a document shows has to be in the repository.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Where documents are, below the root.
const FOLDERS: [&str; 2] = ["", "docs"];

/// What stands before the address of a picture, in Markdown and in HTML, and what ends it.
const SIGNS: [(&str, char); 3] = [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')];
const SUFFIXES: [&str; 3] = [".svg", ".png", ".jpg"];

/// Checks every document. Answers with one line per picture that is not there.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for document in documents(root)? {
        let text = fs::read_to_string(&document)
            .with_context(|| format!("{} cannot be read", document.display()))?;
        let folder = document.parent().unwrap_or(root);
        for picture in shown(&text).into_iter().filter(|picture| !folder.join(picture).is_file()) {
            findings
                .push(format!("{}: there is no {picture}: run `cargo xtask pictures`", document.display()));
        }
    }
    Ok(findings)
}

fn documents(root: &Path) -> Result<Vec<PathBuf>> {
    let mut documents = Vec::new();
    for folder in FOLDERS.map(|folder| root.join(folder)).into_iter().filter(|folder| folder.is_dir()) {
        for entry in fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))? {
            documents.push(entry?.path());
        }
    }
    documents.retain(|path| path.extension().is_some_and(|suffix| suffix == "md"));
    documents.sort();
    Ok(documents)
}

/// The pictures of a document that are files of the repository.
fn shown(text: &str) -> Vec<&str> {
    let mut shown = Vec::new();
    for (before, after) in SIGNS {
        let addresses = text.split(before).skip(1).filter_map(|rest| rest.split(after).next());
        shown.extend(addresses.filter(|address| {
            !address.contains("://") && SUFFIXES.iter().any(|suffix| address.ends_with(suffix))
        }));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_found_in_markdown_and_in_html() {
        let text = "![a](x/a.svg) [b](b.md) <img alt=\"c\" src=\"c.png\"><source srcset=\"d.png\">\n\
                    ![e](https://example.org/e.png)";
        assert_eq!(shown(text), ["x/a.svg", "c.png", "d.png"]);
    }

    #[test]
    fn one_that_is_not_there_is_a_finding() -> Result<()> {
        let root = tempfile::tempdir()?;
        fs::create_dir(root.path().join("docs"))?;
        fs::write(root.path().join("docs/here.svg"), "")?;
        fs::write(root.path().join("README.md"), "![a](docs/here.svg) ![b](docs/gone.svg)")?;
        fs::write(root.path().join("docs/more.md"), "![a](here.svg)")?;
        let findings = check(root.path())?;
        assert_eq!(findings.len(), 1);
        assert!(findings[0].contains("README.md: there is no docs/gone.svg"));
        Ok(())
    }
}

//! What the last complete run at each place gave: target/accuracy/PLACE.txt and PLACE.doctor.json.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::counts::Count;
use super::load::Load;
use crate::place::Place;
use crate::tree::Tree;

/// Removes what an earlier run at this place gave: it must not pass for the result of one that dies.
pub fn forget(tree: &Tree, place: Place) -> Result<()> {
    for path in [counts_file(tree, place), load_file(tree, place)] {
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("{} cannot be removed", path.display()))?;
        }
    }
    Ok(())
}

/// Keeps the lines in which the lab told its counts.
pub fn keep_counts(tree: &Tree, place: Place, lines: &[String]) -> Result<()> {
    keep(counts_file(tree, place), lines.iter().map(|line| format!("{line}\n")).collect())
}

/// Keeps what `observer doctor --format json` said.
pub fn keep_load(tree: &Tree, place: Place, json: &str) -> Result<()> {
    keep(load_file(tree, place), json.to_owned())
}

/// The counts of the last complete run at this place, if there was one.
pub fn counts(tree: &Tree, place: Place) -> Result<Option<Vec<Count>>> {
    let path = counts_file(tree, place);
    let Some(text) = read(&path)? else { return Ok(None) };
    let counts: Result<Vec<Count>> = text.lines().map(Count::parse).collect();
    counts.map(Some).with_context(|| format!("{} is not understood", path.display()))
}

/// What the programs cost at this place, if that is known.
pub fn load(tree: &Tree, place: Place) -> Result<Option<Load>> {
    let path = load_file(tree, place);
    let Some(text) = read(&path)? else { return Ok(None) };
    Load::parse(&text).map(Some).with_context(|| format!("{} is not understood", path.display()))
}

fn counts_file(tree: &Tree, place: Place) -> PathBuf {
    tree.target.join("accuracy").join(format!("{}.txt", place.name()))
}

fn load_file(tree: &Tree, place: Place) -> PathBuf {
    tree.target.join("accuracy").join(format!("{}.doctor.json", place.name()))
}

fn read(path: &Path) -> Result<Option<String>> {
    if !path.exists() {
        return Ok(None);
    }
    fs::read_to_string(path).map(Some).with_context(|| format!("{} cannot be read", path.display()))
}

fn keep(path: PathBuf, content: String) -> Result<()> {
    let folder = path.parent().unwrap_or(&path);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&path, content))
        .with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VM: Place = Place::Machine("7.x");

    #[test]
    fn what_was_kept_is_found_again_until_it_is_forgotten() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let tree = Tree {
            root: folder.path().into(),
            tools: folder.path().join("tools"),
            target: folder.path().join("target"),
        };
        assert!(counts(&tree, VM)?.is_none());
        keep_counts(&tree, VM, &["count a b hook=1 kernel=X:1 app=- tier=kprobe".to_owned()])?;
        keep_load(&tree, VM, "{}")?;
        assert_eq!(counts(&tree, VM)?.map(|counts| counts.len()), Some(1));
        assert!(load(&tree, VM)?.is_some() && load(&tree, Place::Host)?.is_none());
        forget(&tree, VM)?;
        assert!(counts(&tree, VM)?.is_none() && load(&tree, VM)?.is_none());
        Ok(())
    }
}

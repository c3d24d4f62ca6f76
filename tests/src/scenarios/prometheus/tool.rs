//! promtool, and what it has to say.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::files;
use crate::children::tie;

/// promtool in a folder.
pub struct Promtool<'a> {
    pub program: PathBuf,
    pub folder: &'a Path,
}

impl Promtool<'_> {
    /// What observer answers passes its linter without a word.
    pub fn check_metrics(&self, metrics: &str) -> Result<()> {
        let file = self.folder.join("metrics.txt");
        fs::write(&file, metrics)?;
        let mut command = self.command(&["check", "metrics"]);
        command.stdin(File::open(&file)?);
        let said = said(command)?;
        ensure!(said.is_empty(), "promtool does not like the metrics: {said}");
        println!("  promtool has nothing to say of {} lines", metrics.lines().count());
        Ok(())
    }

    /// The rules are sound, and do what their tests say.
    pub fn check_rules(&self) -> Result<()> {
        for (name, text) in [files::RULES, files::RULE_TESTS] {
            fs::write(self.folder.join(name), text)?;
        }
        self.succeed(&["check", "rules", files::RULES.0])?;
        self.succeed(&["test", "rules", files::RULE_TESTS.0])
    }

    /// The whole configuration is sound, and what it names is there.
    pub fn check_config(&self) -> Result<()> {
        fs::write(self.folder.join(files::CONFIG.0), files::CONFIG.1)?;
        self.succeed(&["check", "config", files::CONFIG.0])
    }

    fn succeed(&self, words: &[&str]) -> Result<()> {
        let said = said(self.command(words))?;
        println!("  promtool {}: {}", words.join(" "), said.split_whitespace().collect::<Vec<_>>().join(" "));
        Ok(())
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).current_dir(self.folder);
        command
    }
}

/// What a program has said that has to succeed.
fn said(mut command: Command) -> Result<String> {
    tie(&mut command)?;
    let output = command.output().context("promtool cannot be run")?;
    let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat();
    ensure!(output.status.success(), "promtool ended with {}: {said}", output.status);
    Ok(said)
}

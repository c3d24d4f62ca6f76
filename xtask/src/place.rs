//! Where the programs under test run: on this host, or in a virtual machine with a kernel of its own.

use std::ops::ControlFlow;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process::{self, Ending};
use crate::toolchain;
use crate::tree::Tree;
use crate::vm::{Machine, Time};

/// A place where the static binaries run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Here.
    Host,
    /// In a virtual machine that boots this kernel series.
    Machine(&'static str),
}

impl Place {
    /// What it is called in results and in the list of expected skips.
    pub fn name(self) -> String {
        match self {
            Self::Host => "host".to_owned(),
            Self::Machine(kernel) => format!("vm-{kernel}"),
        }
    }

    /// What it is called where only places are named.
    pub fn short_name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Machine(kernel) => kernel,
        }
    }

    /// Where this place has one of the static binaries.
    pub fn program(self, tree: &Tree, name: &str) -> String {
        match self {
            Self::Host => tree.static_release(name).display().to_string(),
            Self::Machine(_) => format!("/{name}"),
        }
    }

    /// Runs a command, hands over its lines as they come, and returns its exit status; none, if a signal ended it.
    pub fn run(
        self,
        tree: &Tree,
        command: &[String],
        limit: Duration,
        mut on_line: impl FnMut(&str),
    ) -> Result<Option<i32>> {
        if let Self::Machine(kernel) = self {
            let machine = Machine { kernel, limit, time: Time::Real, modules: &[], fetch: &[] };
            return machine.run(tree, command, on_line).map(|status| Some(status.into()));
        }
        let [program, arguments @ ..] = command else { bail!("there is no command to run") };
        let mut command = Command::new(program);
        command.args(arguments).env("PATH", toolchain::path_with_tools(tree)?);
        let ending = process::stream(&mut command, limit, |line| {
            on_line(line);
            ControlFlow::Continue(())
        })?;
        match ending {
            Ending::Exited(status) => Ok(status.code()),
            _ => bail!("`{}` did not end within {} s", process::shown(&command), limit.as_secs()),
        }
    }
}

//! A network namespace of its own, linked to another one: where clients come from that are not on the same
//! host as the service.

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::{obey, ready};
use crate::{netns, report::Tally, veth};

/// Options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Link {
    /// Link to this process's network namespace, which becomes [`veth::FAR`].
    #[arg(long)]
    pub to: u32,
}

impl Link {
    /// Plays the role: there is nothing to do but to be there.
    pub fn play(&self) -> Result<()> {
        netns::create()?;
        netns::loopback_up()?;
        veth::link_to(self.to)?;
        ready()?;
        obey(Tally::default, |_| {})
    }
}

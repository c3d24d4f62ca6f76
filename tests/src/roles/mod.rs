//! What the lab's own processes can be: services, loads, and the odd ones. Each is a hidden subcommand.

pub mod answer;
pub mod appetite;
pub mod await_signal;
pub mod crowd;
pub mod decoys;
pub mod dial;
pub mod doors;
pub mod exit;
pub mod files;
pub mod flood;
pub mod knock;
pub mod link;
pub mod load;
pub mod packet;
pub mod ports;
pub mod program;
pub mod router;
pub mod serve;
pub mod shape;
pub mod storm;
pub mod strain;

use std::process;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use serde_json::Value;

use crate::{
    netns,
    report::{Order, Report, Tally, orders},
};

/// A role and its options. The same type is parsed from a command line and makes one.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// An HTTP service.
    #[command(hide = true)]
    Serve(serve::Serve),
    /// An HTTP load, one connection per request.
    #[command(hide = true)]
    Load(load::Load),
    /// An HTTP load of known shape.
    #[command(hide = true)]
    Shape(shape::Shape),
    /// Sockets that are there and do nothing.
    #[command(hide = true)]
    Crowd(crowd::Crowd),
    /// Raw SYNs from sources that do not exist.
    #[command(hide = true)]
    Flood(flood::Flood),
    /// Failures as fast as the machine makes them.
    #[command(hide = true)]
    Storm(storm::Storm),
    /// A service on many ports.
    #[command(hide = true)]
    Doors(doors::Doors),
    /// Connections without a word to some of them.
    #[command(hide = true)]
    Knock(knock::Knock),
    /// Takes local ports until there are none.
    #[command(hide = true)]
    Ports(ports::Ports),
    /// Opens files until the host has no room for more.
    #[command(hide = true)]
    Files(files::Files),
    /// A program that is not the lab's own.
    #[command(hide = true)]
    Program(program::Program),
    /// Errors that look like faults and are none.
    #[command(hide = true)]
    Decoys(decoys::Decoys),
    /// The one decoy that needs a process of its own.
    #[command(hide = true)]
    InotifyDecoy,
    /// Waits for signals and reports them.
    #[command(hide = true)]
    AwaitSignal(await_signal::AwaitSignal),
    /// Ends with a status, or by a signal.
    #[command(hide = true)]
    Exit(exit::Exit),
    /// Burns CPU time.
    #[command(hide = true)]
    Burn(strain::Burn),
    /// Takes memory until it is killed.
    #[command(hide = true)]
    Hog(strain::Hog),
    /// A network namespace with a link to another one.
    #[command(hide = true)]
    Link(link::Link),
    /// A router that knows no way to anywhere.
    #[command(hide = true)]
    Router,
}

impl Role {
    /// Plays the role to its end.
    pub fn play(&self) -> Result<()> {
        match self {
            Self::Serve(role) => role.play(),
            Self::Load(role) => role.play(),
            Self::Shape(role) => role.play(),
            Self::Crowd(role) => role.play(),
            Self::Flood(role) => role.play(),
            Self::Storm(role) => role.play(),
            Self::Doors(role) => role.play(),
            Self::Knock(role) => role.play(),
            Self::Ports(role) => role.play(),
            Self::Files(role) => role.play(),
            Self::Program(role) => role.play(),
            Self::Decoys(role) => role.play(),
            Self::InotifyDecoy => decoys::exhaust_inotify(),
            Self::AwaitSignal(role) => role.play(),
            Self::Exit(role) => role.play(),
            Self::Burn(role) => role.play(),
            Self::Hog(role) => role.play(),
            Self::Link(role) => role.play(),
            Self::Router => router::play(),
        }
    }

    /// The command line that makes this role.
    pub fn args(&self) -> Result<Vec<String>> {
        match serde_json::to_value(self)? {
            Value::String(name) => Ok(vec![name]),
            Value::Object(role) => {
                let (name, options) = role.into_iter().next().context("a role has a name")?;
                let mut args = vec![name];
                if let Value::Object(options) = options {
                    options.iter().for_each(|(option, value)| push_option(&mut args, option, value));
                }
                Ok(args)
            }
            other => bail!("not a role: {other}"),
        }
    }
}

fn push_option(args: &mut Vec<String>, option: &str, value: &Value) {
    match value {
        Value::Null | Value::Bool(false) => {}
        Value::Bool(true) => args.push(format!("--{option}")),
        Value::Array(values) => values.iter().for_each(|value| push_option(args, option, value)),
        Value::String(text) => args.push(format!("--{option}={text}")),
        other => args.push(format!("--{option}={other}")),
    }
}

/// Reports that the role is set up.
fn ready() -> Result<()> {
    let pid = process::id();
    Ok(Report::Ready { pid, netns: netns::inode(pid)? }.send()?)
}

/// Takes orders until told to stop, or until nobody is left to give any.
fn obey(tally: impl Fn() -> Tally, mut other: impl FnMut(Order)) -> Result<()> {
    for order in orders() {
        match order {
            Order::Tally => Report::Tally(tally()).send()?,
            Order::Stop => break,
            Order::Relent | Order::Resume | Order::Swell => other(order),
        }
    }
    Ok(())
}

/// Sets the soft limit on descriptors of this process.
fn limit_descriptors(soft: u64) -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).context("cannot set RLIMIT_NOFILE")
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Task};

    #[test]
    fn a_role_survives_its_command_line() {
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80);
        let roles = [
            Role::Serve(serve::Serve {
                sysctl: vec!["a/b=1".into(), "c/d=2 3".into()],
                paused: true,
                nofile: Some(64),
                ..serve::Serve::on(8080)
            }),
            Role::Load(load::Load {
                workers: 7,
                progress: true,
                first_try: Some((std::net::Ipv6Addr::LOCALHOST, 80).into()),
                ..load::Load::to(to)
            }),
            Role::Shape(shape::Shape {
                to,
                netns_of: Some(1),
                part: vec![
                    shape::Part { from: 0, to: 200, ms: 1000 },
                    shape::Part { from: 200, to: 200, ms: 500 },
                ],
            }),
            Role::Flood(flood::Flood { complete: true, ..flood::Flood::to(to) }),
            Role::Ports(ports::Ports { how: ports::How::BindFixed, ..ports::Ports::to(to) }),
            Role::Crowd(crowd::Crowd { listeners: 3, connections: 5, netns_of: Some(1) }),
            Role::Doors(doors::Doors { first: 8000, ports: 203 }),
            Role::Knock(knock::Knock {
                netns_of: 1,
                workers: 4,
                round: vec![
                    knock::Round { first: 8000, ports: 3, times: 400 },
                    knock::Round { first: 8003, ports: 200, times: 3 },
                ],
            }),
            Role::Storm(storm::Storm {
                netns_of: 1,
                full: to,
                established: 9,
                closed: to,
                most: 1000,
                for_ms: 500,
            }),
            Role::Exit(exit::Exit { status: Some(7), signal: None }),
            Role::Files(files::Files { user: 65534, failures: 5, interval_ms: 1 }),
            Role::Program(program::Program {
                netns_of: Some(1),
                path: "/bin/echo".into(),
                argument: vec!["-n".into(), "a=b c".into()],
            }),
            Role::InotifyDecoy,
            Role::Burn(strain::Burn { cgroup: vec!["/a".into(), "/b".into()], threads: 2 }),
            Role::Hog(strain::Hog { cgroup: Vec::new(), oom_score_adj: Some(-5), mib_per_s: 9 }),
            Role::Link(link::Link { to: 7 }),
        ];
        for role in roles {
            let args = role.args().expect("args");
            let cli = Cli::try_parse_from([vec!["observer-lab".to_owned()], args].concat()).expect("parse");
            assert!(matches!(cli.task, Task::Role(parsed) if parsed == role), "{role:?}");
        }
    }
}

//! nginx under wrk, in a network namespace of their own.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};

use super::Plan;
use crate::{
    nginx::{Limits, Nginx, PORT},
    programs::installed,
    roles::{Role, program::Program},
    stage::Stage,
};

/// One worker leaves the other CPU of a small machine to wrk.
const LIMITS: Limits = Limits { descriptors: 4096, connections: 2048, backlog: 511 };

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Each on a connection of its own: the worst case.
    ConnectionPerRequest,
    /// All over the same few.
    KeepAlive,
}

impl Load {
    /// Its name in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConnectionPerRequest => "a connection per request",
            Self::KeepAlive => "keep-alive",
        }
    }
}

/// What wrk says of one turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answered {
    pub requests: f64,
    pub requests_per_s: f64,
    pub p99_ms: f64,
}

/// An nginx with one worker, and the wrk to put it under load.
pub struct Web<'a> {
    stage: &'a Stage,
    wrk: PathBuf,
    nginx: Nginx,
}

impl<'a> Web<'a> {
    /// Starts nginx.
    pub fn start(stage: &'a Stage) -> Result<Self> {
        let nginx = installed("nginx").context("nginx is not installed")?;
        let wrk = installed("wrk").context("wrk is not installed")?;
        Ok(Self { stage, wrk, nginx: Nginx::start(stage, nginx, LIMITS)? })
    }

    /// A process in the network namespace where all of it happens.
    pub fn inside(&self) -> u32 {
        self.nginx.worker
    }

    /// One turn under load.
    pub fn turn(&self, load: Load, plan: &Plan) -> Result<Answered> {
        let mut argument: Vec<String> =
            ["--threads=1", "--connections=32", "--latency"].map(str::to_owned).into();
        argument.push(format!("--duration={}s", plan.turn.as_secs().max(1)));
        if load == Load::ConnectionPerRequest {
            argument.push("--header=Connection: close".to_owned());
        }
        argument.push(format!("http://127.0.0.1:{PORT}/"));
        let role =
            Role::Program(Program { netns_of: Some(self.nginx.worker), path: self.wrk.clone(), argument });
        let mut running = self.stage.start("wrk", &role)?;
        let status = running.wait(plan.turn + Duration::from_secs(60))?;
        let said = fs::read_to_string(self.stage.folder().join("wrk.stderr"))?;
        if !status.success() {
            bail!("wrk ended with {status}: {said}");
        }
        answered(&said).with_context(|| format!("wrk says {said:?}"))
    }
}

/// Reads what wrk prints at its end.
fn answered(said: &str) -> Option<Answered> {
    let after = |label: &str| said.lines().find_map(|line| line.trim().strip_prefix(label)).map(str::trim);
    let requests = said.lines().find_map(|line| line.trim().split_once(" requests in "))?.0;
    Some(Answered {
        requests: requests.parse().ok()?,
        requests_per_s: after("Requests/sec:")?.parse().ok()?,
        p99_ms: milliseconds(after("99%")?)?,
    })
}

fn milliseconds(text: &str) -> Option<f64> {
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3)];
    units.iter().find_map(|(unit, scale)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * scale))
}

#[cfg(test)]
mod tests {
    use super::{Answered, answered};

    #[test]
    fn what_wrk_prints_is_understood() {
        let said = "Running 3s test @ http://127.0.0.1:8080/\n  Latency Distribution\n     50%  812.00us\n     \
                    99%    1.72ms\n  36215 requests in 3.00s, 5.63MB read\nRequests/sec:  12069.83\n";
        let expected = Answered { requests: 36215.0, requests_per_s: 12069.83, p99_ms: 1.72 };
        assert_eq!(answered(said), Some(expected));
        assert_eq!(answered("unable to connect"), None);
    }
}

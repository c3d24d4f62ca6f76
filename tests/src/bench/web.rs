//! nginx under wrk, in a network namespace of their own.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::Plan;
use crate::{
    children::Running,
    netns,
    nginx::{Limits, Nginx, PORT, STATUS},
    programs::installed,
    roles::{Role, program::Program},
    stage::{PATIENCE, Stage},
};

/// One worker leaves the other CPU of a small machine to wrk.
const LIMITS: Limits = Limits { descriptors: 4096, connections: 2048, backlog: 511 };

/// Requests of a turn with wrk at work.
const LEAST: f64 = 100.0;

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
        let mut running = self.wrk(load, plan.turn)?;
        let status = running.wait(plan.turn + Duration::from_secs(60))?;
        let said = fs::read_to_string(self.stage.folder().join("wrk.stderr"))?;
        if !status.success() {
            bail!("wrk ended with {status}: {said}");
        }
        answered(&said).with_context(|| format!("wrk says {said:?}"))
    }

    /// A load that goes on.
    pub fn flow(&self, load: Load) -> Result<Flow> {
        const A_DAY: Duration = Duration::from_secs(86_400);
        let status = netns::inside(self.nginx.worker, || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).context("nginx does not answer")
        })?;
        status.set_read_timeout(Some(PATIENCE))?;
        Ok(Flow { _wrk: self.wrk(load, A_DAY)?, status })
    }

    fn wrk(&self, load: Load, length: Duration) -> Result<Running> {
        let mut argument: Vec<String> =
            ["--threads=1", "--connections=32", "--latency"].map(str::to_owned).into();
        argument.push(format!("--duration={}s", length.as_secs().max(1)));
        if load == Load::ConnectionPerRequest {
            argument.push("--header=Connection: close".to_owned());
        }
        argument.push(format!("http://127.0.0.1:{PORT}/"));
        let role =
            Role::Program(Program { netns_of: Some(self.nginx.worker), path: self.wrk.clone(), argument });
        self.stage.start("wrk", &role)
    }
}

/// An nginx under a load that goes on; dropping it ends the load.
pub struct Flow {
    _wrk: Running,
    /// A connection of its own, over which nginx is asked.
    status: TcpStream,
}

impl Flow {
    /// Requests per second in this turn, by nginx's own count.
    pub fn requests_per_s(&mut self, turn: Duration) -> Result<f64> {
        let (before, began) = (self.requests()?, Instant::now());
        thread::sleep(turn);
        let requests = self.requests()? - before;
        ensure!(requests >= LEAST, "nginx answered {requests} requests in {turn:?}: wrk is not at work");
        Ok(requests / began.elapsed().as_secs_f64())
    }

    fn requests(&mut self) -> Result<f64> {
        write!(self.status, "GET {STATUS} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut said = [0; 1024];
        let length = self.status.read(&mut said).context("nginx does not tell its status")?;
        let said = String::from_utf8_lossy(&said[..length]);
        requests_told(&said).with_context(|| format!("nginx says {said:?}"))
    }
}

/// Reads the third number below `server accepts handled requests`.
fn requests_told(said: &str) -> Option<f64> {
    let numbers = said.lines().skip_while(|line| !line.starts_with("server accepts")).nth(1)?;
    numbers.split_whitespace().nth(2)?.parse().ok()
}

/// Reads what wrk prints at its end; nothing where any request failed.
fn answered(said: &str) -> Option<Answered> {
    if ["Socket errors:", "Non-2xx"].iter().any(|wrong| said.contains(wrong)) {
        return None;
    }
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
    use super::{Answered, answered, requests_told};

    #[test]
    fn what_wrk_prints_is_understood() {
        let said = "Running 3s test @ http://127.0.0.1:8080/\n  Latency Distribution\n     50%  812.00us\n     \
                    99%    1.72ms\n  36215 requests in 3.00s, 5.63MB read\nRequests/sec:  12069.83\n";
        let expected = Answered { requests: 36215.0, requests_per_s: 12069.83, p99_ms: 1.72 };
        assert_eq!(answered(said), Some(expected));
        assert_eq!(answered("unable to connect"), None);
        assert_eq!(answered(&said.replace("\nReq", "\n  Socket errors: connect 0, read 3\nReq")), None);
    }

    #[test]
    fn what_nginx_tells_is_understood() {
        let said = "HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\nActive connections: 34 \nserver accepts handled requests\n \
                    90 89 1234 \nReading: 0 Writing: 1 Waiting: 33 \n";
        assert_eq!(requests_told(said), Some(1234.0));
        assert_eq!(requests_told("HTTP/1.1 404 Not Found\r\n\r\n"), None);
    }
}

//! A Prometheus, and what it answers (https://prometheus.io/docs/prometheus/latest/querying/api).

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, de::DeserializeOwned};

use super::{files, said_after, wait_for};
use crate::{children::Running, stage::PATIENCE};

/// What it says when it listens; the address follows.
const LISTENING: &str = "msg=\"Listening on\" address=";

/// A Prometheus with storage of its own.
pub struct Prometheus {
    /// Ends it with it.
    _running: Running,
    address: String,
}

impl Prometheus {
    /// Starts it with this configuration, in a folder where the files are that it names.
    pub fn start(program: &Path, folder: &Path, config: &str) -> Result<Self> {
        let file = folder.join("scrape.yml");
        fs::write(&file, config)?;
        fs::write(folder.join(files::RULES.0), files::RULES.1)?;
        let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let mut command = Command::new(program);
        command.arg(option("config.file", &file)).arg(option("storage.tsdb.path", &folder.join("tsdb")));
        command.args(["--web.listen-address=127.0.0.1:0", "--storage.tsdb.retention.time=1h"]);
        let running = Running::start("prometheus", command, folder)?;
        let address = said_after(&folder.join("prometheus.stderr"), LISTENING)?;
        let prometheus = Self { _running: running, address };
        // It refuses until it has read its configuration.
        wait_for("a Prometheus that is ready", || prometheus.is_ready(), |ready| *ready)?;
        Ok(prometheus)
    }

    /// Whom it scrapes.
    pub fn targets(&self) -> Result<Vec<Target>> {
        Ok(self.ask::<Targets>("targets?state=active")?.active_targets)
    }

    /// The alerts that there are, pending or firing.
    pub fn alerts(&self) -> Result<Vec<Alert>> {
        Ok(self.ask::<Alerts>("alerts")?.alerts)
    }

    /// How its rules fare.
    pub fn rules(&self) -> Result<Vec<Rule>> {
        Ok(self.ask::<Rules>("rules")?.groups.into_iter().flat_map(|group| group.rules).collect())
    }

    /// The latest samples of a metric.
    pub fn query(&self, metric: &str) -> Result<Vec<Sample>> {
        Ok(self.ask::<Vector>(&format!("query?query={metric}"))?.result)
    }

    fn is_ready(&self) -> Result<bool> {
        Ok(answer(&self.address, "/-/ready")?.0 == 200)
    }

    fn ask<T: DeserializeOwned>(&self, what: &str) -> Result<T> {
        let text = get(&self.address, &format!("/api/v1/{what}"))?;
        let answer: Answer<T> =
            serde_json::from_str(&text).with_context(|| format!("{what} is not understood: {text}"))?;
        Ok(answer.data)
    }
}

/// The body of an answer that is as it should be.
pub fn get(address: &str, path: &str) -> Result<String> {
    match answer(address, path)? {
        (200, body) => Ok(body),
        (status, body) => bail!("{address}{path} answers {status}: {body}"),
    }
}

/// Status and body. HTTP/1.0 has neither chunks nor connections that stay.
fn answer(address: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).with_context(|| format!("{address}{path} does not answer"))?;
    let (head, body) = text.split_once("\r\n\r\n").context("an answer without a head")?;
    let status = head.split(' ').nth(1).context("an answer without a status")?;
    Ok((status.parse()?, body.to_owned()))
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Targets {
    active_targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Alerts {
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Vector {
    result: Vec<Sample>,
}

/// Somebody that is scraped.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    labels: BTreeMap<String, String>,
    /// Where.
    pub scrape_url: String,
    /// `up`, `down`, or `unknown` before the first time.
    pub health: String,
    /// Why it is down.
    pub last_error: String,
}

impl Target {
    /// Whether it has been scraped, and has answered in time. On a busy host a password may take too long the first
    /// time that it is checked; that says nothing of who is let in.
    pub fn has_answered(&self) -> bool {
        self.health != "unknown" && !self.last_error.ends_with("context deadline exceeded")
    }

    /// The job that it belongs to.
    pub fn job(&self) -> &str {
        self.labels.get("job").map_or("", |job| job)
    }
}

/// An alert that is pending or fires.
#[derive(Debug, Deserialize)]
pub struct Alert {
    labels: BTreeMap<String, String>,
    /// What people are told.
    pub annotations: BTreeMap<String, String>,
    state: String,
}

impl Alert {
    /// A label, or nothing.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", |value| value)
    }

    /// Whether somebody is told.
    pub fn is_firing(&self) -> bool {
        self.state == "firing"
    }
}

/// A rule that records or alerts.
#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "most of it is for the words of a failure")]
pub struct Rule {
    name: String,
    /// `ok`, `err`, or `unknown` before the first time.
    pub health: String,
    #[serde(default, rename = "lastError")]
    last_error: String,
}

/// A series and its latest value.
#[derive(Debug, Deserialize)]
pub struct Sample {
    /// Its labels.
    pub metric: BTreeMap<String, String>,
    value: (f64, String),
}

impl Sample {
    /// The value, as Prometheus writes it.
    pub fn value(&self) -> &str {
        &self.value.1
    }
}

//! A real Prometheus scrapes `observer serve` with the configuration, the certificates and the rules of
//! docs/deploy/prometheus, and its alert names the fault line that breaks. promtool has nothing to say.

mod api;
mod files;
mod tool;

use std::{
    collections::BTreeMap,
    fmt::Debug,
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use self::{
    api::{Alert, Prometheus, Sample, Target},
    files::Way,
    tool::Promtool,
};
use super::{PLENTY, Scenario, heavy_load, light_load, slow_service};
use crate::{
    check::Ending,
    children::Running,
    counters::Counter,
    label::Labeller,
    programs::installed,
    report::Order,
    roles::{Role, load::Load},
    stage::{PATIENCE, Service, Stage},
};

pub const PLAIN: Scenario = Scenario {
    name: "prometheus_plain",
    about: "Prometheus scrapes observer, and its alert names the fault line that broke; promtool is content",
    play: |stage| play(stage, Way::Plain),
};

pub const TLS: Scenario = Scenario {
    name: "prometheus_tls",
    about: "the same over TLS, with an authority of one's own",
    play: |stage| play(stage, Way::Tls),
};

pub const MUTUAL_TLS: Scenario = Scenario {
    name: "prometheus_mutual_tls",
    about: "the same with a certificate and a password of Prometheus' own; without one of them it is refused",
    play: |stage| play(stage, Way::MutualTls),
};

/// The rule that is there when rules have been evaluated over what was scraped.
const RECORDED: &str = "instance_resource:observer_usage_ratio:max";
const FIRST: &str = "observer_first_fault_line";
const UNDER_WAY: &str = "observer_episode_under_way";
const ALERT: &str = "FaultLineBroke";
const LINE: &str = "accept_queue_overflow";
/// Longer than all waits of a scenario together.
const LASTING_MS: u64 = 600_000;
/// Time between two looks.
const PERIOD: Duration = Duration::from_millis(100);

fn play(stage: &Stage, way: Way) -> Result<Ending> {
    let Some(observer) = stage.observer() else {
        return Ok(Ending::Skip("needs an observer".into()));
    };
    let missing = |name| Ok(Ending::Skip(format!("{name} is not installed")));
    let Some(prometheus) = installed("prometheus") else { return missing("prometheus") };
    let Some(promtool) = installed("promtool") else { return missing("promtool") };
    let promtool = Promtool { program: promtool, folder: stage.folder() };
    let service = stage.serve("service", slow_service())?;
    let served = Served::start(stage, observer, &service, way)?;
    let config = way.config(&served.address)?;
    let prometheus = Prometheus::start(&prometheus, stage.folder(), &config)?;
    check_targets(&prometheus, way)?;

    let mut light = stage.prepare("light", &lasting(light_load(&service)))?;
    check_before(&prometheus)?;
    let labeller = Labeller::start(service.pid)?;
    let mut load = stage.prepare("load", &lasting(heavy_load(&service)))?;
    labeller.wait_for(Counter::ListenOverflows, PLENTY, PATIENCE)?;
    check_alert(&prometheus, &served.address)?;
    match way {
        Way::Plain => {
            promtool.check_metrics(&api::get(&served.address, "/metrics")?)?;
            promtool.check_rules()?;
            for load in [&mut load, &mut light] {
                load.order(Order::Stop)?;
            }
            check_over(&prometheus)?;
        }
        Way::Tls => {}
        Way::MutualTls => {
            promtool.check_config()?;
            check_refusals(&prometheus)?;
        }
    }
    served.end()?;
    Ok(Ending::Ok)
}

/// A load that goes on until it is told to stop, or its scenario is over, however slow the host is.
fn lasting(role: Role) -> Role {
    match role {
        Role::Load(load) => Role::Load(Load { for_ms: LASTING_MS, ..load }),
        other => other,
    }
}

/// `observer serve`.
struct Served {
    running: Running,
    address: String,
}

impl Served {
    /// Starts it as a user does. The host is not the lab's alone: only this service is under test.
    fn start(stage: &Stage, observer: &Path, service: &Service, way: Way) -> Result<Self> {
        let folder = stage.folder();
        let mut command = Command::new(observer);
        command.args(["serve", "--listen", "127.0.0.1:0", "--keep", "0s"]);
        command.arg("--target").arg(format!("pid:{}", service.pid));
        if let Some(web) = way.prepare_web(folder)? {
            command.arg("--web.config.file").arg(web);
        }
        let running = Running::start("serve", command, folder)?;
        let marker = format!("listening on {}://", way.scheme());
        let address = said_after(&folder.join("serve.stderr"), &marker)?;
        Ok(Self { running, address })
    }

    /// Ends it as an init system does; a Prometheus that keeps its connection holds nothing up.
    fn end(mut self) -> Result<()> {
        self.running.signal(Signal::SIGTERM)?;
        let status = self.running.wait(PATIENCE)?;
        ensure!(status.success(), "observer ended with {status}");
        Ok(())
    }
}

/// Prometheus reaches observer in this way, and in no lesser one.
fn check_targets(prometheus: &Prometheus, way: Way) -> Result<()> {
    let expected = way.jobs().len();
    let targets = wait_for(
        "an answer of every target",
        || prometheus.targets(),
        |targets| targets.len() == expected && targets.iter().all(Target::has_answered),
    )?;
    for target in targets {
        let (job, error) = (target.job(), &target.last_error);
        println!("  {job} at {} is {}: {error:?}", target.scrape_url, target.health);
        ensure!(target.scrape_url.starts_with(&format!("{}://", way.scheme())), "{target:?}");
        let Some(refusals) = files::refusals(job) else {
            ensure!(target.health == "up" && error.is_empty(), "{target:?}");
            continue;
        };
        let refused = refusals.iter().any(|refusal| error.ends_with(refusal));
        ensure!(target.health == "down" && refused, "{target:?}, and not because of {refusals:?}");
    }
    Ok(())
}

/// An episode is under way, the rules have been evaluated over it, and nothing is told of it.
fn check_before(prometheus: &Prometheus) -> Result<()> {
    wait_for_value(prometheus, UNDER_WAY, "1")?;
    samples(prometheus, RECORDED)?;
    let firing: Vec<Alert> = prometheus.alerts()?.into_iter().filter(Alert::is_firing).collect();
    ensure!(firing.is_empty(), "alerts fire before the fault: {firing:?}");
    check_first(prometheus, None)?;
    let rules = prometheus.rules()?;
    ensure!(!rules.is_empty() && rules.iter().all(|rule| rule.health == "ok"), "rules fail: {rules:?}");
    Ok(())
}

/// The alert fires, once, and for this fault line.
fn check_alert(prometheus: &Prometheus, address: &str) -> Result<()> {
    let broke = || {
        let alerts = prometheus.alerts()?;
        Ok(alerts.into_iter().filter(|alert| alert.label("alertname") == ALERT).collect())
    };
    let alerts: Vec<Alert> =
        wait_for("an alert that fires", broke, |alerts: &Vec<Alert>| alerts.iter().any(Alert::is_firing))?;
    let [alert] = &alerts[..] else { bail!("there are {} alerts: {alerts:?}", alerts.len()) };
    println!("  {ALERT}: {}", alert.annotations["summary"]);
    ensure!(alert.label("fault_line") == LINE && alert.label("instance") == address, "{alert:?}");
    check_first(prometheus, Some(LINE))
}

/// This fault line is the first, and all others are not.
fn check_first(prometheus: &Prometheus, line: Option<&str>) -> Result<()> {
    let samples = samples(prometheus, FIRST)?;
    let of = |sample: &Sample| sample.metric.get("fault_line").cloned().unwrap_or_default();
    let lines: BTreeMap<String, &str> = samples.iter().map(|sample| (of(sample), sample.value())).collect();
    ensure!(lines.len() == samples.len() && lines.contains_key(LINE), "{FIRST}: {samples:?}");
    let is_right = |(of, value): (&String, &&str)| *value == if Some(&**of) == line { "1" } else { "0" };
    ensure!(lines.iter().all(is_right), "{line:?} should be the first: {lines:?}");
    Ok(())
}

/// observer says the same of the scrapes that were refused, through the one that was not.
fn check_refusals(prometheus: &Prometheus) -> Result<()> {
    let samples = samples(prometheus, "observer_http_events_total")?;
    for event in ["handshake_failed", "unauthenticated"] {
        let count = samples.iter().find(|sample| sample.metric.get("event").is_some_and(|it| it == event));
        let count = count.with_context(|| format!("no {event} is counted: {samples:?}"))?;
        ensure!(count.value() != "0", "{event} did not rise");
    }
    Ok(())
}

/// The alert ends with the test that it is about.
fn check_over(prometheus: &Prometheus) -> Result<()> {
    wait_for_value(prometheus, UNDER_WAY, "0")?;
    let is_over = |alerts: &Vec<Alert>| !alerts.iter().any(|alert| alert.label("alertname") == ALERT);
    wait_for("the end of the alert", || prometheus.alerts(), is_over).map(drop)
}

/// The samples of the last scrape. There are none of one that a busy host did not answer in time.
fn samples(prometheus: &Prometheus, metric: &str) -> Result<Vec<Sample>> {
    wait_for(metric, || prometheus.query(metric), |samples| !samples.is_empty())
}

fn wait_for_value(prometheus: &Prometheus, metric: &str, value: &str) -> Result<()> {
    let has = |samples: &Vec<Sample>| samples.iter().any(|sample| sample.value() == value);
    wait_for(&format!("{metric} {value}"), || prometheus.query(metric), has).map(drop)
}

/// Looks until what is seen is what is waited for, and returns it.
fn wait_for<T: Debug>(what: &str, look: impl Fn() -> Result<T>, is_it: impl Fn(&T) -> bool) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look()?;
        if is_it(&seen) {
            return Ok(seen);
        }
        ensure!(Instant::now() < deadline, "{what} did not come in {PATIENCE:?}: {seen:?}");
        thread::sleep(PERIOD);
    }
}

/// Waits until a program has written these words into a file, and returns the next one.
fn said_after(file: &Path, words: &str) -> Result<String> {
    let read = || fs::read_to_string(file).with_context(|| file.display().to_string());
    let next = |text: &str| {
        let (_, rest) = text.split_once(words)?;
        rest.split_once(char::is_whitespace).map(|(word, _)| word.to_owned())
    };
    let text = wait_for(words, read, |text| next(text).is_some())?;
    next(&text).context("it was there")
}

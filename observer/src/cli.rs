//! The command line.

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    core::{frame::Target, lines},
    sinks::{export, http::Listen, report::Format},
};

/// Exit status of `run` for a failure of observer's own, as `env` and `timeout` have it.
pub const OWN_FAILURE: u8 = 125;
/// Exit status of the other commands for bad usage.
const BAD_USAGE: u8 = 2;

/// Says which fault line of the host broke first while a load test runs. Without a command: `live`.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; `None` is `live`.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// The options of `live`, where no command is named.
    #[command(flatten)]
    pub live: LiveArgs,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Show the dashboard: what is about to break and what broke first (also without a command)
    Live(LiveArgs),
    /// Observe while COMMAND runs (or --for a while, or until Ctrl-C), then print the verdict
    Run(RunArgs),
    /// Observe without a terminal, for Prometheus and whoever asks over HTTP
    Serve(ServeArgs),
    /// Show the dashboard over a recording, at any instant of it
    Replay(ReplayArgs),
    /// Judge a recording and print its verdict, or compare it with the run before (--against)
    Report(ReportArgs),
    /// Write the frames and events of a recording as rows, for jq, pandas, DuckDB or a spreadsheet
    Export(ExportArgs),
    /// Say what this kernel allows, how each signal is had, and the headroom before any load
    Doctor(DoctorArgs),
    /// Explain a fault line: what it is, how to verify it, what to change
    Explain(ExplainArgs),
    /// Tell a running observer that a phase of the test begins
    Mark(MarkArgs),
}

/// What is observed, by `live`, `run` and `serve` alike.
#[derive(Debug, Args)]
pub struct ScopeArgs {
    /// What is under test: `:PORT`, `pid:N`, `cgroup:PATH` or `container:ID` (repeatable). Without it,
    /// what COMMAND connects to, or whatever carries load
    #[arg(long, value_name = "TARGET", value_parser = parse_target)]
    pub target: Vec<Target>,
    /// A fault line to leave out (repeatable)
    #[arg(long, value_name = "FAULT_LINE", value_parser = parse_fault_line)]
    pub ignore: Vec<String>,
    /// Keep everything that was seen, for `observer report`, `replay` and SQL
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Also arm hooks that cost every system call of the host
    #[arg(long)]
    pub precise: bool,
    /// How much of one CPU looking may take: above that there are fewer looks, no count is lost, and it is said
    #[arg(long, value_name = "PERCENT", default_value = "10", value_parser = parse_max_cpu)]
    pub max_cpu: u64,
}

/// How an observation is exposed over HTTP.
#[derive(Debug, Args)]
pub struct ExposeArgs {
    /// Serve /metrics and the API on this address: `127.0.0.1:9435`, `[::1]:9435`; `:9435` is every address
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<Listen>,
    /// TLS, client certificates and passwords, in the form of Prometheus' exporters
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config_file: Option<PathBuf>,
}

/// `observer live`.
#[derive(Debug, Args)]
pub struct LiveArgs {
    /// What is observed.
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// How it is exposed.
    #[command(flatten)]
    pub expose: ExposeArgs,
    /// Keep the latest minutes on disk, to be saved after a surprise; 0s keeps nothing
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = humantime::parse_duration)]
    pub keep: Duration,
    /// No colours; NO_COLOR in the environment says the same
    #[arg(long)]
    pub monochrome: bool,
}

/// `observer serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// What is observed.
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// How it is exposed; without --listen on 127.0.0.1:9435.
    #[command(flatten)]
    pub expose: ExposeArgs,
    /// Keep the latest minutes on disk, to be saved after a surprise (SIGUSR1); 0s keeps nothing
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = humantime::parse_duration)]
    pub keep: Duration,
    /// The folder that SIGUSR1 saves them to
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub save_to: PathBuf,
}

/// `observer replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The recording
    pub file: PathBuf,
    /// No colours; NO_COLOR in the environment says the same
    #[arg(long)]
    pub monochrome: bool,
}

/// `observer run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// What is observed.
    #[command(flatten)]
    pub scope: ScopeArgs,
    /// How it is exposed.
    #[command(flatten)]
    pub expose: ExposeArgs,
    /// Form of the verdict: text, json or markdown
    #[arg(long, default_value = "text", value_parser = parse_verdict_format)]
    pub format: Format,
    /// Where the verdict goes; `-` is stdout [default: stderr with COMMAND, stdout without]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Observe this long, without COMMAND
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration, conflicts_with = "command")]
    pub duration: Option<Duration>,
    /// Keep watching this long after COMMAND has ended
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    pub settle: Duration,
    /// The phases of the test in order: `ramp_up=2m,plateau=5m`
    #[arg(long, value_name = "PLAN", value_parser = parse_plan)]
    pub plan: Option<Plan>,
    /// Exit with 3 when COMMAND succeeded but the verdict is this (repeatable)
    #[arg(long, value_name = "OUTCOME", value_enum)]
    pub fail_on: Vec<FailOn>,
    /// The load test and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Named phases and their lengths.
#[derive(Clone, Debug)]
pub struct Plan(pub Vec<(String, Duration)>);

/// `observer report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The recording; with --against, of the run AFTER the change
    pub file: PathBuf,
    /// Compare with this recording, of the run BEFORE the change: what moved since, and what breaks first now
    #[arg(long, value_name = "BEFORE")]
    pub against: Option<PathBuf>,
    /// Form of the report
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Where it goes [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `observer export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The recording
    pub file: PathBuf,
    /// Form of the rows
    #[arg(long, value_enum)]
    pub format: export::Format,
    /// Where they go [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `observer doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Form of the answer
    #[arg(long, value_enum, default_value_t = DoctorFormat::Text)]
    pub format: DoctorFormat,
}

/// `observer explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The fault line; without it, all are listed
    #[arg(value_parser = parse_fault_line)]
    pub fault_line: Option<String>,
}

/// `observer mark`.
#[derive(Debug, Args)]
pub struct MarkArgs {
    /// Name of the phase that begins now
    pub name: String,
}

/// Forms of the doctor's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DoctorFormat {
    /// For a person
    Text,
    /// For a program
    Json,
}

/// Outcomes that fail a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// A fault line in scope was hit
    Hit,
    /// Too much was not measurable
    Inconclusive,
}

/// Parses the command line. What clap refuses (or answers, as `--help`) is printed here; the status
/// is 125 for a bad `run`, as a wrapper has it, and 2 for the others.
pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Cli, ExitCode> {
    let args: Vec<OsString> = args.collect();
    Cli::try_parse_from(&args).map_err(|error| {
        // Nothing can be done when the terminal is gone.
        let _ = error.print();
        let is_run = args.get(1).is_some_and(|first| first == "run");
        match error.use_stderr() {
            false => ExitCode::SUCCESS,
            true if is_run => ExitCode::from(OWN_FAILURE),
            true => ExitCode::from(BAD_USAGE),
        }
    })
}

fn parse_target(text: &str) -> Result<Target, String> {
    let usage = || format!("`{text}` names nothing: use :PORT, pid:N, cgroup:PATH or container:ID");
    let (kind, value) = text.split_once(':').ok_or_else(usage)?;
    match (kind, value) {
        (_, "") => Err(usage()),
        ("", port) => port.parse().map(Target::Port).map_err(|_| format!("`{port}` is not a port")),
        ("pid", pid) => pid.parse().map(Target::Pid).map_err(|_| format!("`{pid}` is not a process id")),
        ("cgroup", path) => Ok(Target::Cgroup(format!("/{}", path.trim_start_matches('/')))),
        ("container", id) => Ok(Target::Container(id.to_owned())),
        _ => Err(usage()),
    }
}

/// One in how many: 10 % is one in ten.
fn parse_max_cpu(text: &str) -> Result<u64, String> {
    let percent: f64 =
        text.trim_end_matches('%').trim().parse().map_err(|_| "not a number of percent".to_owned())?;
    if !(percent > 0.0 && percent <= 100.0) {
        return Err("a share of one CPU is more than 0 and at most 100 percent".to_owned());
    }
    Ok((100.0 / percent).round() as u64)
}

fn parse_fault_line(text: &str) -> Result<String, String> {
    lines::by_id(text).map(|line| line.id().to_owned()).ok_or_else(|| {
        let known: Vec<&str> = lines::LINES.iter().map(|line| line.id()).collect();
        format!("there is no fault line `{text}`; there are {}", known.join(", "))
    })
}

/// A page draws the course of a run, which only a recording keeps.
fn parse_verdict_format(text: &str) -> Result<Format, String> {
    match Format::from_str(text, false)? {
        Format::Html => Err("use --record FILE, and then `observer report FILE --format html`".to_owned()),
        format => Ok(format),
    }
}

fn parse_plan(text: &str) -> Result<Plan, String> {
    text.split(',')
        .map(|part| {
            let (name, length) =
                part.split_once('=').ok_or_else(|| format!("`{part}` is not PHASE=DURATION"))?;
            let length = humantime::parse_duration(length).map_err(|error| format!("`{length}`: {error}"))?;
            Ok((name.trim().to_owned(), length))
        })
        .collect::<Result<_, String>>()
        .map(Plan)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_share_of_a_cpu_is_a_percentage() {
        assert_eq!(["10", "10%", "2.5 %", "100", "0.01"].map(parse_max_cpu), [10, 10, 40, 1, 10_000].map(Ok));
        for nonsense in ["", "ten", "0", "-1", "101", "nan"] {
            assert!(parse_max_cpu(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn targets_are_read_and_nonsense_is_refused() {
        assert_eq!(parse_target(":8080"), Ok(Target::Port(8080)));
        assert_eq!(parse_target("pid:17"), Ok(Target::Pid(17)));
        assert_eq!(parse_target("cgroup:system.slice/a"), Ok(Target::Cgroup("/system.slice/a".into())));
        for nonsense in ["8080", ":", ":99999", "pid:x", "host:a", ""] {
            assert!(parse_target(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn a_run_prints_no_page_and_says_who_does() {
        assert_eq!(parse_verdict_format("markdown"), Ok(Format::Markdown));
        assert!(parse_verdict_format("html").is_err_and(|why| why.contains("observer report FILE")));
        assert!(parse_verdict_format("pdf").is_err());
    }

    #[test]
    fn plans_are_read_in_order() {
        let plan = parse_plan("ramp_up=2m,plateau=90s").map(|plan| plan.0);
        let minutes = |n| Duration::from_secs(n);
        assert_eq!(plan, Ok(vec![("ramp_up".into(), minutes(120)), ("plateau".into(), minutes(90))]));
        assert!(parse_plan("ramp_up").is_err() && parse_plan("a=b").is_err());
    }
}

//! The rows: what is told, in whichever form.
//!
//! Field names are those of the verdict. Every row says when (`at_s`, `mono_ns`, `time`); unknown is null.

use observer_common::Signal;
use serde::{Serialize, Serializer};

use super::place::Place;
use crate::core::{
    frame::{Fact, Frame, Mark, Resource, SignalCoverage, SourceStatus, Tier, signal_name},
    time::rfc3339,
    verdict::{Clock, Hit, Phase, Verdict},
};

/// One row.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) at: At,
    pub(super) what: What<'a>,
}

/// When it was.
#[derive(Clone, Debug, Serialize)]
pub(super) struct At {
    /// The frame that told it; `None` for what belongs to the whole run.
    pub(super) seq: Option<u64>,
    /// Seconds since the run began, to the nanosecond.
    pub(super) at_s: f64,
    /// CLOCK_MONOTONIC.
    pub(super) mono_ns: u64,
    /// RFC 3339, UTC.
    pub(super) time: String,
}

impl At {
    /// An instant of one frame, by the frame's own two clocks.
    pub(super) fn in_frame(frame: &Frame, origin: Clock, mono_ns: u64) -> Self {
        Self {
            seq: Some(frame.seq),
            at_s: seconds(origin, mono_ns),
            mono_ns,
            time: rfc3339(clock_at(frame, mono_ns).real_ns),
        }
    }

    /// An instant of the run, so many seconds after it began.
    pub(super) fn in_run(origin: Clock, at_s: f64) -> Self {
        let since_ns = (at_s * 1e9) as i64;
        Self {
            seq: None,
            at_s,
            mono_ns: origin.mono_ns.saturating_add_signed(since_ns),
            time: rfc3339(origin.real_ns.saturating_add_signed(since_ns)),
        }
    }
}

/// An instant of the monotonic clock on both, as a frame relates them.
pub(super) fn clock_at(frame: &Frame, mono_ns: u64) -> Clock {
    let real_ns = i128::from(mono_ns) + i128::from(frame.real_ns) - i128::from(frame.mono_ns);
    Clock { mono_ns, real_ns: u64::try_from(real_ns).unwrap_or(0) }
}

/// Seconds from the beginning of the run to an instant. (An f64 holds the nanoseconds of weeks.)
pub(super) fn seconds(origin: Clock, mono_ns: u64) -> f64 {
    (i128::from(mono_ns) - i128::from(origin.mono_ns)) as f64 / 1e9
}

/// What a row tells.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum What<'a> {
    /// What was known before the first frame.
    Run(RunRow<'a>),
    /// A tick.
    Frame(FrameRow),
    /// What happened to the run.
    Mark(&'a Mark),
    /// Something learnt.
    Fact(&'a Fact),
    /// A count that changed.
    Signal(SignalRow<'a>),
    /// A use that changed.
    Usage(UsageRow<'a>),
    /// News of a source.
    Source(&'a SourceStatus),
    /// What is known to be missing from the counts.
    Loss(LossRow<'a>),
    /// A fault line was hit: as it was found, before the verdict has weighed it.
    Onset(OnsetRow),
    /// A phase of the load.
    Phase(&'a Phase),
    /// A hit of the verdict.
    Hit(HitRow<'a>),
    /// The verdict.
    Verdict(&'a Verdict),
}

impl What<'_> {
    /// The name of this kind of row.
    pub(super) fn record(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::Frame(_) => "frame",
            Self::Mark(_) => "mark",
            Self::Fact(_) => "fact",
            Self::Signal(_) => "signal",
            Self::Usage(_) => "usage",
            Self::Source(_) => "source",
            Self::Loss(_) => "loss",
            Self::Onset(_) => "onset",
            Self::Phase(_) => "phase",
            Self::Hit(_) => "hit",
            Self::Verdict(_) => "verdict",
        }
    }
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// The order of the fields.
        #[derive(Serialize)]
        struct Line<'r> {
            record: &'static str,
            #[serde(flatten)]
            at: &'r At,
            #[serde(flatten)]
            what: &'r What<'r>,
        }
        Line { record: self.what.record(), at: &self.at, what: &self.what }.serialize(serializer)
    }
}

/// The run.
#[derive(Debug, Serialize)]
pub(super) struct RunRow<'a> {
    pub(super) schema: &'static str,
    pub(super) id: &'a str,
    pub(super) observer_version: &'a str,
    pub(super) host: &'a str,
    pub(super) kernel: &'a str,
    pub(super) netns: Option<u32>,
    /// `None` without one.
    pub(super) command: Option<&'a [String]>,
    /// As on the command line.
    pub(super) targets: Vec<String>,
    pub(super) ignored: &'a [String],
    pub(super) plan: Vec<Planned<'a>>,
    pub(super) coverage: &'a [SignalCoverage],
    pub(super) clock: Clock,
}

/// A phase of `--plan`.
#[derive(Debug, Serialize)]
pub(super) struct Planned<'a> {
    pub(super) name: &'a str,
    pub(super) length_s: f64,
}

/// A tick.
#[derive(Debug, Serialize)]
pub(super) struct FrameRow {
    /// Frames between the one before and this one that are not in the recording.
    pub(super) missing_before: u64,
}

/// A count that changed.
#[derive(Debug, Serialize)]
pub(super) struct SignalRow<'a> {
    #[serde(with = "signal_name")]
    pub(super) signal: Signal,
    pub(super) tier: Tier,
    pub(super) subject: Place,
    pub(super) reason: Option<&'a str>,
    pub(super) generator: bool,
    /// Since an arbitrary origin.
    pub(super) count: u64,
    /// Since the row before; `None` at the first read of a kernel's counter, which sets the origin.
    pub(super) delta: Option<u64>,
    /// Over the time from `since_s` to `at_s`.
    pub(super) rate_per_s: Option<f64>,
    /// The count was still the former one.
    pub(super) since_s: f64,
    pub(super) first_s: Option<f64>,
    pub(super) last_s: Option<f64>,
    pub(super) peak: Option<u64>,
    pub(super) limit: Option<u64>,
}

/// A use that changed.
#[derive(Debug, Serialize)]
pub(super) struct UsageRow<'a> {
    pub(super) resource: Resource,
    pub(super) subject: Place,
    pub(super) used: u64,
    pub(super) limit: Option<u64>,
    pub(super) ratio: Option<f64>,
    pub(super) limit_set_by: Option<&'a str>,
    /// The use was still the former one.
    pub(super) since_s: f64,
}

/// A loss count that changed.
#[derive(Debug, Serialize)]
pub(super) struct LossRow<'a> {
    pub(super) reason: &'a str,
    pub(super) count: u64,
    pub(super) delta: u64,
}

/// An onset.
#[derive(Debug, Serialize)]
pub(super) struct OnsetRow {
    pub(super) fault_line: &'static str,
    pub(super) subject: Place,
    pub(super) onset_lo_s: f64,
    pub(super) onset_hi_s: f64,
    /// The tick at which the engine knew.
    pub(super) found_s: f64,
}

/// Which list of the verdict a hit is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HitList {
    /// In scope.
    Hits,
    /// Of bystanders.
    Elsewhere,
    /// Already so before the run began.
    PreExisting,
}

/// A hit of the verdict.
#[derive(Debug, Serialize)]
pub(super) struct HitRow<'a> {
    pub(super) list: HitList,
    /// Whether it is the verdict's `first`.
    pub(super) is_first: bool,
    #[serde(flatten)]
    pub(super) hit: &'a Hit,
}

//! The labels that say where.

use crate::core::{subject::Subject, verdict::HitSubject};

/// What a later subject is counted under, when the series are given away.
pub(super) const OTHER: &str = "other";

/// Label names of a place, in the order of [`values`]. What does not apply is empty, which to Prometheus is absent.
pub(super) const LABELS: [&str; 6] = ["netns", "listener", "destination", "cgroup", "pid", "comm"];

/// A place as label values.
pub(super) type Values = [String; LABELS.len()];

/// The label values of a place.
pub(super) fn values(place: &HitSubject) -> Values {
    fn text(value: Option<&impl ToString>) -> String {
        value.map(ToString::to_string).unwrap_or_default()
    }
    [
        text(place.netns.as_ref()),
        text(place.listener.as_ref()),
        text(place.destination.as_ref()),
        text(place.cgroup.as_ref()),
        text(place.pid.as_ref()),
        text(place.comm.as_ref()),
    ]
}

/// The label values of all later subjects that are places of this kind.
pub(super) fn other(subject: &Subject) -> [&'static str; LABELS.len()] {
    let has_pid = subject.pid.is_some();
    let applies = [
        subject.netns.is_some(),
        subject.listener.is_some(),
        subject.destination.is_some(),
        subject.cgroup.is_some(),
        has_pid,
        has_pid,
    ];
    applies.map(|applies| if applies { OTHER } else { "" })
}

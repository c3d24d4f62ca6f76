//! What the drawing shows, in words: for those who do not see it.

use crate::sinks::report::{
    numbers::duration,
    timeline::{Onset, Timeline},
};

/// How to read the drawing.
pub(super) fn legend(timeline: &Timeline) -> String {
    let mut words = "Bands are the phases of the load. ".to_owned();
    if timeline.start_s < 0.0 {
        words += "Before 0 s, the command had not begun. ";
    }
    if !timeline.onsets.is_empty() {
        words += "Numbered lines are onsets, with the numbers of the table below; a shaded strip beside one is how \
                  exactly it is known. ";
    }
    if timeline.course.is_some() {
        words += "A dashed level is a limit. A gap means that nothing is known. ";
    }
    words
}

/// The drawing in words.
pub(super) fn description(timeline: &Timeline) -> String {
    let phases = timeline
        .phases
        .iter()
        .map(|phase| format!("{} from {} to {}", phase.name, duration(phase.start_s), duration(phase.end_s)));
    let onsets = timeline.onsets.iter().map(onset);
    let lanes = timeline.course.iter().flat_map(|course| &course.lanes).map(|lane| lane.name.clone());
    [("Phases", list(phases)), ("Onsets", list(onsets)), ("Lanes", list(lanes))]
        .into_iter()
        .filter(|(_, words)| !words.is_empty())
        .map(|(what, words)| format!("{what}: {words}. "))
        .collect()
}

/// One onset.
pub(super) fn onset(onset: &Onset) -> String {
    format!("{}: {} at {}", onset.number, onset.fault_line, duration(onset.at_s))
}

fn list(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join("; ")
}

//! Which hit of the one run is which of the other, and how it moved.

use super::{Change, FirstChange, LineChange, load_ratio, load_reached, moment, place::Place, reaches};
use crate::core::verdict::{Hit, Verdict};

/// An onset that moved by less than this is where it was: no two runs of a test are alike.
const SAME_S: f64 = 0.5;
/// Nor is one that moved by less than this share of the time that it took.
const SAME_SHARE: f64 = 0.05;

/// The same hit in both runs, or one that only one run has.
type Pair<'a> = (Option<&'a Hit>, Option<&'a Hit>);

/// What became of each hit: what is hit now in onset order, then what no longer is.
pub(super) fn changes(before: &Verdict, after: &Verdict) -> Vec<LineChange> {
    pairs(before, after).into_iter().map(|pair| change(pair, before, after)).collect()
}

/// What became of the first fault line. Of those that tie it does not matter which one is named.
pub(super) fn first(before: &Verdict, after: &Verdict) -> FirstChange {
    let is_first = |verdict: &Verdict, hit: &Hit| {
        verdict.first.as_ref() == Some(hit) || verdict.co_first.iter().any(|tied| tied == hit)
    };
    match (&before.first, &after.first) {
        (None, None) => FirstChange::None,
        (Some(_), None) => FirstChange::Gone,
        (None, Some(_)) => FirstChange::Appeared,
        (Some(_), Some(_)) => {
            let stayed = pairs(before, after).into_iter().any(|pair| match pair {
                (Some(earlier), Some(later)) => is_first(before, earlier) && is_first(after, later),
                _ => false,
            });
            if stayed { FirstChange::Same } else { FirstChange::Replaced }
        }
    }
}

fn pairs<'a>(before: &'a Verdict, after: &'a Verdict) -> Vec<Pair<'a>> {
    let mut left: Vec<&Hit> = before.hits.iter().collect();
    let mut pairs: Vec<Pair> = after.hits.iter().map(|hit| (take(&mut left, hit), Some(hit))).collect();
    // A place may go by another name after a change: where one hit of a line is left on either side, it is
    // the same one.
    for at in 0..pairs.len() {
        let Some((None, Some(hit))) = pairs.get(at).copied() else { continue };
        let alone = pairs.iter().filter(|it| is_unpaired(it, &hit.fault_line)).count() == 1;
        let mut others = left.iter().enumerate().filter(|(_, it)| it.fault_line == hit.fault_line);
        if let (true, Some((found, _)), None) = (alone, others.next(), others.next()) {
            pairs[at].0 = Some(left.remove(found));
        }
    }
    pairs.extend(left.into_iter().map(|hit| (Some(hit), None)));
    pairs
}

fn is_unpaired(pair: &Pair, fault_line: &str) -> bool {
    matches!(pair, (None, Some(hit)) if hit.fault_line == fault_line)
}

/// Takes the earliest hit of the same line at the same place.
fn take<'a>(left: &mut Vec<&'a Hit>, hit: &Hit) -> Option<&'a Hit> {
    let place = Place::of(&hit.subject);
    let same = |it: &&Hit| it.fault_line == hit.fault_line && Place::of(&it.subject) == place;
    left.iter().position(same).map(|at| left.remove(at))
}

fn change((earlier, later): Pair, before: &Verdict, after: &Verdict) -> LineChange {
    let fault_line = earlier.or(later).map(|hit| hit.fault_line.clone()).unwrap_or_default();
    // The run without the hit, the hit of the other, and what it means when the former looked for it.
    let (load_reached, why_unknown, change) = match (earlier, later) {
        (Some(hit), None) => missing(hit, after, Change::Gone),
        (None, Some(hit)) => missing(hit, before, Change::New),
        (Some(earlier), Some(later)) => (None, None, moved(earlier, later)),
        (None, None) => (None, None, Change::Same),
    };
    let both = earlier.zip(later);
    LineChange {
        fault_line,
        change,
        onset_moved_s: both.map(|(earlier, later)| micros(later.onset_s - earlier.onset_s)),
        load_ratio: both.and_then(|(earlier, later)| load_ratio(&earlier.load, &later.load)),
        before: earlier.map(moment),
        after: later.map(moment),
        load_reached,
        why_unknown,
    }
}

fn missing(hit: &Hit, other: &Verdict, looked_for: Change) -> (Option<bool>, Option<String>, Change) {
    let why = why_unknown(hit, other);
    let change = if why.is_some() { Change::Unknown } else { looked_for };
    (reaches(&hit.load, &load_reached(other)), why, change)
}

/// Why a run without a hit cannot tell that there was none.
fn why_unknown(hit: &Hit, other: &Verdict) -> Option<String> {
    let place = Place::of(&hit.subject);
    let same_line = |it: &&Hit| it.fault_line == hit.fault_line;
    let same = |it: &Hit| same_line(&it) && Place::of(&it.subject) == place;
    if let Some(note) = other.not_measurable.iter().find(|note| note.fault_line == hit.fault_line) {
        return Some(note.why.clone());
    }
    if other.pre_existing.iter().any(same) {
        return Some("it was already so before the run began".to_owned());
    }
    if other.elsewhere.iter().any(same) {
        return Some("there it was no part of the test".to_owned());
    }
    let looked_for = other.hits.iter().chain(&other.pre_existing).any(|it| same_line(&it))
        || other.ruled_out.iter().any(|note| note.fault_line == hit.fault_line);
    (!looked_for).then(|| "it was left out, or that version of observer did not know it".to_owned())
}

/// Later or earlier: only when the two intervals lie further apart than two runs of one test do.
fn moved(earlier: &Hit, later: &Hit) -> Change {
    let room = SAME_S.max(earlier.onset_s.abs() * SAME_SHARE);
    if later.onset_lo_s > earlier.onset_hi_s + room {
        Change::Later
    } else if later.onset_hi_s < earlier.onset_lo_s - room {
        Change::Earlier
    } else {
        Change::Same
    }
}

/// What is left of a difference of two instants of which each is exact to the microsecond.
fn micros(seconds: f64) -> f64 {
    (seconds * 1e6).round() / 1e6
}

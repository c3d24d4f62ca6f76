//! Headroom and limits of both runs.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    HeadroomChange, LimitChange, Peak,
    place::{Place, of_limit},
};
use crate::core::verdict::{Headroom, Verdict};

/// How close the resources came to their limits, closest now first.
pub(super) fn headroom(before: &Verdict, after: &Verdict) -> Vec<HeadroomChange> {
    let (earlier, later) = (by_place(before), by_place(after));
    let all: BTreeSet<_> = earlier.keys().chain(later.keys()).cloned().collect();
    let mut changes: Vec<HeadroomChange> = all
        .iter()
        .filter_map(|key| {
            let (before, after) = (earlier.get(key), later.get(key));
            let subject = after.or(before)?.subject.clone();
            Some(HeadroomChange {
                resource: key.0.clone(),
                subject,
                before: before.map(|it| peak(it)),
                after: after.map(|it| peak(it)),
            })
        })
        .collect();
    let ratio = |peak: Option<Peak>| peak.map_or(-1.0, |peak| peak.ratio);
    changes.sort_by(|a, b| {
        let now = ratio(b.after).total_cmp(&ratio(a.after));
        now.then_with(|| ratio(b.before).total_cmp(&ratio(a.before)))
    });
    changes
}

/// By resource and place; of several that cannot be told apart, the fullest.
fn by_place(verdict: &Verdict) -> BTreeMap<(String, Place), &Headroom> {
    let mut fullest: BTreeMap<(String, Place), &Headroom> = BTreeMap::new();
    for headroom in &verdict.headroom {
        let known =
            fullest.entry((headroom.resource.clone(), Place::of(&headroom.subject))).or_insert(headroom);
        if headroom.ratio > known.ratio {
            *known = headroom;
        }
    }
    fullest
}

fn peak(headroom: &Headroom) -> Peak {
    Peak { peak_used: headroom.peak_used, limit: headroom.limit, ratio: headroom.ratio }
}

/// Sysctls and limits whose values are not the same.
pub(super) fn changes(before: &Verdict, after: &Verdict) -> Vec<LimitChange> {
    let (earlier, later) = (by_name(before), by_name(after));
    let all: BTreeSet<_> = earlier.keys().chain(later.keys()).collect();
    let values = |of: Option<&BTreeSet<String>>| of.into_iter().flatten().cloned().collect();
    all.into_iter()
        .filter(|key| earlier.get(key) != later.get(key))
        .map(|key| LimitChange {
            name: key.0.clone(),
            place: key.1.clone(),
            before: values(earlier.get(key)),
            after: values(later.get(key)),
        })
        .collect()
}

fn by_name(verdict: &Verdict) -> BTreeMap<(String, String), BTreeSet<String>> {
    let mut values: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for limit in &verdict.run.limits {
        let key = (limit.name.clone(), of_limit(&limit.place));
        values.entry(key).or_default().insert(limit.value.clone());
    }
    values
}

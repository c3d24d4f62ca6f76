//! Holding what a verdict says of causes, of bystanders and of headroom against what a scenario knows.

use std::ops::RangeInclusive;

use anyhow::{Result, bail, ensure};

use crate::{
    check::{Place, find_effect},
    verdict::{Hit, Link, Verdict},
};

/// Checks that every hit of `effect` is explained by `cause`, that there is one, and that the chain says how,
/// with numbers.
pub fn check_edge(cause: &str, effect: &str, verdict: &Verdict) -> Result<()> {
    let hits: Vec<_> = verdict.hits.iter().filter(|hit| hit.fault_line == effect).collect();
    ensure!(!hits.is_empty(), "{effect} is not among the hits");
    for hit in hits {
        ensure!(
            hit.explained_by.as_deref() == Some(cause),
            "{effect} is explained by {:?}, not {cause}: {}",
            hit.explained_by,
            hit.because
        );
    }
    find_effect(verdict, cause, effect, &Place::default())?;
    let says_number = |link: &Link| link.mechanism.chars().any(|letter| letter.is_ascii_digit());
    let mut links = verdict.chain.iter().filter(|link| link.cause == cause && link.effect == effect);
    ensure!(links.all(says_number), "the chain from {cause} to {effect} says no number");
    Ok(())
}

/// Checks that nothing explains the hits of a fault line, and that no chain is made of it.
pub fn check_unexplained(fault_line: &str, verdict: &Verdict) -> Result<()> {
    for hit in verdict.hits.iter().filter(|hit| hit.fault_line == fault_line) {
        ensure!(hit.explained_by.is_none(), "{fault_line} is explained by {:?}", hit.explained_by);
    }
    ensure!(verdict.chain.is_empty(), "the chain links what is not linked: {:?}", verdict.chain);
    Ok(())
}

/// The one hit that `elsewhere` has of a fault line in a cgroup, given the last part of its path.
pub fn elsewhere<'a>(fault_line: &str, cgroup: &str, verdict: &'a Verdict) -> Result<&'a Hit> {
    // Something else may happen on this host at the same time, but not in this cgroup.
    let is_it = |hit: &&Hit| {
        let path = hit.subject.cgroup.as_deref();
        hit.fault_line == fault_line && path.and_then(|path| path.rsplit('/').next()) == Some(cgroup)
    };
    match verdict.elsewhere.iter().filter(is_it).collect::<Vec<_>>().as_slice() {
        [hit] => Ok(hit),
        hits => {
            let seen: Vec<_> =
                verdict.elsewhere.iter().map(|hit| (&hit.fault_line, &hit.subject.cgroup)).collect();
            bail!("elsewhere was to list one {fault_line} in {cgroup}, and lists {}: {seen:?}", hits.len())
        }
    }
}

/// Checks that the headroom list has a resource with such a ratio.
pub fn check_headroom(resource: &str, within: RangeInclusive<f64>, verdict: &Verdict) -> Result<()> {
    let of_it: Vec<_> = verdict.headroom.iter().filter(|entry| entry.resource == resource).collect();
    for entry in &of_it {
        println!("  headroom {resource} {}/{} = {:.2}", entry.peak_used, entry.limit, entry.ratio);
    }
    ensure!(
        of_it.iter().any(|entry| within.contains(&entry.ratio)),
        "the headroom list has no {resource} between {} and {}: {:?}",
        within.start(),
        within.end(),
        of_it.iter().map(|entry| entry.ratio).collect::<Vec<_>>()
    );
    Ok(())
}

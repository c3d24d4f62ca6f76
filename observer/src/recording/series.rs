//! What stays the same from sample to sample, told once and then referred to.

use std::{collections::HashMap, hash::Hash};

use observer_common::Signal;

use super::insert::InsertError;
use crate::core::{
    frame::{Resource, SignalSample, Tier, UsageSample},
    subject::Subject,
};

/// Bits of a sample's id that are its place within the frame; the rest is the frame's number.
pub(super) const PLACE_BITS: u32 = 20;

/// The ids of the samples that a frame can have; `None` where its number is too large for any.
pub(super) fn ids_of_frame(seq: i64) -> Option<(i64, i64)> {
    let first = seq.checked_mul(1 << PLACE_BITS)?;
    Some((first, first | ((1 << PLACE_BITS) - 1)))
}

/// The id of the sample at one place of a frame.
pub(super) fn sample_id(seq: i64, n: i64) -> Result<i64, InsertError> {
    let ids = ids_of_frame(seq)
        .ok_or_else(|| InsertError::Value(format!("seq is {seq}, more than samples can refer to")))?;
    let id = ids.0 + n;
    if id > ids.1 {
        return Err(InsertError::Value(format!("it has more than {} samples of a kind", 1 << PLACE_BITS)));
    }
    Ok(id)
}

/// What the samples of one count share. (The first occurrence of a count is one for good.)
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SignalSeries {
    pub(super) signal: Signal,
    pub(super) tier: Tier,
    pub(super) subject: Subject,
    pub(super) reason: Option<String>,
    pub(super) generator: bool,
    pub(super) first_ns: Option<u64>,
}

impl From<&SignalSample> for SignalSeries {
    fn from(sample: &SignalSample) -> Self {
        Self {
            signal: sample.signal,
            tier: sample.tier,
            subject: sample.subject.clone(),
            reason: sample.reason.clone(),
            generator: sample.generator,
            first_ns: sample.first_ns,
        }
    }
}

/// What the samples of one use share, until its limit changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct UsageSeries {
    pub(super) resource: Resource,
    pub(super) subject: Subject,
    pub(super) limit: Option<u64>,
    pub(super) limit_set_by: Option<String>,
}

impl From<&UsageSample> for UsageSeries {
    fn from(sample: &UsageSample) -> Self {
        Self {
            resource: sample.resource,
            subject: sample.subject.clone(),
            limit: sample.limit,
            limit_set_by: sample.limit_set_by.clone(),
        }
    }
}

/// Ids of what was written already. They count from 1 without gaps.
#[derive(Debug)]
pub(super) struct Ids<K> {
    known: HashMap<K, i64>,
}

impl<K> Default for Ids<K> {
    fn default() -> Self {
        Self { known: HashMap::new() }
    }
}

impl<K: Eq + Hash> Ids<K> {
    /// The id of something known.
    pub(super) fn get(&self, key: &K) -> Option<i64> {
        self.known.get(key).copied()
    }

    /// The next id, for something new.
    pub(super) fn add(&mut self, key: K) -> i64 {
        let id = self.len() + 1;
        self.known.insert(key, id);
        id
    }

    /// How many there are.
    pub(super) fn len(&self) -> i64 {
        // No memory holds more.
        i64::try_from(self.known.len()).unwrap_or(i64::MAX)
    }

    /// Forgets all but the first so many: their rows were rolled back.
    pub(super) fn truncate(&mut self, len: i64) {
        self.known.retain(|_, id| *id <= len);
    }
}

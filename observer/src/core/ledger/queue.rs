//! How long accept queues were between two looks at them.

use observer_common::Signal;

use super::{Cell, Ledger, Reading, entry::fullness};
use crate::core::frame::{Resource, SignalSample, UsageSample};

/// Whether a connection joined an accept queue that was longer than all that were met at this place before, under the same
/// limit. A probe notes the longest of all times: that it was so long now is known when that has grown.
pub(super) fn is_longest(sample: &SignalSample, before: &Reading) -> bool {
    let is_news = sample.peak > before.peak || sample.limit != before.limit;
    sample.signal == Signal::ConnectionAccepted && is_news
}

impl Ledger {
    /// A connection joined an accept queue that was longer than any before. The limit is the one that it met: the latest
    /// look may have been at another listener of this address.
    pub(super) fn deepen_queue(&mut self, sample: &SignalSample) {
        let Some(used) = sample.peak.filter(|_| self.started) else { return };
        let place = (Resource::AcceptQueue, self.place_of(sample));
        let Some(queue) = self.usages.get_mut(&place) else {
            let unread = self.unread_queues.entry(Cell::of(sample)).or_insert_with(|| sample.clone());
            if fullness(used, sample.limit) >= fullness(unread.peak.unwrap_or(0), unread.limit) {
                *unread = sample.clone();
            }
            return;
        };
        let look = queue.last.clone();
        let limit = sample.limit.or(look.limit);
        let limit_set_by = queue.set_by(limit);
        queue.raise(UsageSample { used, limit, limit_set_by, read_ns: sample.read_ns, ..look });
    }

    /// A listener was looked at for the first time: connections may have joined its queue before.
    pub(super) fn deepen_unread_queues(&mut self) {
        for sample in std::mem::take(&mut self.unread_queues).into_values() {
            self.deepen_queue(&sample);
        }
    }
}

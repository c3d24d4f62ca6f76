//! How a recording begins that begins in the middle: with one frame that tells everything anew.
//!
//! Frames hold what changed, so whoever comes later lacks what did not change since. [`Known`] follows all frames
//! and can at any time say what it takes to go on from there. An engine that begins with it knows the host as one
//! that saw everything, and counts from there on: every signal is told as its own origin.
//!
//! What was is not made up: how the load rose, the baseline and the losses before that instant are not in it.
//!
//! Memory is bounded by what there is on the host and what its sources and probes keep themselves: usages that
//! ended are forgotten, and of processes that ended the last [`MOST_GONE`]. Frames do not tell the end of a process
//! whose descriptors nobody followed, of a cgroup's path or of a counter: those stay.

use std::collections::{BTreeMap, VecDeque};

use super::{
    fact_key::FactKey,
    frame::{Fact, Frame, Loss, Mark, Resource, SignalSample, SourceStatus, UsageSample},
    ledger::Cell,
    subject::Subject,
};

/// Processes that have ended and are still told of: something may have happened to them.
pub const MOST_GONE: usize = 1_024;
/// Lines of the kernel's log, and OOM victims, that are told again.
pub const MOST_EVENTS: usize = 256;

/// Everything that frames have told and that still holds.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Number and both clocks of the latest frame.
    at: Option<Instant>,
    signals: BTreeMap<Cell, SignalSample>,
    usages: BTreeMap<(Resource, Subject), UsageSample>,
    facts: BTreeMap<FactKey, Fact>,
    /// Processes that have ended, the latest last.
    gone: VecDeque<u32>,
    victims: VecDeque<Fact>,
    failing: BTreeMap<String, SourceStatus>,
    losses: BTreeMap<String, u64>,
    episode: Option<Episode>,
}

#[derive(Clone, Copy, Debug)]
struct Instant {
    seq: u64,
    mono_ns: u64,
    real_ns: u64,
}

/// An episode under way.
#[derive(Clone, Debug)]
struct Episode {
    /// The observed command.
    pid: Option<u32>,
    /// Its latest phase, and those planned for later.
    phases: Vec<Mark>,
    /// What the kernel's log said in it.
    log: VecDeque<Fact>,
}

impl Known {
    /// Follows a frame. Frames come in their order.
    pub fn enter(&mut self, frame: &Frame) {
        let Frame { seq, mono_ns, real_ns, signals, usages, facts, marks, sources, losses } = frame;
        self.at = Some(Instant { seq: *seq, mono_ns: *mono_ns, real_ns: *real_ns });
        marks.iter().for_each(|mark| self.begin(mark));
        facts.iter().for_each(|fact| self.learn(fact));
        for status in sources {
            match status.error {
                Some(_) => self.failing.insert(status.source.clone(), status.clone()),
                None => self.failing.remove(&status.source),
            };
        }
        self.losses.extend(losses.iter().map(|loss| (loss.reason.clone(), loss.count)));
        usages.iter().for_each(|usage| self.enter_usage(usage));
        self.signals.extend(signals.iter().map(|sample| (Cell::of(sample), sample.clone())));
        if marks.iter().any(|mark| matches!(mark, Mark::CommandEnded { .. })) {
            self.episode = None;
        }
        if let Some(episode) = &mut self.episode {
            episode.forget_phases_before(*mono_ns);
        }
    }

    /// The frames with which a recording begins that goes on after the latest frame entered; none before the
    /// first one.
    ///
    /// The first is the keyframe. In the middle of an episode a second one says that an episode begins, so that
    /// the keyframe is what was before it. The last of them has the number of the latest frame entered.
    pub fn opening(&self) -> Vec<Frame> {
        let Some(at) = self.at else { return Vec::new() };
        let mut keyframe = self.keyframe(at);
        let Some(episode) = &self.episode else { return vec![keyframe] };
        let marks = episode.marks(at.mono_ns);
        // There is no number before the first one: the keyframe itself has to say it then.
        let Some(before) = at.seq.checked_sub(1) else {
            keyframe.marks = marks;
            return vec![keyframe];
        };
        keyframe.seq = before;
        vec![keyframe, Frame { marks, ..at.frame() }]
    }

    /// Everything that still holds, in one frame.
    fn keyframe(&self, at: Instant) -> Frame {
        let log = self.episode.iter().flat_map(|episode| &episode.log);
        Frame {
            signals: self.signals.values().cloned().map(as_origin).collect(),
            usages: self.usages.values().cloned().collect(),
            facts: self.facts.values().chain(&self.victims).chain(log).cloned().collect(),
            sources: self.failing.values().cloned().collect(),
            losses: self
                .losses
                .iter()
                .map(|(reason, count)| Loss { reason: reason.clone(), count: *count })
                .collect(),
            ..at.frame()
        }
    }

    fn begin(&mut self, mark: &Mark) {
        match mark {
            Mark::CommandStarted { pid, .. } => {
                self.episode = Some(Episode { pid: *pid, phases: Vec::new(), log: VecDeque::new() });
            }
            Mark::Phase { .. } => {
                if let Some(episode) = &mut self.episode {
                    episode.phases.push(mark.clone());
                }
            }
            // What the same frame tells still belongs to the episode.
            Mark::CommandEnded { .. } => {}
        }
    }

    /// As the ledger learns it: see [`super::ledger::Ledger`].
    fn learn(&mut self, fact: &Fact) {
        match fact {
            Fact::KernelLog { .. } => {
                if let Some(episode) = &mut self.episode {
                    push_bounded(&mut episode.log, fact.clone());
                }
            }
            Fact::OomVictim { .. } => push_bounded(&mut self.victims, fact.clone()),
            Fact::Process { pid, .. } => {
                self.gone.retain(|gone| gone != pid);
                self.learn_process(fact);
            }
            // A process that ends is shown in the root cgroup: what it was in before says more.
            Fact::ProcessCgroup { controller, cgroup, .. } if self.is_root(*cgroup, *controller) => {
                self.facts.entry(FactKey::of(fact)).or_insert_with(|| fact.clone());
            }
            _ => {
                self.facts.insert(FactKey::of(fact), fact.clone());
            }
        }
    }

    fn is_root(&self, cgroup: u64, controller: super::subject::Controller) -> bool {
        let path = self.facts.get(&FactKey::CgroupPath(cgroup, Some(controller)));
        matches!(path, Some(Fact::CgroupPath { path, .. }) if path == "/")
    }

    /// A probe names the thread that it met, and knows no parent: /proc knows better.
    fn learn_process(&mut self, fact: &Fact) {
        let Fact::Process { parent: news_of_parent, generator: is_generator, .. } = fact else { return };
        let known = self.facts.entry(FactKey::of(fact)).or_insert_with(|| fact.clone());
        let Fact::Process { generator: was_generator, .. } = known else { return };
        let either = *is_generator || *was_generator;
        if *news_of_parent != 0 {
            known.clone_from(fact);
        }
        if let Fact::Process { generator, .. } = known {
            *generator = either;
        }
    }

    fn enter_usage(&mut self, usage: &UsageSample) {
        let key = (usage.resource, usage.subject.without_cgroup());
        if !has_ended(usage) {
            self.usages.insert(key, usage.clone());
            return;
        }
        // A listener that moved to another cgroup ends in the former one only.
        if self.usages.get(&key).is_some_and(|known| known.subject == usage.subject) {
            self.usages.remove(&key);
        }
        if let (Resource::Descriptors, Some(pid)) = (usage.resource, usage.subject.pid) {
            self.process_ends(pid);
        }
    }

    fn process_ends(&mut self, pid: u32) {
        self.gone.retain(|gone| *gone != pid);
        self.gone.push_back(pid);
        if self.gone.len() > MOST_GONE
            && let Some(oldest) = self.gone.pop_front()
        {
            self.facts.retain(|key, _| !key.is_of_process(oldest));
        }
    }
}

impl Instant {
    fn frame(self) -> Frame {
        let Self { seq, mono_ns, real_ns } = self;
        Frame { seq, mono_ns, real_ns, ..Frame::default() }
    }
}

impl Episode {
    /// It begins now, as far as a recording can tell that begins now; and so does the phase that it is in.
    fn marks(&self, now_ns: u64) -> Vec<Mark> {
        let phases = self.phases.iter().cloned().map(|mut phase| {
            if let Mark::Phase { at_ns, .. } = &mut phase {
                *at_ns = now_ns.max(*at_ns);
            }
            phase
        });
        std::iter::once(Mark::CommandStarted { at_ns: now_ns, pid: self.pid }).chain(phases).collect()
    }

    /// Forgets the phases that another one has followed by now.
    fn forget_phases_before(&mut self, now_ns: u64) {
        let begun = |mark: &Mark| matches!(mark, Mark::Phase { at_ns, .. } if *at_ns <= now_ns);
        if let Some(latest) = self.phases.iter().rposition(begun) {
            let mut index = 0;
            self.phases.retain(|mark| {
                let keep = index == latest || !begun(mark);
                index += 1;
                keep
            });
        }
    }
}

/// What the source of a usage says when its subject is no more: nothing in use, and nobody sets the limit.
fn has_ended(usage: &UsageSample) -> bool {
    usage.used == 0 && usage.limit.is_some() && usage.limit_set_by.is_none()
}

/// The same count, as the one from which to count on.
fn as_origin(sample: SignalSample) -> SignalSample {
    SignalSample { since_ns: sample.read_ns, ..sample }
}

fn push_bounded(events: &mut VecDeque<Fact>, event: Fact) {
    events.push_back(event);
    if events.len() > MOST_EVENTS {
        events.pop_front();
    }
}

#[cfg(test)]
mod tests;

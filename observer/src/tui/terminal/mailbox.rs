//! What the dashboard was told and has not taken in yet. A terminal may stand still for hours (a connection that
//! hangs, a pane that is scrolled back) while the observation goes on: no more than one picture waits for it.

use std::sync::{Mutex, PoisonError};

use crate::tui::{
    feed::{Anew, Feed, Scene},
    model::log,
};

/// Feeds that wait, between the thread that is told them and the one that draws.
#[derive(Debug, Default)]
pub(super) struct Mailbox(Mutex<Pending>);

impl Mailbox {
    /// Puts a feed in. Answers whether nothing waited before: then the other side has to be woken.
    pub(super) fn put(&self, feed: Feed) -> bool {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = pending.is_empty();
        pending.put(feed);
        was_empty
    }

    /// Takes everything out, in the order in which it is to be taken in.
    pub(super) fn take(&self) -> impl Iterator<Item = Feed> + use<> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_feeds()
    }
}

#[derive(Debug, Default)]
struct Pending {
    /// The latest scene, or the latest beginning with the scenes that came after it.
    picture: Option<Feed>,
    notices: Vec<String>,
    over: Option<Option<String>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.picture.is_none() && self.notices.is_empty() && self.over.is_none()
    }

    fn put(&mut self, feed: Feed) {
        match feed {
            // Few: users ask for what they are told of.
            Feed::Notice(words) => self.notices.push(words),
            Feed::Over(words) => _ = self.over.get_or_insert(words),
            Feed::Scene(scene) => {
                self.picture = Some(match self.picture.take() {
                    Some(Feed::Scene(unseen)) => Feed::Scene(Box::new(joined(*unseen, *scene))),
                    Some(Feed::Anew(unseen)) => {
                        let Anew { scene: begun, episodes, in_episode } = *unseen;
                        Feed::Anew(Box::new(Anew { scene: joined(begun, *scene), episodes, in_episode }))
                    }
                    _ => Feed::Scene(scene),
                });
            }
            // It tells everything that led to it.
            Feed::Anew(anew) => self.picture = Some(Feed::Anew(anew)),
        }
    }

    fn into_feeds(self) -> impl Iterator<Item = Feed> {
        // There is one place for notices: those that come together are read together.
        let notice = (!self.notices.is_empty()).then(|| Feed::Notice(self.notices.join("; ")));
        self.picture.into_iter().chain(notice).chain(self.over.map(Feed::Over))
    }
}

/// A scene in the place of the one before it, which nobody saw. All that the earlier one told alone are its events;
/// of those there are as many as the log keeps, for it would forget the others anyway.
fn joined(unseen: Scene, mut scene: Scene) -> Scene {
    let mut events = unseen.events;
    events.append(&mut scene.events);
    let excess = events.len().saturating_sub(log::KEPT);
    events.drain(..excess);
    let events_forgotten = unseen.events_forgotten + scene.events_forgotten + excess as u64;
    Scene { events, events_forgotten, ..scene }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::{
        core::event::{Event, What},
        tui::{
            model::{Input, Mode, Model},
            tests::scenes::{CASCADE, empty, feeds, picture},
        },
    };

    const SIZE: (u16, u16) = (200, 50);

    fn scenes() -> Vec<Scene> {
        let scene = |feed| match feed {
            Feed::Scene(scene) => *scene,
            other => panic!("{other:?}"),
        };
        feeds(CASCADE, usize::MAX).0.into_iter().map(scene).collect()
    }

    fn beginning(scene: Scene) -> Feed {
        Feed::Anew(Box::new(Anew { scene, episodes: Vec::new(), in_episode: true }))
    }

    /// What a dashboard shows that takes a look only when so many feeds have come.
    fn shown_in_one_go(feeds: Vec<Feed>, at_once: usize) -> (Model, usize) {
        let (mut model, mailbox, mut updates) = (empty(Mode::Live, SIZE), Mailbox::default(), 0);
        let mut feeds = feeds.into_iter().peekable();
        while feeds.peek().is_some() {
            let woken = feeds.by_ref().take(at_once).map(|feed| mailbox.put(feed));
            assert_eq!(woken.filter(|was_empty| *was_empty).count(), 1, "woken once, and only once");
            for feed in mailbox.take() {
                model.update(Input::Feed(feed));
                updates += 1;
            }
        }
        (model, updates)
    }

    #[test]
    fn who_looks_seldom_sees_the_same_in_the_end() {
        let scene = |scene: &Scene| Feed::Scene(Box::new(scene.clone()));
        let scenes = scenes();
        let all = || -> Vec<Feed> {
            let (first, rest) = scenes.split_first().unwrap();
            std::iter::once(beginning(first.clone())).chain(rest.iter().map(scene)).collect()
        };
        let (patient, updates) = shown_in_one_go(all(), 1);
        assert_eq!(updates, scenes.len());
        for at_once in [2, 7, scenes.len()] {
            let (late, updates) = shown_in_one_go(all(), at_once);
            assert_eq!(updates, scenes.len().div_ceil(at_once));
            let (late, patient) = (late.picture(), patient.picture());
            assert_eq!(late.snapshot, patient.snapshot);
            assert_eq!(late.verdict, patient.verdict);
            assert_eq!(late.history.steps(), patient.history.steps());
            let log =
                |of: &crate::tui::model::picture::Picture| of.log.latest("").cloned().collect::<Vec<_>>();
            assert_eq!(log(late), log(patient));
            assert!(late.in_episode);
        }
    }

    #[test]
    fn whatever_waits_it_does_not_grow_and_says_what_it_left_out() {
        let mut scene = scenes().pop().unwrap();
        let text = |at: usize| What::KernelLog { text: format!("line {at}") };
        let mailbox = Mailbox::default();
        let many = 3 * log::KEPT;
        for at in 0..many {
            scene.events = vec![Event { at_ns: scene.snapshot.at_ns, what: text(at) }];
            mailbox.put(Feed::Scene(Box::new(scene.clone())));
        }
        let waiting: Vec<Feed> = mailbox.take().collect();
        let [Feed::Scene(waiting)] = &waiting[..] else { panic!("{waiting:?}") };
        assert_eq!(waiting.events.len(), log::KEPT);
        assert_eq!(waiting.events_forgotten, (many - log::KEPT) as u64);
        assert_eq!(waiting.events.last().unwrap().what, text(many - 1));
    }

    #[test]
    fn a_beginning_replaces_what_was_before_it() {
        let (mut before, begun) = (scenes().pop().unwrap(), scenes().swap_remove(0));
        before.events = vec![Event { at_ns: 1, what: What::Started }];
        let mailbox = Mailbox::default();
        mailbox.put(Feed::Scene(Box::new(before)));
        mailbox.put(beginning(begun.clone()));
        let waiting: Vec<Feed> = mailbox.take().collect();
        let [Feed::Anew(anew)] = &waiting[..] else { panic!("{waiting:?}") };
        assert_eq!((&anew.scene.snapshot, &anew.scene.events), (&begun.snapshot, &begun.events));
        assert_eq!(mailbox.take().count(), 0);
    }

    #[test]
    fn words_are_never_lost_and_the_last_come_last() {
        let mailbox = Mailbox::default();
        assert!(mailbox.put(Feed::Notice("saved".into())));
        assert!(!mailbox.put(Feed::Over(Some("ended".into()))));
        assert!(!mailbox.put(Feed::Notice("not saved".into())));
        assert!(!mailbox.put(beginning(scenes().swap_remove(0))));
        assert!(!mailbox.put(Feed::Over(None)));
        let mut model = empty(Mode::Live, SIZE);
        for feed in mailbox.take() {
            assert!(model.over().is_none());
            model.update(Input::Feed(feed));
        }
        assert_eq!(model.over(), Some(&Some("ended".to_owned())));
        assert!(picture(&model).contains("saved; not saved"));
        assert!(mailbox.put(Feed::Over(None)), "empty again");
    }
}

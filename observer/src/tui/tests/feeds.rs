//! What feeds make of the picture, at every size.

use std::sync::Arc;

use proptest::prelude::*;

use super::scenes::{CASCADE, empty, feeds, live, not_kept, picture, replay};
use crate::{
    core::{
        event::{Event, What},
        snapshot::Snapshot,
        verdict::Verdict,
    },
    sinks::report::sample,
    tui::{
        feed::{Feed, Scene},
        model::{Input, Mode, Model, View},
    },
};

/// Some verdict, in a scene of a golden recording.
fn with(verdict: Verdict, size: (u16, u16)) -> Model {
    let mut model = live(CASCADE, 25, size);
    let snapshot: Snapshot = model.picture().snapshot.clone().unwrap();
    let history = Arc::clone(&model.picture().history);
    let log = What::KernelLog { text: "\x1b[2J\u{202e}漢字\u{200b}\n".repeat(20) };
    let events = vec![Event { at_ns: snapshot.at_ns, what: log }];
    let verdict = Arc::new(verdict);
    let scene = Scene { snapshot, verdict, history, events, events_forgotten: 0, kept: None, player: None };
    model.update(Input::Feed(Feed::Scene(Box::new(scene))));
    model
}

fn models(size: (u16, u16)) -> Vec<Model> {
    let mut models = vec![
        empty(Mode::Live, size),
        empty(Mode::Replay, size),
        live(CASCADE, usize::MAX, size),
        replay(CASCADE, 60, size),
    ];
    models.push(not_kept(size));
    models.extend(
        [sample::hit(), sample::tie(), sample::clear(), sample::inconclusive(), sample::hostile()]
            .map(|verdict| with(verdict, size)),
    );
    models
}

#[test]
fn a_fault_is_on_the_screen_with_the_feed_that_tells_it() {
    let mut model = empty(Mode::Live, (80, 24));
    let mut was_told = false;
    for feed in feeds(CASCADE, usize::MAX).0 {
        let tells = matches!(&feed, Feed::Scene(scene) if scene.verdict.first.is_some());
        model.update(Input::Feed(feed));
        assert!(model.take_changed());
        assert_eq!(picture(&model).contains("►FIRST"), tells);
        was_told |= tells;
    }
    assert!(was_told);
}

#[test]
fn the_banner_says_what_is_known() {
    let first_row = |model: &Model| picture(model).lines().nth(1).unwrap().to_owned();
    let size = (200, 50);
    assert!(first_row(&empty(Mode::Live, size)).starts_with("Waiting"));
    assert!(first_row(&live(CASCADE, 25, size)).starts_with("○ Nothing broke so far"));
    assert!(first_row(&with(sample::inconclusive(), size)).starts_with("? Inconclusive"));
    assert!(first_row(&with(sample::tie(), size)).contains("too close to tell apart"));
}

#[test]
fn foreign_text_moves_no_cursor() {
    for view in View::ALL {
        let mut model = with(sample::hostile(), (120, 40));
        model.view = *view;
        let shown = picture(&model);
        assert!(
            shown.chars().all(|it| it == '\n' || !it.is_control() && it != '\u{202e}'),
            "{view:?}: {shown}"
        );
    }
}

/// Every size in one go, for every model; views in turn.
#[test]
fn no_size_is_too_small_or_too_large() {
    for mut model in models((80, 24)) {
        let mut turn = 0;
        for rows in (1..30).chain([36, 40, 50, 60]) {
            for columns in (1..20).chain((20..220).step_by(40)) {
                model.update(Input::Resize(columns, rows));
                (model.view, turn) = (View::ALL[turn % View::ALL.len()], turn + 1);
                picture(&model);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_pressed_where_nothing_breaks(
        columns in 1_u16..220,
        rows in 1_u16..60,
        keys in "[ -~]{0,30}",
        replays: bool,
    ) {
        use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
        let size = (columns, rows);
        let mode = if replays { Mode::Replay } else { Mode::Live };
        let mut model = empty(mode, size);
        for letter in keys.chars() {
            model.update(Input::Key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::NONE)));
        }
        picture(&model);
    }
}

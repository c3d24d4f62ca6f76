//! Keys and the mouse: what they change, and what they ask for.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::scenes::{CASCADE, empty, live, picture, replay};
use crate::tui::{
    feed::{Feed, Request},
    keys,
    model::{Input, Mode, Model, View},
};

const SMALL: (u16, u16) = (80, 24);

fn press(model: &mut Model, code: KeyCode) -> Option<Request> {
    model.update(Input::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

/// Types letters, and answers with what the last one asked for.
fn types(model: &mut Model, text: &str) -> Option<Request> {
    text.chars().map(|letter| press(model, KeyCode::Char(letter))).last().flatten()
}

fn mouse(model: &mut Model, kind: MouseEventKind, column: u16, row: u16) {
    model.update(Input::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }));
}

#[test]
fn every_binding_is_in_the_help() {
    for mode in [Mode::Live, Mode::Replay] {
        let mut model = empty(mode, (200, 80));
        types(&mut model, "?");
        let shown = picture(&model);
        for typing in [false, true] {
            for binding in keys::bindings(mode, typing) {
                assert!(shown.contains(binding.help), "{}", binding.help);
                assert!(shown.contains(&binding.label()), "{}", binding.label());
            }
        }
        press(&mut model, KeyCode::Esc);
        assert!(!model.help);
    }
}

#[test]
fn a_phase_is_marked_by_name_or_by_suggestion() {
    let mut model = live(CASCADE, 40, SMALL);
    assert_eq!(types(&mut model, "mqp "), None);
    assert!(picture(&model).contains("> qp"), "keys are letters while something is typed");
    assert_eq!(press(&mut model, KeyCode::Enter), Some(Request::Mark("qp".into())));
    types(&mut model, "m");
    press(&mut model, KeyCode::Tab);
    press(&mut model, KeyCode::Tab);
    assert_eq!(press(&mut model, KeyCode::Enter), Some(Request::Mark("plateau".into())));
    types(&mut model, "m");
    assert_eq!(press(&mut model, KeyCode::Enter), None, "no name is no phase");
    types(&mut model, "mx");
    press(&mut model, KeyCode::Esc);
    assert_eq!(model.prompt, None);
}

#[test]
fn live_asks_for_what_it_is_told_to() {
    let mut model = live(CASCADE, 40, SMALL);
    types(&mut model, "s");
    press(&mut model, KeyCode::Tab);
    assert_eq!(press(&mut model, KeyCode::Enter), Some(Request::Save("run.observer".into())));
    assert_eq!(types(&mut model, "b"), Some(Request::BeginEpisode));
    assert_eq!(types(&mut model, "e"), None);
    assert!(picture(&model).contains("no episode is under way"));
    // No key of the player's does anything.
    assert_eq!(types(&mut model, "o"), None);
    assert_eq!(types(&mut model, "q"), Some(Request::Quit));
    assert_eq!(model.over(), Some(&None));
}

#[test]
fn the_player_goes_where_it_is_sent() {
    let mut model = replay(CASCADE, 30, SMALL);
    let player = model.picture().player.unwrap();
    let origin_ns = model.picture().origin_ns().unwrap();
    assert_eq!(types(&mut model, " "), Some(Request::Play(true)));
    assert_eq!(types(&mut model, "."), Some(Request::Step(true)));
    assert_eq!(types(&mut model, ","), Some(Request::Step(false)));
    assert_eq!(types(&mut model, "+"), Some(Request::Speed(2.0)));
    assert_eq!(types(&mut model, "-"), Some(Request::Speed(0.5)));
    let skip = |forwards, seconds| Some(Request::Skip { forwards, by: Duration::from_secs(seconds) });
    assert_eq!(press(&mut model, KeyCode::Right), skip(true, 1));
    assert_eq!(press(&mut model, KeyCode::PageUp), skip(false, 10));
    types(&mut model, "g0:01");
    assert_eq!(press(&mut model, KeyCode::Enter), Some(Request::Seek { at_ns: origin_ns + 1_000_000_000 }));
    types(&mut model, "g1:00:00");
    assert_eq!(press(&mut model, KeyCode::Enter), Some(Request::Seek { at_ns: player.to_ns }));
    types(&mut model, "gsoon");
    assert_eq!(press(&mut model, KeyCode::Enter), None);
    assert!(picture(&model).contains("soon is no time"));
}

#[test]
fn the_player_jumps_from_onset_to_onset_and_phase_to_phase() {
    // Half a second in, nothing was hit; only the verdict on the whole recording knows what is to come.
    let mut model = replay(CASCADE, 25, SMALL);
    assert!(model.picture().verdict.as_ref().unwrap().first.is_none());
    let whole = model.picture().episodes[0].clone();
    let Some(Request::Seek { at_ns }) = types(&mut model, "o") else { panic!("no onset ahead") };
    let at_s = model.picture().seconds_at(at_ns).unwrap();
    let onset_s = whole.first.as_ref().unwrap().onset_s;
    assert!((0.0..0.5).contains(&(at_s - onset_s)), "{at_s} for {onset_s}");
    assert_eq!(types(&mut model, "O"), None);
    let Some(Request::Seek { at_ns }) = types(&mut model, "n") else { panic!("no phase ahead") };
    let at_s = model.picture().seconds_at(at_ns).unwrap();
    assert!(whole.phases.iter().any(|phase| (phase.start_s - at_s).abs() < 0.001), "{at_s}");
}

#[test]
fn a_frozen_picture_stays_while_feeds_are_taken_in() {
    let mut model = live(CASCADE, 25, SMALL);
    types(&mut model, "p");
    let before = picture(&model);
    for feed in super::scenes::feeds(CASCADE, usize::MAX).0 {
        model.update(Input::Feed(feed));
    }
    assert_eq!(picture(&model), before);
    types(&mut model, "p");
    assert!(picture(&model).contains("fd_saturation broke first"));
}

#[test]
fn looking_back_shows_the_values_then() {
    let mut model = live(CASCADE, usize::MAX, (120, 40));
    let row = |model: &Model| {
        let shown = picture(model);
        shown.lines().find(|line| line.contains("fd_saturation  ")).unwrap().to_owned()
    };
    assert!(row(&model).contains("►FIRST") && row(&model).contains("HIT"), "{}", row(&model));
    for _ in 0..12 {
        press(&mut model, KeyCode::Left);
    }
    assert!(model.is_frozen() && model.cursor_ns.is_some());
    let then = row(&model);
    assert!(then.contains("clear") && then.contains("9.3%") && !then.contains("►FIRST"), "{then}");
    press(&mut model, KeyCode::Esc);
    assert!(!model.is_frozen() && model.cursor_ns.is_none());
}

#[test]
fn the_log_shows_what_contains_a_text() {
    let mut model = live(CASCADE, usize::MAX, SMALL);
    types(&mut model, "/FD_sat");
    press(&mut model, KeyCode::Enter);
    let shown = picture(&model);
    assert!(shown.contains("HIT fd_saturation at") && !shown.contains("the test began"), "{shown}");
    press(&mut model, KeyCode::Esc);
    assert!(picture(&model).contains("the test began"));
}

#[test]
fn the_selected_line_is_the_first_until_another_is_chosen() {
    let mut model = live(CASCADE, usize::MAX, SMALL);
    press(&mut model, KeyCode::Enter);
    assert_eq!(model.view, View::Detail);
    assert!(picture(&model).contains("fd_saturation: ✖ HIT"));
    assert!(types(&mut model, "y").is_none());
    let copied = model.take_copied().unwrap();
    assert!(copied.contains("/limits"), "{copied}");
    types(&mut model, "1");
    press(&mut model, KeyCode::Up);
    press(&mut model, KeyCode::Enter);
    assert!(picture(&model).contains("time_wait_overflow: ○ clear"));
}

#[test]
fn a_click_meets_what_is_drawn() {
    for size in [SMALL, (120, 40), (200, 50)] {
        let mut model = live(CASCADE, usize::MAX, size);
        let click = MouseEventKind::Down(MouseButton::Left);
        let shown = picture(&model);
        let row = |text: &str| shown.lines().position(|line| line.contains(text)).unwrap() as u16;
        mouse(&mut model, click, 30, row("oom_kill "));
        assert_eq!(crate::core::lines::LINES[model.selected].id(), "oom_kill");
        mouse(&mut model, click, 30, row("oom_kill "));
        assert_eq!(model.view, View::Detail);
        let tabs = shown.lines().find(|line| line.contains(" 5 Log")).unwrap();
        mouse(&mut model, click, tabs.find("Log").unwrap() as u16, row(" 5 Log"));
        assert_eq!(model.view, View::Log);
        mouse(&mut model, MouseEventKind::ScrollUp, 150.min(size.0 - 1), size.1 / 2);
    }
}

#[test]
fn a_notice_goes_away_by_itself() {
    let mut model = empty(Mode::Live, SMALL);
    model.update(Input::Clock(Duration::from_secs(1)));
    model.update(Input::Feed(Feed::Notice("saved to run.observer".into())));
    assert!(picture(&model).contains("saved to run.observer"));
    let wake_at = model.wake_at().unwrap();
    assert!(model.take_changed());
    model.update(Input::Clock(wake_at));
    assert!(model.take_changed() && model.wake_at().is_none());
    assert!(!picture(&model).contains("saved to run.observer"));
}

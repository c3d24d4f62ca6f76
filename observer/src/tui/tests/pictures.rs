//! Pictures against the committed ones. `OBSERVER_BLESS=1 cargo test` rewrites them: look at the difference
//! before you commit it. `cargo test -p observer --lib tui::tests::pictures::look -- --nocapture` shows more.

use std::path::Path;

use super::scenes::{CASCADE, empty, episodes, live, not_kept, picture, replay};
use crate::tui::model::{Mode, Model, View};

const SMALL: (u16, u16) = (80, 24);
const MEDIUM: (u16, u16) = (120, 40);
const LARGE: (u16, u16) = (200, 50);

fn compare(name: &str, committed: &str, drawn: &str) {
    if std::env::var_os("OBSERVER_BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tui/tests/pictures").join(name);
        std::fs::write(path, drawn).unwrap();
    } else {
        assert_eq!(drawn, committed, "pictures/{name} differs");
    }
}

macro_rules! pictures {
    ($($name:literal: $model:expr;)+) => {
        #[test]
        fn pictures_are_as_committed() {
            $(compare($name, include_str!(concat!("pictures/", $name)), &picture(&$model));)+
        }
    };
}

fn seen(mut model: Model, view: View) -> Model {
    model.view = view;
    model
}

pictures! {
    "live.txt": live(CASCADE, usize::MAX, LARGE);
    "live-small.txt": live(CASCADE, usize::MAX, SMALL);
    "live-not-kept.txt": not_kept(SMALL);
    "live-clear.txt": live("trampoline_healthy_decoys", usize::MAX, MEDIUM);
    "replay.txt": replay(CASCADE, 35, MEDIUM);
    "detail-small.txt": seen(live(CASCADE, usize::MAX, SMALL), View::Detail);
    "load-small.txt": seen(live(CASCADE, usize::MAX, SMALL), View::Load);
    "episodes.txt": seen(episodes(LARGE), View::Episodes);
    "episodes-small.txt": seen(episodes(SMALL), View::Episodes);
}

#[test]
fn look() {
    for size in [SMALL, MEDIUM, LARGE] {
        show("live", &live(CASCADE, usize::MAX, size));
        show("replay", &replay(CASCADE, 35, size));
        show("clear", &live("trampoline_healthy_decoys", usize::MAX, size));
        show("elsewhere", &live("trampoline_negative_conntrack", usize::MAX, size));
        show("begins", &live(CASCADE, 25, size));
    }
    for view in View::ALL {
        show(view.title(), &seen(episodes(SMALL), *view));
    }
    let mut model = live(CASCADE, usize::MAX, LARGE);
    model.help = true;
    show("help", &model);
    show("empty", &empty(Mode::Live, SMALL));
}

fn show(name: &str, model: &Model) {
    println!("==== {name} {}x{}\n{}", model.size.0, model.size.1, picture(model));
}

#[test]
fn nothing_is_said_by_colour_alone() {
    use ratatui::{Terminal, backend::TestBackend, style::Color};
    let mut model = live(CASCADE, usize::MAX, LARGE);
    let plain = picture(&model);
    let mut terminal = Terminal::new(TestBackend::new(LARGE.0, LARGE.1)).unwrap();
    terminal.draw(|frame| crate::tui::panels::draw(frame, &model)).unwrap();
    let cells = terminal.backend().buffer().content();
    assert!(cells.iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)));
    model.theme.monochrome = false;
    assert_eq!(picture(&model), plain);
}

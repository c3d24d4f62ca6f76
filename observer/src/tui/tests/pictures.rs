//! Pictures against the committed ones. `OBSERVER_BLESS=1 cargo test` rewrites them: look at the difference
//! before you commit it. `cargo test -p observer --lib tui::tests::pictures::look -- --nocapture` shows more.

use super::scenes::{empty, live, picture, replay};
use crate::tui::model::{Mode, Model, View};

const SMALL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (200, 50);
const CASCADE: &str = "trampoline_cascade_fd_accept";

#[test]
fn look() {
    for size in [SMALL, (120, 40), LARGE] {
        show("live", &live(CASCADE, usize::MAX, size));
        show("replay", &replay(CASCADE, 60, size));
        show("clear", &live("trampoline_healthy_decoys", usize::MAX, size));
        show("begins", &live(CASCADE, 25, size));
    }
    for view in View::ALL {
        let mut model = live(CASCADE, usize::MAX, SMALL);
        (model.view, model.selected) = (*view, 5);
        show(view.title(), &model);
    }
    let mut model = live(CASCADE, usize::MAX, LARGE);
    model.help = true;
    show("help", &model);
    show("empty", &empty(Mode::Live, SMALL));
}

fn show(name: &str, model: &Model) {
    println!("==== {name} {}x{}\n{}", model.size.0, model.size.1, picture(model));
}

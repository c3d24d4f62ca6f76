//! The dashboard as README shows it, in the colours that a user sees. `cargo xtask pictures` makes it anew.

use std::path::Path;

use ratatui::{Terminal, backend::TestBackend};

use super::{
    scenes::{CASCADE, live},
    svg::svg,
};
use crate::tui::panels;

const FILE: &str = "../docs/pictures/dashboard.svg";
const TITLE: &str = "observer's dashboard: descriptors ran out first, and then the accept queue overflowed";
const SIZE: (u16, u16) = (120, 40);
/// Both fault lines have been hit by then, and the load still rises.
const FRAMES: usize = 38;

#[test]
fn the_picture_of_the_dashboard_is_what_it_looks_like() {
    let mut model = live(CASCADE, FRAMES, SIZE);
    model.theme.monochrome = false;
    let mut terminal = Terminal::new(TestBackend::new(SIZE.0, SIZE.1)).unwrap();
    terminal.draw(|frame| panels::draw(frame, &model)).unwrap();
    let drawn = svg(terminal.backend().buffer(), TITLE);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if std::env::var_os("OBSERVER_BLESS").is_some() {
        std::fs::write(path, drawn).unwrap();
    } else {
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == drawn,
            "{FILE} is not what the dashboard looks like: run `cargo xtask pictures`"
        );
    }
}

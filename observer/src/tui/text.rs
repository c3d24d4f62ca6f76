//! Text in columns of a terminal.

use ratatui::text::Span;

/// Text that others chose, fit to be printed on one line: as the report has it, and without letters that take
/// no room, which join those beside them.
pub(super) fn printable(text: &str) -> String {
    if text.bytes().all(|byte| (b' '..0x7f).contains(&byte)) {
        return text.to_owned();
    }
    let text = crate::sinks::report::document::printable(text);
    text.chars().filter(|letter| letter.is_ascii() || columns_of(*letter) > 0).collect()
}

/// Columns that a text takes.
pub(super) fn columns(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { Span::raw(text).width() }
}

fn columns_of(letter: char) -> usize {
    if letter.is_ascii() { 1 } else { Span::raw(letter.encode_utf8(&mut [0; 4]) as &str).width() }
}

/// As much of a text as fits, with `…` where something was left out.
pub(super) fn clip(text: &str, room: usize) -> String {
    if columns(text) <= room {
        return text.to_owned();
    }
    let mut left = room.saturating_sub(1);
    let fits = |letter: &char| {
        let columns = columns_of(*letter);
        let fits = columns <= left;
        left = if fits { left - columns } else { 0 };
        fits
    };
    let mut clipped: String = text.chars().take_while(fits).collect();
    if room > 0 {
        clipped.push('…');
    }
    clipped
}

/// Clipped and filled up to so many columns.
pub(super) fn left(text: &str, room: usize) -> String {
    let mut text = clip(text, room);
    text.extend(std::iter::repeat_n(' ', room.saturating_sub(columns(&text))));
    text
}

/// The same, with the room before it.
pub(super) fn right(text: &str, room: usize) -> String {
    let text = clip(text, room);
    " ".repeat(room.saturating_sub(columns(&text))) + &text
}

/// Lines of at most so many columns, broken between words; a word that is longer is broken as well.
pub(super) fn wrap(text: &str, room: usize) -> Vec<String> {
    let room = room.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let mut word = word.to_owned();
        if !line.is_empty() && columns(&line) + 1 + columns(&word) > room {
            lines.push(std::mem::take(&mut line));
        }
        while columns(&word) > room {
            let head = head(&word, room);
            word = word.split_off(head.len());
            lines.push(head);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += &word;
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// The beginning of a word that fits; at least one letter, so that there is an end to it.
fn head(word: &str, room: usize) -> String {
    let mut head = String::new();
    for letter in word.chars() {
        if !head.is_empty() && columns(&head) + columns_of(letter) > room {
            break;
        }
        head.push(letter);
    }
    head
}

/// `1,234`, `48k`, `3.1M`: a count in at most five columns.
pub(super) fn short(value: f64) -> String {
    use crate::sinks::report::numbers::{count, decimal};
    match value {
        value if !value.is_finite() => "?".to_owned(),
        value if value < 9.995 && value.fract() != 0.0 => format!("{value:.1}"),
        value if value < 99_999.5 => count(value.round().max(0.0) as u64),
        value if value < 999_500.0 => format!("{:.0}k", value / 1e3),
        value if value < 1e9 => format!("{:.1}M", value / 1e6),
        value => decimal(value),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_stay_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.25, "0.2"),
            (48_211.0, "48,211"),
            (123_456.0, "123k"),
            (3_140_000.0, "3.1M"),
            (f64::NAN, "?"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    proptest! {
        #[test]
        fn whatever_the_text_it_keeps_to_its_columns(text in "\\PC{0,40}|.{0,40}", room in 0_usize..30) {
            let text = printable(&text);
            prop_assert!(columns(&clip(&text, room)) <= room);
            prop_assert_eq!(columns(&left(&text, room)), room);
            prop_assert_eq!(columns(&right(&text, room)), room);
            for line in wrap(&text, room) {
                // One letter may be wider than the room.
                prop_assert!(columns(&line) <= room.max(2), "{:?}", line);
            }
        }
    }
}

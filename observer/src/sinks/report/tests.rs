//! Every format against the committed screens. `OBSERVER_BLESS=1 cargo test` rewrites them: look at
//! the difference before you commit it.

use std::{collections::BTreeSet, path::Path};

use super::{Format, Style, render, render_comparison, sample};
use crate::core::{
    compare::{Comparison, Judged, compare},
    history::STEPS,
    verdict::Verdict,
};

fn hold(name: &str, committed: &str, rendered: &str) {
    if std::env::var_os("OBSERVER_BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sinks/report/snapshots").join(name);
        std::fs::write(path, rendered).unwrap();
    } else {
        assert_eq!(rendered, committed, "snapshots/{name} differs");
    }
}

macro_rules! snapshots {
    ($($name:literal: $verdict:ident, $format:ident, $style:expr;)+) => {
        #[test]
        fn snapshots_are_as_committed() {
            $(hold(
                $name,
                include_str!(concat!("snapshots/", $name)),
                &render(&sample::$verdict(), Format::$format, $style),
            );)+
        }
    };
}

snapshots! {
    "hit.txt": hit, Text, Style::default();
    "hit-narrow.txt": hit, Text, Style { width: 40, color: false };
    "hit-color.txt": hit, Text, Style { width: 80, color: true };
    "hit.md": hit, Markdown, Style::default();
    "hit.json": hit, Json, Style::default();
    "tie.txt": tie, Text, Style::default();
    "tie.md": tie, Markdown, Style::default();
    "clear.txt": clear, Text, Style::default();
    "clear.md": clear, Markdown, Style::default();
    "inconclusive.txt": inconclusive, Text, Style::default();
    "inconclusive.md": inconclusive, Markdown, Style::default();
    "hostile.txt": hostile, Text, Style::default();
    "hostile.md": hostile, Markdown, Style::default();
}

#[test]
fn snapshots_of_pages_are_as_committed() {
    let page = |verdict: &Verdict, course| super::page(verdict, course);
    let hit = page(&sample::hit(), Some(sample::course()));
    hold("hit.html", include_str!("snapshots/hit.html"), &hit);
    let hostile = page(&sample::hostile(), Some(sample::hostile_course()));
    hold("hostile.html", include_str!("snapshots/hostile.html"), &hostile);
    hold("clear.html", include_str!("snapshots/clear.html"), &page(&sample::clear(), None));
    hold(
        "inconclusive.html",
        include_str!("snapshots/inconclusive.html"),
        &page(&sample::inconclusive(), None),
    );
    let tuned = compared(&sample::hit(), &sample::tuned());
    let compared = render_comparison(&tuned, Format::Html, Style::default());
    hold("compared.html", include_str!("snapshots/compared.html"), &compared);
}

#[test]
fn a_page_stays_small_however_much_happened() {
    let mut course = sample::course();
    let lane = course.lanes.remove(0);
    course.lanes = vec![lane; 12];
    for lane in &mut course.lanes {
        lane.values = (0..STEPS).map(|at| Some((at * 7_919 % 3_000) as f64)).collect();
    }
    let page = super::page(&sample::hit(), Some(course));
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
}

/// Whatever is not the program's own is text: the hostile page has the tags of the harmless one, and no other.
#[test]
fn foreign_text_is_never_markup() {
    let hostile = super::page(&sample::hostile(), Some(sample::hostile_course()));
    assert_eq!(hostile.matches("<script").count(), 1);
    assert_eq!(hostile.matches("</script").count(), 1);
    assert!(hostile.contains("&lt;script&gt;alert(1)"), "the text itself is shown");
    let known = super::page(&sample::hit(), Some(sample::course()));
    let tags = |page: &str| page.split('<').skip(1).map(|rest| tag(rest).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(tags(&hostile).difference(&tags(&known)).count(), 0);
}

/// `p` of `p class="x">text`.
fn tag(rest: &str) -> &str {
    rest.split(|letter: char| !letter.is_alphanumeric() && letter != '/').next().unwrap_or_default()
}

fn compared(before: &Verdict, after: &Verdict) -> Comparison {
    let judged = |recording, verdict| Judged { recording, verdict };
    compare(judged("monday.observer", before), judged("tuesday.observer", after))
}

#[test]
fn snapshots_of_comparisons_are_as_committed() {
    let style = Style::default();
    let tuned = compared(&sample::hit(), &sample::tuned());
    let render = |format| render_comparison(&tuned, format, style);
    hold("compared.txt", include_str!("snapshots/compared.txt"), &render(Format::Text));
    hold("compared.md", include_str!("snapshots/compared.md"), &render(Format::Markdown));
    hold("compared.json", include_str!("snapshots/compared.json"), &render(Format::Json));
    let hostile = render_comparison(&compared(&sample::hostile(), &sample::hit()), Format::Markdown, style);
    hold("compared-hostile.md", include_str!("snapshots/compared-hostile.md"), &hostile);
}

#[test]
fn any_two_verdicts_can_be_compared() {
    for before in ALL.map(|sample| sample()) {
        for after in ALL.map(|sample| sample()) {
            let comparison = compared(&before, &after);
            for format in [Format::Text, Format::Markdown, Format::Json, Format::Html] {
                let text = render_comparison(&comparison, format, Style::default());
                assert!(text.ends_with('\n') && !text.contains('\x1b'), "{text}");
            }
        }
    }
}

const ALL: [fn() -> Verdict; 5] =
    [sample::hit, sample::tie, sample::clear, sample::inconclusive, sample::hostile];

#[test]
fn json_is_the_contract_and_reads_back() {
    for verdict in ALL.iter().take(4).map(|sample| sample()) {
        let json = render(&verdict, Format::Json, Style::default());
        assert!(json.ends_with("}\n"));
        assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap(), verdict);
    }
}

#[test]
fn no_text_leaves_its_columns_but_what_one_copies_and_tables() {
    for verdict in ALL.map(|sample| sample()) {
        for width in [40, 60, 80, 100, 120] {
            let text = render(&verdict, Format::Text, Style { width, color: false });
            for line in text.lines().filter(|line| !line.starts_with("  ") || line.starts_with("  - ")) {
                let is_one_word = line.split_whitespace().count() <= 2;
                assert!(line.chars().count() <= width || is_one_word, "{width}: {line}");
            }
        }
    }
}

#[test]
fn nothing_is_said_by_colour_alone() {
    for verdict in ALL.map(|sample| sample()) {
        let plain = render(&verdict, Format::Text, Style { width: 80, color: false });
        let mut colored = render(&verdict, Format::Text, Style { width: 80, color: true });
        for code in ["1;31", "1;32", "1;33", "1", "2", "0"] {
            colored = colored.replace(&format!("\x1b[{code}m"), "");
        }
        assert_eq!(colored, plain);
        assert!(!plain.contains('\x1b'));
    }
}

#[test]
fn foreign_text_moves_no_cursor_and_opens_no_tag() {
    for format in [Format::Text, Format::Markdown] {
        let report = render(&sample::hostile(), format, Style::default());
        assert!(report.chars().all(|it| it == '\n' || !it.is_control() && it != '\u{202e}'));
    }
    let markdown = render(&sample::hostile(), Format::Markdown, Style::default());
    let mut fence = None;
    for line in markdown.lines() {
        let ticks: String = line.chars().take_while(|it| *it == '`').collect();
        match &fence {
            Some(open) if *open == line => fence = None,
            Some(_) => {}
            None if ticks.len() >= 3 => fence = Some(ticks),
            None => assert!(!line.contains("<b>"), "{line}"),
        }
    }
    assert_eq!(fence, None);
}

#[test]
fn odd_verdicts_still_render() {
    let mut no_first = sample::hit();
    no_first.first = None;
    let mut no_time = sample::clear();
    (no_time.run.started, no_time.run.ended, no_time.phases) = ("soon".into(), String::new(), vec![]);
    let mut blind = sample::inconclusive();
    blind.not_measurable.clear();
    blind.coverage.signals.clear();
    for verdict in [no_first, no_time, blind] {
        for format in [Format::Text, Format::Markdown, Format::Json, Format::Html] {
            assert!(render(&verdict, format, Style { color: false, width: 0 }).ends_with('\n'));
        }
    }
}

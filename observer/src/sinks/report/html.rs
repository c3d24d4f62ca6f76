//! A report for a browser: one page that asks nothing of any network.
//!
//! Everything is there without the script, which adds zooming, a readout and buttons to copy.

mod blocks;
mod chart;
mod markup;
mod ticks;

use self::markup::Markup;
use super::document::Block;

/// Nothing may be fetched, and nothing sent: whatever a hostile name might get into the page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; \
                      base-uri 'none'; form-action 'none'";

const STYLE: &str = include_str!("html/style.css");
const SCRIPT: &str = include_str!("html/script.js");

/// Renders the report. The footer says what it was made of.
pub(super) fn render(document: &[Block], footer: &str) -> String {
    let mut page = Markup::default();
    page.own("<!DOCTYPE html>\n");
    page.within("html", &[("lang", "en")], |page| {
        page.within("head", &[], |page| head(page, title(document)));
        page.within("body", &[], |page| {
            page.own("\n");
            blocks::write(page, document);
            page.element("footer", &[], footer);
            page.within("script", &[], |page| page.own(SCRIPT));
        });
    });
    page.finish()
}

fn head(page: &mut Markup, title: &str) {
    page.own("\n<meta charset=\"utf-8\">\n");
    page.open("meta", &[("http-equiv", "Content-Security-Policy"), ("content", POLICY)]);
    page.own("\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.own("<meta name=\"color-scheme\" content=\"light dark\">\n");
    // Without one of its own, a browser asks the server for an icon.
    page.own("<link rel=\"icon\" href=\"data:,\">\n");
    page.element("title", &[], title);
    page.within("style", &[], |page| page.own(STYLE));
}

/// The verdict in the title of the window.
fn title(document: &[Block]) -> &str {
    let headline = document.iter().find_map(|block| match block {
        Block::Headline(_, text) => Some(text.as_str()),
        _ => None,
    });
    headline.unwrap_or("observer")
}

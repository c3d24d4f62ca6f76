//! Writes HTML. Tags and names of attributes are the program's own; every text and every value is escaped here,
//! so that nobody can forget to.

use crate::sinks::report::document::printable;

/// Names and values of attributes.
pub(super) type Attributes<'a> = &'a [(&'static str, &'a str)];

/// A page that is being written.
#[derive(Default)]
pub(super) struct Markup {
    out: String,
}

impl Markup {
    /// What has been written.
    pub(super) fn finish(self) -> String {
        self.out
    }

    /// The program's own text, as it is: a style sheet or a script.
    pub(super) fn own(&mut self, text: &'static str) {
        self.out += text;
    }

    /// Begins an element.
    pub(super) fn open(&mut self, tag: &'static str, attributes: Attributes) {
        self.out.push('<');
        self.out += tag;
        for (name, value) in attributes {
            self.out.push(' ');
            self.out += name;
            self.out += "=\"";
            self.escape(value);
            self.out.push('"');
        }
        self.out.push('>');
    }

    /// Ends an element, and the line.
    pub(super) fn close(&mut self, tag: &'static str) {
        self.out += "</";
        self.out += tag;
        self.out += ">\n";
    }

    /// Text.
    pub(super) fn text(&mut self, text: &str) {
        self.escape(text);
    }

    /// An element with nothing but text in it.
    pub(super) fn element(&mut self, tag: &'static str, attributes: Attributes, text: &str) {
        self.open(tag, attributes);
        self.text(text);
        self.close(tag);
    }

    /// An element with something in it.
    pub(super) fn within(
        &mut self,
        tag: &'static str,
        attributes: Attributes,
        content: impl FnOnce(&mut Self),
    ) {
        self.open(tag, attributes);
        content(self);
        self.close(tag);
    }

    fn escape(&mut self, text: &str) {
        for letter in printable(text).chars() {
            match letter {
                '&' => self.out += "&amp;",
                '<' => self.out += "&lt;",
                '>' => self.out += "&gt;",
                '"' => self.out += "&quot;",
                '\'' => self.out += "&#39;",
                _ => self.out.push(letter),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Markup;

    #[test]
    fn texts_and_values_open_nothing() {
        let mut markup = Markup::default();
        let evil = "</p><script>\"'&\u{1b}\n";
        markup.element("p", &[("title", evil)], evil);
        let safe = "&lt;/p&gt;&lt;script&gt;&quot;&#39;&amp;\u{fffd} ";
        assert_eq!(markup.finish(), format!("<p title=\"{safe}\">{safe}</p>\n"));
    }
}

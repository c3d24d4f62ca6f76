//! What is asked of the user: a name, a file, a time, a filter.

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The name of a phase.
    Phase,
    /// The file to save to.
    File,
    /// The instant to go to.
    Time,
    /// What events are to contain.
    Filter,
}

/// What is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// What is asked for.
    pub ask: Ask,
    /// What was typed so far.
    pub text: String,
    /// The suggestion that was taken last.
    suggested: Option<usize>,
}

/// Longest text that is taken.
const LONGEST: usize = 200;

impl Ask {
    /// The question.
    pub fn question(self) -> &'static str {
        match self {
            Self::Phase => "Name of the phase that begins",
            Self::File => "Save to file",
            Self::Time => "Go to time (93.5 or 1:33)",
            Self::Filter => "Events that contain",
        }
    }

    /// What people usually answer.
    pub fn suggestions(self) -> &'static [&'static str] {
        match self {
            Self::Phase => &["ramp_up", "plateau", "spike", "ramp_down", "recovery"],
            Self::File => &["run.observer"],
            Self::Time => &[],
            Self::Filter => &["kernel:", "phase", "missing", "cannot be read"],
        }
    }
}

impl Prompt {
    /// Asks.
    pub fn new(ask: Ask, text: String) -> Self {
        Self { ask, text, suggested: None }
    }

    /// A letter was typed.
    pub fn push(&mut self, letter: char) {
        if !letter.is_control() && self.text.chars().count() < LONGEST {
            self.text.push(letter);
        }
    }

    /// The next suggestion takes the place of what was typed.
    pub fn suggest(&mut self) {
        let all = self.ask.suggestions();
        let next = self.suggested.map_or(0, |last| last + 1) % all.len().max(1);
        if let Some(text) = all.get(next) {
            self.text = (*text).to_owned();
            self.suggested = Some(next);
        }
    }
}

/// Seconds out of `93.5`, `1:33` or `1:02:03`.
pub fn seconds(text: &str) -> Option<f64> {
    let mut seconds = 0.0;
    for part in text.trim().split(':') {
        let part: f64 = part.trim().parse().ok()?;
        seconds = seconds * 60.0 + part;
    }
    (seconds.is_finite() && !text.contains(['n', 'i', 'e', 'N', 'I', 'E'])).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(seconds("93.5"), Some(93.5));
        assert_eq!(seconds(" 1:33 "), Some(93.0));
        assert_eq!(seconds("1:02:03.5"), Some(3723.5));
        assert_eq!(seconds("-2"), Some(-2.0));
        for wrong in ["", ":", "soon", "1:x", "inf", "nan", "1e999"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
